"""Independent categorical factors, drawn by any sampler."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import tensorflow as tf

from rlsample import checks, ops, samplers
from rlsample.distributions import base
from rlsample.types import Objective, Sample, TensorLike


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
    """

    def __init__(
        self,
        logits: TensorLike,
        sampler: str | Mapping[str, Any] | samplers.Sampler = "categorical",
        temperature: TensorLike = 1.0,
        mask: TensorLike | None = None,
        factored: bool = False,
    ) -> None:
        prepared = base.masked_logits(logits, mask)
        if prepared.shape.rank is not None and prepared.shape.rank < 1 + factored:
            expected = "[..., F, K]" if factored else "[..., K]"
            raise checks.invalid(f"logits of shape {expected}", shape=tuple(prepared.shape))
        self.sampler = samplers.create(sampler)
        self.event_ndims = 1 + factored
        self.pathwise = self.sampler.pathwise
        self.logits: tf.Tensor
        self.temperature: Any
        self.logits, self.temperature = base.with_row_temperature(prepared, temperature, self.event_ndims)

    @cached_property
    def drawn_logits(self) -> tf.Tensor:
        """Logits of the law that actions follow."""
        return self.sampler.drawn_logits(self.logits, temperature=self.temperature)

    def sample(self, seed: TensorLike, sample_shape: TensorLike = ()) -> Sample:
        """See `Distribution.sample`."""
        logits, temperature = base.with_sample_axes(self.logits, sample_shape), self.temperature
        if base.is_per_row(temperature):
            temperature = base.with_sample_axes(temperature, sample_shape)
        return self.sampler(logits, seed, temperature=temperature)

    def mode(self) -> Sample:
        """See `Distribution.mode`."""
        action = ops.mode(self.drawn_logits)
        return Sample(action, base.one_hot_like(action, self.logits))

    def log_prob(self, action: TensorLike) -> tf.Tensor:
        """See `Distribution.log_prob`."""
        return self._joint(ops.log_prob(*base.with_actions(self.drawn_logits, action)))

    def entropy(self) -> tf.Tensor:
        """See `Distribution.entropy`."""
        return self._joint(ops.entropy(self.drawn_logits))

    def kl_divergence(self, other: CategoricalDistribution) -> tf.Tensor:
        """See `Distribution.kl_divergence`; +inf where an action is legal here and illegal there."""
        return self._joint(ops.kl_divergence(self.drawn_logits, other.drawn_logits))

    def expectation(self, objective: Objective, seed: TensorLike, num_samples: int = 1) -> tf.Tensor:
        """See `Distribution.expectation`; the gradient is the sampler's."""
        return self.sampler.expectation(
            objective, self.logits, seed, temperature=self.temperature, num_samples=num_samples
        )

    def _joint(self, per_factor: tf.Tensor) -> tf.Tensor:
        return per_factor if self.event_ndims == 1 else tf.reduce_sum(per_factor, -1)
