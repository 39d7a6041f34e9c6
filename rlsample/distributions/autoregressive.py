"""Factors that depend on the factors drawn before them, through a learned state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from rlsample import checks, ops, samplers
from rlsample.distributions import shapes
from rlsample.distributions.sequential import SequentialDistribution
from rlsample.samplers.objectives import score_function_surrogate
from rlsample.types import Objective, Sample, TensorLike


class Conditional(Protocol):
    """Gives the logits of each factor from the state that the factors before it left behind.

    Examples:
        >>> class Repeat:  # the second factor wants what the first one took
        ...     sizes = (3, 3)
        ...     def factor_logits(self, state, factor):
        ...         return 5.0 * state
        ...     def advance(self, state, one_hot, factor):
        ...         return one_hot
        >>> policy = distributions.AutoregressiveDistribution(tf.zeros([4, 3]), Repeat())
        >>> policy.sample(seed=(0, 1)).action.numpy().tolist()
        [[0, 0], [0, 0], [2, 2], [0, 0]]
    """

    sizes: tuple[int, ...]

    def factor_logits(self, state: tf.Tensor, factor: int) -> tf.Tensor:
        """Logits `[..., K]` of a factor for states `[..., S]`; padding at -inf."""

    def advance(self, state: tf.Tensor, one_hot: tf.Tensor, factor: int) -> tf.Tensor:
        """The state after a factor was decided, differentiable in `one_hot` `[..., K]`."""


class AutoregressiveDistribution(SequentialDistribution):
    """F factors, each drawn by a sampler from logits that see the differentiable one-hots of those before it.

    With a pathwise sampler the gradient of a later factor's draw reaches the earlier draws, and through them their
    logits.

    Args:
        context: float `[..., S]`, the state before the first factor.
        conditional: gives logits and the next state.
        sampler: a sampler, its name or its config; draws each factor.
        temperature: number or tensor, scalar or of the batch shape.
        mask: boolean, broadcasts to `[..., F, K]`, True = legal whatever the other factors are.
        max_outcomes: bound on the joint actions that `entropy`, `kl_divergence` and `probs` sum over.

    Examples:
        >>> head = heads.AutoregressiveHead(gym.spaces.MultiDiscrete([2, 3]), "reinmax")
        >>> policy = head.distribution(head(tf.zeros([4, 8])))
        >>> sample = policy.sample(seed=(0, 1))
        >>> sample.action.shape, sample.one_hot.shape, policy.log_prob(sample.action).shape
        (TensorShape([4, 2]), TensorShape([4, 2, 3]), TensorShape([4]))
    """

    def __init__(
        self,
        context: TensorLike,
        conditional: Conditional,
        sampler: str | Mapping[str, Any] | samplers.Sampler = "categorical",
        temperature: TensorLike = 1.0,
        mask: TensorLike | None = None,
        max_outcomes: int = 4096,
    ) -> None:
        self.context: tf.Tensor
        self.temperature: Any
        self.context, self.temperature = shapes.with_row_temperature(tf.convert_to_tensor(context), temperature, 1)
        self.dtype = self.context.dtype
        self.conditional = conditional
        self.sampler = samplers.create(sampler)
        self.pathwise = self.sampler.pathwise
        self.sizes = conditional.sizes
        self.num_categories = max(self.sizes)
        self.max_outcomes = max_outcomes
        shape = tf.TensorShape([*self.context.shape[:-1], len(self.sizes), self.num_categories])
        self.mask = checks.check_mask(mask, shape)
        if self.mask is not None and not self.mask.shape[-2:].is_compatible_with(shape[-2:]):
            raise checks.invalid(f"mask to have the factors' shape {shape}", mask_shape=tuple(self.mask.shape))

    def start(self) -> tf.Tensor:
        """See `SequentialDistribution.start`."""
        return self.context

    def logits(self, state: tf.Tensor, factor: int) -> tf.Tensor:
        """See `SequentialDistribution.logits`: of the distribution that is drawn from."""
        logits = self._raw_logits(state, factor)
        return self.sampler.drawn_logits(logits, temperature=self._temperature_for(logits))

    def _raw_logits(self, state: tf.Tensor, factor: int) -> tf.Tensor:
        logits = self.conditional.factor_logits(state, factor)
        return shapes.masked_logits(logits, None if self.mask is None else self.mask[..., factor, :])

    def _temperature_for(self, logits: tf.Tensor) -> Any:
        """The temperature, repeated along axes that stand in front of the batch."""
        if not shapes.is_per_row(self.temperature):
            return self.temperature
        return tf.ensure_shape(tf.broadcast_to(self.temperature, tf.shape(logits)[:-1]), logits.shape[:-1])

    def advance(self, state: tf.Tensor, one_hot: tf.Tensor, factor: int) -> tf.Tensor:
        """See `SequentialDistribution.advance`."""
        return self.conditional.advance(state, one_hot, factor)

    def sample(self, seed: TensorLike, sample_shape: TensorLike = ()) -> Sample:
        """See `Distribution.sample`."""
        seeds = tf.unstack(ops.split(seed, len(self.sizes)), len(self.sizes))
        state = shapes.with_sample_axes(self.context, sample_shape)
        draws: list[Sample] = []
        for factor, each in enumerate(seeds):
            if factor:
                state = self.advance(state, self._seen(draws[-1]), factor - 1)
            logits = self._raw_logits(state, factor)
            draws.append(self.sampler(logits, each, temperature=self._temperature_for(logits)))
        return Sample(tf.stack([draw.action for draw in draws], -1), tf.stack([draw.one_hot for draw in draws], -2))

    def _seen(self, draw: Sample) -> tf.Tensor:
        """What later factors see of a draw: its action's one-hot, as `log_prob` has it, with the draw's gradient."""
        if not self.sampler.relaxed:
            return draw.one_hot
        return ops.with_gradient_of(shapes.one_hot_like(draw.action, draw.one_hot), draw.one_hot)

    def expectation(self, objective: Objective, seed: TensorLike, num_samples: int = 1) -> tf.Tensor:
        """See `Distribution.expectation`.

        Takes samplers that are pathwise, that are the score function of one draw (`categorical`, `score_function`), or
        that enumerate (`exact`).

        Raises:
            ValueError: another sampler, or one that enumerates with too many joint actions.
        """
        if self.pathwise:
            return super().expectation(objective, seed, num_samples)
        checks.check_count("num_samples", num_samples)
        if self.sampler.enumeration_limit is not None:
            return self._exact_expectation(objective, self.sampler.enumeration_limit)
        estimates = []
        for each in tf.unstack(ops.split(seed, num_samples), num_samples):
            draw = self.sample(each)
            values = self._joint_values(objective, draw.one_hot)
            advantages = self.sampler.advantages(values)
            if advantages is None:
                raise checks.invalid(
                    "a sampler that can estimate through factors that depend on each other",
                    sampler=self.sampler.name,
                    hint="Use a pathwise one (straight_through, reinmax), score_function, or exact.",
                )
            estimates.append(score_function_surrogate(values, advantages, self.log_prob(draw.action)))
        return tf.add_n(estimates) / tf.cast(num_samples, estimates[0].dtype)

    def _joint_values(self, objective: Objective, one_hot: tf.Tensor) -> tf.Tensor:
        """Values of the batch shape alone: factors that depend on each other have none of their own."""
        values, batch = self._values(objective, one_hot), one_hot.shape[: -self.event_ndims]
        if values.shape.rank != batch.rank:
            rule = f"objective to return values of the batch shape {batch}"
            raise checks.invalid(rule, values_shape=tuple(values.shape))
        return values

    def _exact_expectation(self, objective: Objective, max_outcomes: int) -> tf.Tensor:
        outcomes = np.stack(np.unravel_index(np.arange(np.prod(self.sizes)), self.sizes), -1)
        if len(outcomes) > max_outcomes:
            raise checks.invalid(
                f"at most max_outcomes={max_outcomes} joint actions to enumerate",
                joint_actions=len(outcomes),
                hint="Use a pathwise sampler, or raise max_outcomes.",
            )
        total = []
        batch = tf.shape(self.context)[:-1]
        for outcome in outcomes:
            action = tf.broadcast_to(tf.constant(outcome, tf.int32), tf.concat([batch, [len(self.sizes)]], 0))
            action = tf.ensure_shape(action, [*self.context.shape[:-1], len(self.sizes)])
            weight = tf.exp(self.log_prob(action))
            value = self._joint_values(objective, tf.one_hot(action, self.num_categories, dtype=self.context.dtype))
            # An outcome of probability 0 may have any value, NaN and inf included.
            total.append(weight * tf.where(weight > 0, value, tf.zeros_like(value)))
        return tf.add_n(total)
