"""Actions drawn factor after factor, each from a categorical that depends on the factors before it."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable

import tensorflow as tf

from rlsample import checks, ops
from rlsample.distributions import base, shapes
from rlsample.samplers.objectives import score_function_surrogate
from rlsample.types import Sample, TensorLike


class SequentialDistribution(base.Distribution):
    """p(a) = prod_i p(a_i | a_1 .. a_{i-1}): the joint log_prob is exact and costs one pass over the factors.

    A subclass defines the state that the factors decided so far leave behind, and the logits that follow from it.
    Entropy, divergence and `probs` are sums over all prefixes, computed as long as there are at most `max_outcomes`
    joint actions; beyond that, there is `sampled_entropy`. The mode is greedy: each factor at its most probable
    category given those before it.

    Attributes:
        sizes: number of categories of each factor.
        num_categories: K, the length of a one-hot.
        max_outcomes: bound on the joint actions that are enumerated.

    Examples:
        >>> policy = distributions.SubsetDistribution([[0.0, 1.0, 2.0]], num_items=2)
        >>> isinstance(policy, distributions.SequentialDistribution), policy.sizes
        (True, (3, 3))
        >>> print(policy.entropy().numpy(), policy.sampled_entropy(seed=(0, 1)).numpy())
        [1.362] [1.198]
    """

    event_ndims = 2
    sizes: tuple[int, ...]
    num_categories: int
    max_outcomes: int

    @property
    def event_shape(self) -> tf.TensorShape:
        """See `Distribution.event_shape`."""
        return tf.TensorShape([len(self.sizes), self.num_categories])

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
            return Sample(action, shapes.one_hot_like(action, logits))

        return self.walk(self.start(), most_probable)[0]

    def _log_prob(self, action: tf.Tensor) -> tf.Tensor:
        state, given = shapes.with_actions(self.start(), action, action_ndims=1)

        def take(logits: tf.Tensor, factor: int) -> Sample:
            return Sample(given[..., factor], shapes.one_hot_like(given[..., factor], logits))

        logits = self.walk(state, take)[1]
        return tf.add_n([ops.log_prob(each, given[..., factor]) for factor, each in enumerate(logits)])

    def probs(self) -> tf.Tensor:
        """See `Distribution.probs`: those of each factor whatever the others are; exact, and differentiable.

        Raises:
            ValueError: there are more than `max_outcomes` joint actions.
        """
        means = [_mean(probability[..., None], ops.softmax(own)) for probability, (own,) in _prefixes([self])]
        return tf.stack(means, -2)

    def entropy(self) -> tf.Tensor:
        """See `Distribution.entropy`: exact, and differentiable.

        Raises:
            ValueError: there are more than `max_outcomes` joint actions.
        """
        return tf.add_n([_mean(probability, ops.entropy(own)) for probability, (own,) in _prefixes([self])])

    def kl_divergence(self, other: SequentialDistribution) -> tf.Tensor:
        """See `Distribution.kl_divergence`: exact, and differentiable.

        Raises:
            ValueError: there are more than `max_outcomes` joint actions.
        """
        base.check_pair(self, other, SequentialDistribution)
        prefixes = _prefixes([self, other])
        return tf.add_n([_mean(probability, ops.kl_divergence(*both)) for probability, both in prefixes])

    def sampled_entropy(self, seed: TensorLike) -> tf.Tensor:
        """An unbiased estimate of the entropy, value and gradient, from one draw: for any number of joint actions.

            value     sum_i H(a_i | a_1 .. a_{i-1}) at the factors drawn
            gradient  that of each H, plus H times the gradient of log p(a_1 .. a_{i-1}), for the factors before it

        Args:
            seed: stateless seed, int32 `[2]`.
        """
        draw = self.sample(seed)
        action = tf.stop_gradient(draw.action)

        def take(logits: tf.Tensor, factor: int) -> Sample:
            return Sample(action[..., factor], shapes.one_hot_like(action[..., factor], logits))

        logits = self.walk(self.start(), take)[1]
        total, prefix = tf.zeros_like(ops.entropy(logits[0])), tf.zeros_like(ops.entropy(logits[0]))
        for factor, each in enumerate(logits):
            entropy = ops.entropy(each)
            total += score_function_surrogate(entropy, entropy, prefix)
            prefix += ops.log_prob(each, action[..., factor])
        return total


def _prefixes(distributions: list[SequentialDistribution]) -> list[tuple[tf.Tensor, list[tf.Tensor]]]:
    """Enumerates, factor by factor, the values of the factors before it.

    Returns:
        For each factor the probability `[N, ...]` of each prefix under the first distribution, and each distribution's
        logits `[N, ..., K]` given it.

    Raises:
        ValueError: there are more joint actions than the first distribution enumerates.
    """
    first = distributions[0]
    outcomes = math.prod(first.sizes)
    if outcomes > first.max_outcomes:
        raise checks.invalid(
            f"at most {first.max_outcomes} joint actions to sum over",
            joint_actions=outcomes,
            hint="Use sampled_entropy(seed), or means over draws of log_prob and of one-hots.",
        )
    states = [each.start()[None] for each in distributions]
    weight = tf.zeros_like(states[0][..., 0])
    found: list[tuple[tf.Tensor, list[tf.Tensor]]] = []
    for factor, size in enumerate(first.sizes):
        logits = [each.logits(state, factor) for each, state in zip(distributions, states, strict=True)]
        found.append((tf.exp(weight), logits))
        if factor == len(first.sizes) - 1:
            break
        branches = range(size)
        log_probs = [ops.log_prob(logits[0], tf.fill(tf.shape(weight), branch)) for branch in branches]
        weight = tf.concat([weight + each for each in log_probs], 0)
        one_hots = [shapes.one_hot_like(tf.fill(tf.shape(log_probs[0]), branch), logits[0]) for branch in branches]
        states = [
            tf.concat([each.advance(state, one_hot, factor) for one_hot in one_hots], 0)
            for each, state in zip(distributions, states, strict=True)
        ]
    return found


def _mean(probability: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """The sum over the prefixes `[N, ...]` of their probabilities times values; 0 for those that cannot happen."""
    # There a value may be infinite.
    return tf.reduce_sum(probability * tf.where(probability > 0, values, tf.zeros_like(values)), 0)
