"""What the distributions share: sampling, mass and entropy by way of a law."""

from __future__ import annotations

import abc
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from rlsample import checks
from rlsample.distributions import Distribution
from rlsample.types import Objective, TensorLike

Properties = tfp.util.ParameterProperties


class PolicyDistribution(tfp.distributions.AutoCompositeTensorDistribution):
    """A distribution whose events are actions as one-hots, `[K]` or `[F, K]`; base class of those here.

    `log_prob(draw)` is the log-mass of the discrete action at the largest entries of `draw`, so that it means the
    same for hard and relaxed draws; it has no gradient to `draw`, and is NaN for a row without a positive entry. Use
    `log_prob_of_action` for integers. Probabilities are those of the law that is drawn from. (Two samplers, `softmax`
    and `entmax`, return the probabilities themselves as the draw, whose largest entry is the mode: take the action
    drawn from `law.sample(seed).action`.)
    """

    def __init__(self, dtype: Any, pathwise: bool, **kwargs: Any) -> None:
        kinds = tfp.distributions.NOT_REPARAMETERIZED, tfp.distributions.FULLY_REPARAMETERIZED
        super().__init__(dtype=dtype, reparameterization_type=kinds[pathwise], **kwargs)

    @property
    @abc.abstractmethod
    def distribution(self) -> Distribution:
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


def register_kl(kind: type[PolicyDistribution]) -> type[PolicyDistribution]:
    """Registers the Kullback-Leibler divergence between two distributions of a class; a decorator."""
    tfp.distributions.RegisterKL(kind, kind)(_kl_divergence)
    return kind


def _kl_divergence(first: Any, second: Any, name: str | None = None) -> tf.Tensor:
    with tf.name_scope(name or "kl_divergence"):
        if first.event_shape != second.event_shape:
            raise checks.invalid("two laws of one event shape", first=first.event_shape, second=second.event_shape)
        return first.law.kl_divergence(second.law)


def as_parameter(value: Any, dtype: Any = None) -> Any:
    """A tensor, or the variable itself, whose value is then read at each use; None stays None."""
    value = getattr(value, "value", value) if isinstance(value, keras.Variable) else value
    return value if value is None or isinstance(value, tf.Variable) else tf.convert_to_tensor(value, dtype_hint=dtype)
