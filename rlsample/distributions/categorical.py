"""Independent categorical factors, drawn by any sampler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from rlsample import checks, ops, samplers
from rlsample.distributions import base, shapes
from rlsample.ops.softmax import ILLEGAL
from rlsample.types import Objective, Sample, TensorLike

_SMALLEST = 1.1754944e-38  # the smallest normal float32


class CategoricalDistribution(base.Distribution):
    """One categorical `[..., K]`, or F independent ones `[..., F, K]` that make up one action.

    The probabilities are those of what the sampler draws: softmax(logits), unless it says otherwise
    (`decoupled_straight_through` draws from softmax(logits / forward_temperature)).

    Args:
        logits: float `[..., K]` or `[..., F, K]`; -inf marks an illegal category.
        sampler: a sampler, its name or its config.
        temperature: number or tensor, scalar or of the batch shape `[...]`.
        mask: boolean, broadcasts to the logits, True = legal.
        factored: whether the last but one axis holds the factors of one action rather than being a batch axis.

    Raises:
        ValueError: logits, sampler, temperature or mask that no sampler takes.

    Examples:
        >>> mask = [[True, True, True], [True, True, False]]
        >>> policy = distributions.CategoricalDistribution(tf.zeros([1, 2, 3]), mask=mask, factored=True)
        >>> print(policy.probs().numpy())
        [[[0.333 0.333 0.333]
          [0.5   0.5   0.   ]]]
        >>> print(policy.log_prob([[0, 1], [0, 2]]).numpy(), policy.entropy().numpy())
        [-1.792   -inf] [1.792]
    """

    def __init__(
        self,
        logits: TensorLike,
        sampler: str | Mapping[str, Any] | samplers.Sampler = "categorical",
        temperature: TensorLike = 1.0,
        mask: TensorLike | None = None,
        factored: bool = False,
    ) -> None:
        prepared = shapes.masked_logits(logits, mask)
        if prepared.shape.rank is not None and prepared.shape.rank < 1 + factored:
            expected = "[..., F, K]" if factored else "[..., K]"
            raise checks.invalid(f"logits of shape {expected}", shape=tuple(prepared.shape))
        self.sampler = samplers.create(sampler)
        self.event_ndims = 1 + factored
        self.pathwise = self.sampler.pathwise
        self.logits: tf.Tensor
        self.temperature: Any
        self.logits, self.temperature = shapes.with_row_temperature(prepared, temperature, self.event_ndims)
        self.dtype = self.logits.dtype

    @property
    def event_shape(self) -> tf.TensorShape:
        """See `Distribution.event_shape`."""
        shape = self.logits.shape
        return tf.TensorShape([None] * self.event_ndims) if shape.rank is None else shape[-self.event_ndims :]

    @base.kept
    def drawn_logits(self) -> tf.Tensor:
        """Logits of the distribution that actions are drawn from, -inf at illegal categories."""
        return self.sampler.drawn_logits(self.logits, temperature=self.temperature)

    def sample(self, seed: TensorLike, sample_shape: TensorLike = ()) -> Sample:
        """See `Distribution.sample`."""
        logits, temperature = shapes.with_sample_axes(self.logits, sample_shape), self.temperature
        if shapes.is_per_row(temperature):
            temperature = shapes.with_sample_axes(temperature, sample_shape)
        return self.sampler(logits, seed, temperature=temperature)

    def mode(self) -> Sample:
        """See `Distribution.mode`."""
        action = ops.mode(self.drawn_logits)
        return Sample(action, shapes.one_hot_like(action, self.logits))

    def _log_prob(self, action: tf.Tensor) -> tf.Tensor:
        return self._joint(ops.log_prob(*shapes.with_actions(self.drawn_logits, action)))

    def probs(self) -> tf.Tensor:
        """See `Distribution.probs`."""
        return ops.softmax(self.drawn_logits)

    def entropy(self) -> tf.Tensor:
        """See `Distribution.entropy`."""
        return self._joint(ops.entropy(self.drawn_logits))

    def kl_divergence(self, other: CategoricalDistribution) -> tf.Tensor:
        """See `Distribution.kl_divergence`; +inf where an action is legal here and illegal there."""
        base.check_pair(self, other, CategoricalDistribution)
        return self._joint(ops.kl_divergence(self.drawn_logits, other.drawn_logits))

    def expectation(self, objective: Objective, seed: TensorLike, num_samples: int = 1) -> tf.Tensor:
        """See `Distribution.expectation`; the gradient is the sampler's."""
        options: dict[str, Any] = {"temperature": self.temperature, "num_samples": num_samples}
        return self._estimated_by(self.sampler, objective, self.logits, seed, **options)

    def relaxed_log_density(self, draw: TensorLike) -> tf.Tensor:
        """Log-density of a relaxed draw under the Gumbel-softmax (Concrete) distribution: not an action's probability.

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
        if self.sampler.name != "gumbel_softmax":
            raise checks.invalid("the sampler gumbel_softmax", sampler=self.sampler.name, hint="See log_prob.")
        logits = ops.legal_logits(self.logits)
        temperature = checks.check_temperature(self.temperature, logits.dtype)
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
        return tf.cast(self._joint(density), self.dtype)

    def _joint(self, per_factor: tf.Tensor) -> tf.Tensor:
        return per_factor if self.event_ndims == 1 else tf.reduce_sum(per_factor, -1)
