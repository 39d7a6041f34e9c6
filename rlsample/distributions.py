"""The laws of policies as TensorFlow Probability distributions over one-hots.

    policy = head.distribution(logits)
    draw = policy.sample(seed=seed)        one-hot, differentiable where the sampler is
    policy.log_prob(draw)                  the mass of the action drawn, never a relaxed density

Importing this module imports TensorFlow Probability; nothing else in the library does.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from rlsample import checks, samplers
from rlsample.laws import CategoricalLaw, Law
from rlsample.types import Objective, TensorLike

_Properties = tfp.util.ParameterProperties


class PolicyDistribution(tfp.distributions.Distribution):
    """A distribution whose events are actions as one-hots, `[K]` or `[F, K]`; base class of those here.

    `log_prob(draw)` is the log-mass of the discrete action at the largest entries of `draw`, so that it means the
    same for hard and relaxed draws; it has no gradient to `draw`, and is NaN for a row without a positive entry. Use
    `log_prob_of_action` for integers. Probabilities are those of the law that is drawn from.
    """

    @property
    @abc.abstractmethod
    def law(self) -> Law:
        """The law, from the current values of the parameters."""

    def action(self, draw: TensorLike) -> tf.Tensor:
        """The integer action that a draw stands for: int32 `[...]` or `[..., F]`."""
        return self.law.action(draw)

    def log_prob_of_action(self, action: TensorLike) -> tf.Tensor:
        """Log-mass of integer actions `[...]` or `[..., F]`; -inf for illegal ones."""
        return self.law.log_prob(action)

    def expectation(self, objective: Objective, seed: TensorLike, num_samples: int = 1) -> tf.Tensor:
        """Estimates E[objective(one_hot)] with the sampler's gradient; see `Sampler.expectation`."""
        return self.law.expectation(objective, seed, num_samples)

    def _sample_n(self, n: TensorLike, seed: Any = None) -> tf.Tensor:
        if seed is None:
            seed = tfp.random.sanitize_seed(None)
        return self.law.sample(checks.check_seed(seed), [n]).one_hot

    def _log_prob(self, value: tf.Tensor) -> tf.Tensor:
        if not value.dtype.is_floating:
            raise checks.invalid(
                "log_prob of a one-hot (floats)", dtype=value.dtype.name, hint="For integers: log_prob_of_action."
            )
        if not value.shape[-self.law.event_ndims :].is_compatible_with(self.event_shape):
            raise checks.invalid(f"a one-hot of event shape {self.event_shape}", shape=tuple(value.shape))
        law = self.law
        value = tf.stop_gradient(value)
        one_hot = tf.reduce_any(value > 0, -1) & ~tf.reduce_any(tf.math.is_nan(value), -1)
        one_hot = one_hot if law.event_ndims == 1 else tf.reduce_all(one_hot, -1)
        log_prob = law.log_prob(law.action(value))
        return tf.where(one_hot, log_prob, tf.constant(float("nan"), log_prob.dtype))

    def _entropy(self) -> tf.Tensor:
        return self.law.entropy()

    def _mode(self) -> tf.Tensor:
        return self.law.mode().one_hot

    def _default_event_space_bijector(self) -> None:
        return None


class FactoredCategorical(PolicyDistribution):
    """One categorical `[..., K]`, or F independent ones `[..., F, K]` that make up one action, drawn by any sampler.

    Args:
        logits: float `[..., K]` or `[..., F, K]`; -inf marks an illegal category.
        sampler: a sampler, its name or its config.
        temperature: number or tensor, scalar or of the batch shape.
        mask: boolean, of the shape of the logits, True = legal.
        factored: whether events are `[F, K]` rather than `[K]`.
        validate_args: as in TFP; the checks of the samplers are made in any case.
        allow_nan_stats: as in TFP.
        name: as in TFP.
    """

    def __init__(
        self,
        logits: TensorLike,
        sampler: str | Mapping[str, Any] | samplers.Sampler = "categorical",
        temperature: TensorLike = 1.0,
        mask: TensorLike | None = None,
        factored: bool = False,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "FactoredCategorical",
    ) -> None:
        parameters = dict(locals())
        with tf.name_scope(name) as name:
            self._logits = _tensor(logits)
            self._sampler = samplers.create(sampler)
            self._temperature = _tensor(temperature, self._logits.dtype)
            self._mask = None if mask is None else tf.convert_to_tensor(mask)
            self._factored = factored
            _ = self.law  # refuses bad arguments now rather than at the first use
            super().__init__(
                dtype=self._logits.dtype,
                reparameterization_type=_reparameterization(self._sampler.pathwise),
                validate_args=validate_args,
                allow_nan_stats=allow_nan_stats,
                parameters=parameters,
                name=name,
            )

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: int | None = None) -> dict[str, Any]:
        def event_ndims(self: FactoredCategorical) -> int:
            return 1 + self._factored

        return {
            "logits": _Properties(event_ndims=event_ndims),
            "temperature": _Properties(event_ndims=0),
            "mask": _Properties(event_ndims=event_ndims),
        }

    @property
    def law(self) -> CategoricalLaw:
        """The law, from the current values of the parameters."""
        return CategoricalLaw(self._logits, self._sampler, self._temperature, self._mask, self._factored)

    @property
    def sampler(self) -> samplers.Sampler:
        """The sampler that draws."""
        return self._sampler

    def logits_parameter(self) -> tf.Tensor:
        """Logits of the law that is drawn from, -inf at illegal categories."""
        return self.law.drawn_logits

    def _event_shape(self) -> tf.TensorShape:
        return self._logits.shape[-1 - self._factored :]

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.shape(self._logits)[-1 - self._factored :]


@tfp.distributions.RegisterKL(FactoredCategorical, FactoredCategorical)
def _kl_divergence(first: FactoredCategorical, second: FactoredCategorical, name: str | None = None) -> tf.Tensor:
    with tf.name_scope(name or "kl_divergence"):
        return first.law.kl_divergence(second.law)


def _tensor(value: Any, dtype: Any = None) -> Any:
    """A tensor, or the variable itself, whose value is then read at each use."""
    value = getattr(value, "value", value) if not tf.is_tensor(value) else value  # a Keras variable's own
    return value if isinstance(value, tf.Variable) else tf.convert_to_tensor(value, dtype_hint=dtype)


def _reparameterization(pathwise: bool) -> Any:
    return tfp.distributions.FULLY_REPARAMETERIZED if pathwise else tfp.distributions.NOT_REPARAMETERIZED
