"""Actions drawn factor after factor, each from a categorical that depends on the factors before it."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable

import tensorflow as tf

from rlsample import checks, ops
from rlsample.distributions import base
from rlsample.samplers.objectives import score_function_surrogate
from rlsample.types import Sample, TensorLike


class SequentialDistribution(base.Distribution):
    """p(a) = prod_i p(a_i | a_1 .. a_{i-1}): the joint log_prob is exact and costs one pass over the factors.

    A subclass says what the state is that the factors so far leave behind, and what logits follow from it.
    Entropy and divergence are sums over all prefixes, computed as long as there are at most `max_outcomes` joint
    actions; beyond that, `sampled_entropy`. The mode is greedy: each factor at its most probable category given those
    before it.

    Attributes:
        sizes: number of categories of each factor.
        num_categories: K, the length of a one-hot.
        max_outcomes: bound on the joint actions that are enumerated.
    """

    event_ndims = 2
    sizes: tuple[int, ...]
    num_categories: int
    max_outcomes: int

    @abc.abstractmethod
    def start(self) -> tf.Tensor:
        """The state `[..., S]` before the first factor."""

    @abc.abstractmethod
    def logits(self, state: tf.Tensor, factor: int) -> tf.Tensor:
        """Logits `[..., K]` of a factor, -inf at what is illegal."""

    @abc.abstractmethod
    def advance(self, state: tf.Tensor, one_hot: tf.Tensor, factor: int) -> tf.Tensor:
        """The state after a factor was decided, by its one-hot `[..., K]`."""

    def walk(self, state: tf.Tensor, choose: Callable[[tf.Tensor, int], Sample]) -> tuple[Sample, list[tf.Tensor]]:
        """Decides factor after factor: `choose(logits, factor)`. Returns the joint draw and each factor's logits."""
        draws: list[Sample] = []
        logits: list[tf.Tensor] = []
        for factor in range(len(self.sizes)):
            if factor:
                state = self.advance(state, draws[-1].one_hot, factor - 1)
            logits.append(self.logits(state, factor))
            draws.append(choose(logits[-1], factor))
        action = tf.stack([draw.action for draw in draws], -1)
        return Sample(action, tf.stack([draw.one_hot for draw in draws], -2)), logits

    def mode(self) -> Sample:
        """See `Distribution.mode`; greedy."""

        def most_probable(logits: tf.Tensor, factor: int) -> Sample:
            action = ops.mode(logits)
            return Sample(action, base.one_hot_like(action, logits))

        return self.walk(self.start(), most_probable)[0]

    def log_prob(self, action: TensorLike) -> tf.Tensor:
        """See `Distribution.log_prob`."""
        action = tf.convert_to_tensor(action)
        if action.shape.rank is not None and not action.shape[-1:].is_compatible_with([len(self.sizes)]):
            raise checks.invalid(f"actions of {len(self.sizes)} factors, [..., F]", shape=tuple(action.shape))
        state, given = base.with_actions(self.start(), action, action_ndims=1)

        def take(logits: tf.Tensor, factor: int) -> Sample:
            return Sample(given[..., factor], base.one_hot_like(given[..., factor], logits))

        logits = self.walk(state, take)[1]
        return tf.add_n([ops.log_prob(each, given[..., factor]) for factor, each in enumerate(logits)])

    def entropy(self) -> tf.Tensor:
        """See `Distribution.entropy`: exact, and differentiable.

        Raises:
            ValueError: there are more than `max_outcomes` joint actions.
        """
        return _sum_over_prefixes([self], lambda own: ops.entropy(own[0]))

    def kl_divergence(self, other: SequentialDistribution) -> tf.Tensor:
        """See `Distribution.kl_divergence`: exact, and differentiable.

        Raises:
            ValueError: there are more than `max_outcomes` joint actions.
        """
        return _sum_over_prefixes([self, other], lambda both: ops.kl_divergence(*both))

    def sampled_entropy(self, seed: TensorLike) -> tf.Tensor:
        """An unbiased estimate of the entropy, value and gradient, from one draw: for any number of joint actions.

            value     sum_i H(a_i | a_1 .. a_{i-1}) at the factors drawn
            gradient  its own, plus by the score function that of the probability of each prefix

        Args:
            seed: stateless seed, int32 `[2]`.
        """
        draw = self.sample(seed)
        action = tf.stop_gradient(draw.action)

        def take(logits: tf.Tensor, factor: int) -> Sample:
            return Sample(action[..., factor], base.one_hot_like(action[..., factor], logits))

        logits = self.walk(self.start(), take)[1]
        total, prefix = tf.zeros_like(ops.entropy(logits[0])), tf.zeros_like(ops.entropy(logits[0]))
        for factor, each in enumerate(logits):
            entropy = ops.entropy(each)
            total += score_function_surrogate(entropy, entropy, prefix)
            prefix += ops.log_prob(each, action[..., factor])
        return total


def _sum_over_prefixes(laws: list[SequentialDistribution], value: Callable[[list[tf.Tensor]], tf.Tensor]) -> tf.Tensor:
    """Sums p(prefix) value(each law's logits given the prefix) over the prefixes of every length, p of the first law.

    The prefixes of one length lie along a new leading axis.
    """
    sizes, outcomes = laws[0].sizes, math.prod(laws[0].sizes)
    if outcomes > laws[0].max_outcomes:
        raise checks.invalid(
            f"at most {laws[0].max_outcomes} joint actions to sum over",
            joint_actions=outcomes,
            hint="Use sampled_entropy(seed), or the mean of log_prob over draws.",
        )
    states = [law.start()[None] for law in laws]
    weight = tf.zeros_like(states[0][..., 0])
    total = tf.zeros_like(weight[0])
    for factor, size in enumerate(sizes):
        logits = [law.logits(state, factor) for law, state in zip(laws, states, strict=True)]
        values = value(logits)
        # Where the prefix cannot happen its value may be infinite.
        total += tf.reduce_sum(tf.exp(weight) * tf.where(tf.exp(weight) > 0, values, tf.zeros_like(values)), 0)
        if factor == len(sizes) - 1:
            break
        branches = range(size)
        log_probs = [ops.log_prob(logits[0], tf.fill(tf.shape(weight), branch)) for branch in branches]
        weight = tf.concat([weight + each for each in log_probs], 0)
        one_hots = [base.one_hot_like(tf.fill(tf.shape(log_probs[0]), branch), logits[0]) for branch in branches]
        states = [
            tf.concat([law.advance(state, one_hot, factor) for one_hot in one_hots], 0)
            for law, state in zip(laws, states, strict=True)
        ]
    return total
