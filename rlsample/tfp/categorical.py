"""Independent categorical factors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from rlsample import checks, ops, samplers
from rlsample.distributions import CategoricalDistribution
from rlsample.ops.softmax import ILLEGAL
from rlsample.tfp.base import PolicyDistribution, Properties, as_parameter, register_kl
from rlsample.types import TensorLike

_SMALLEST = 1.1754944e-38  # the smallest normal float32


@register_kl
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
            self._logits = as_parameter(logits)
            self._sampler = samplers.create(sampler)
            self._temperature = as_parameter(temperature, self._logits.dtype)
            self._mask = as_parameter(mask)
            self._factored = factored
            _ = self.law  # refuses bad arguments now rather than at the first use
            super().__init__(
                dtype=self._logits.dtype,
                pathwise=self._sampler.pathwise,
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
            "logits": Properties(event_ndims=event_ndims),
            "temperature": Properties(event_ndims=0),
            "mask": Properties(event_ndims=event_ndims),
        }

    @property
    def distribution(self) -> CategoricalDistribution:
        """The law, from the current values of the parameters."""
        return CategoricalDistribution(self._logits, self._sampler, self._temperature, self._mask, self._factored)

    @property
    def sampler(self) -> samplers.Sampler:
        """The sampler that draws."""
        return self._sampler

    def logits_parameter(self) -> tf.Tensor:
        """Logits of the law that is drawn from, -inf at illegal categories."""
        return self.law.drawn_logits

    def probs_parameter(self) -> tf.Tensor:
        """Probabilities of the law that is drawn from: the mean of the one-hot action."""
        return ops.softmax(self.law.drawn_logits)

    def relaxed_log_density(self, draw: TensorLike) -> tf.Tensor:
        """Log-density of a relaxed draw under the Gumbel-softmax (Concrete) law: not a probability of an action.

            log Gamma(n) + (n - 1) log tau - n log sum_k exp(u_k) + sum_k (u_k - log s_k),  u = logits - tau log s

        over the n legal categories. For `gumbel_softmax` alone. Entries of the draw that have underflowed to 0
        count as the smallest normal number, so that at low temperatures it is a bound rather than the density.

        Args:
            draw: points of the simplex, `[..., K]` or `[..., F, K]`.

        Returns:
            `[...]`, summed over factors.

        Raises:
            ValueError: another sampler.

        Source: Maddison, Mnih and Teh (2017), arXiv 1611.00712, section 3.1, equation 10.
        """
        if self._sampler.name != "gumbel_softmax":
            raise checks.invalid("the sampler gumbel_softmax", sampler=self._sampler.name, hint="See log_prob.")
        law = self.law
        logits = ops.legal_logits(law.logits)
        temperature = checks.check_temperature(law.temperature, logits.dtype)
        temperature = temperature[..., None] if temperature.shape.rank else temperature
        legal = logits > ILLEGAL
        draw = tf.maximum(tf.cast(draw, logits.dtype), logits.dtype.as_numpy_dtype(_SMALLEST))
        log_draw = tf.where(legal, tf.math.log(draw), tf.zeros_like(logits))
        shifted = tf.where(legal, logits, tf.zeros_like(logits)) - temperature * log_draw
        total = tf.reduce_logsumexp(tf.where(legal, shifted, tf.constant(ILLEGAL, logits.dtype)), -1)
        count = tf.reduce_sum(tf.cast(legal, logits.dtype), -1)
        each = tf.reduce_sum(tf.where(legal, shifted - log_draw, tf.zeros_like(logits)), -1)
        scale = temperature[..., 0] if temperature.shape.rank else temperature
        density = tf.math.lgamma(count) + (count - 1) * tf.math.log(scale) - count * total + each
        return tf.cast(tf.reduce_sum(density, -1) if self._factored else density, self.dtype)

    def _mean(self) -> tf.Tensor:
        return self.probs_parameter()

    def _event_shape(self) -> tf.TensorShape:
        return self._logits.shape[-1 - self._factored :]

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.shape(self._logits)[-1 - self._factored :]
