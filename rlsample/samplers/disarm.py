"""DisARM: two draws of opposite noise, compared choice by choice along a tree."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple, final

import tensorflow as tf

from rlsample import checks, ops
from rlsample.ops import tree
from rlsample.ops.softmax import ILLEGAL
from rlsample.samplers.base import PreparedLogits
from rlsample.samplers.explicit_gradient import ExplicitGradient
from rlsample.samplers.objectives import expand_like, objective_values
from rlsample.types import Objective


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class DisARM(ExplicitGradient):
    """Two antithetic draws: at each node of a tree over the categories one chooses by u, the other by 1 - u.

        choices   b = [u < a] and c = [1 - u < a] at a node that goes left with probability a = sigmoid(phi)
        forward   `expectation` is the mean of f at the two draws; a call draws as `categorical` does
        backward  1/2 (f(D) - f(D')) w to each phi, and from there to the logits, with w = (b - c) sigmoid(|phi|) at
                  nodes on both paths, b - a at those on the first alone, a - c on the second alone, 0 elsewhere

    Unbiased. It asks nothing of the objective but two values, whatever K is, and for a joint action of F factors too:
    each makes its pair with noise of its own. For two categories it is DisARM itself, ARM without the noise that does
    not matter. Opposite choices make the two draws differ more often than independent ones do: it has 0.6 to 0.99 of
    the variance of `leave_one_out` at the same cost, less the fewer categories a factor has, since the two draws share
    the choice at the root and few below. The order of the categories decides the tree, not the mean. The temperature
    is not used.

    Source: Dong, Mnih and Tucker (2020), "DisARM: an antithetic gradient estimator for binary latent variables", arXiv
    2006.10680; for trees of them, Dong, Mnih and Tucker (2021), "Coupled gradient estimators for discrete latent
    variables", arXiv 2106.08056. What nodes off one path or both would add has mean 0 given the others, and is left
    out.

    Examples:
        >>> sampler = samplers.create("disarm")
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0]) ** 2
        >>> logits = tf.Variable([[0.0, 1.0, 2.0]] * 10_000)
        >>> with tf.GradientTape() as tape:
        ...     value = sampler.expectation(objective, logits, seed=(0, 1))
        >>> estimates = tape.gradient(value, logits).numpy()
        >>> print(estimates.mean(0), estimates.std(0))  # the exact gradient is [-0.876 -2.627 3.503]
        [-0.815 -2.682  3.497] [2.756 3.391 2.469]
    """

    name: ClassVar[str] = "disarm"
    family: ClassVar[str] = "score function"
    unbiased: ClassVar[str] = "always"
    uses_temperature: ClassVar[bool] = False

    def values_and_gradient(
        self, objective: Objective, prepared: PreparedLogits, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `ExplicitGradient.values_and_gradient`."""
        logits, categories = prepared.logits, prepared.logits.shape[-1]
        if categories is None:
            raise checks.invalid("a static number of categories", shape=tuple(logits.shape), hint="Set the shape.")
        nodes = tree.leaf_slots(categories)[-1] if categories > 1 else 0
        shape = tf.concat([tf.shape(logits)[:-1], [2 ** int(nodes).bit_length() - 1]], 0)
        pair = antithetic_pair(logits, tf.cast(ops.uniform(shape, seed), logits.dtype))
        first, second = (
            objective_values(objective, tf.ensure_shape(tf.cast(one_hot, prepared.given.dtype), logits.shape))
            for one_hot in (pair.first, pair.second)
        )
        half = 0.5 * (expand_like(first, logits) - expand_like(second, logits))
        return 0.5 * (first + second), tf.stop_gradient(half) * pair.direction


class AntitheticPair(NamedTuple):
    """Two draws of opposite noise.

    Attributes:
        first: one-hot as booleans, `[..., K]`.
        second: likewise.
        direction: `[..., K]`, which times half of the difference of the objective at the two is the gradient to the
            logits.
    """

    first: tf.Tensor
    second: tf.Tensor
    direction: tf.Tensor


def antithetic_pair(logits: tf.Tensor, noise: tf.Tensor) -> AntitheticPair:
    """Walks the tree of the categories twice, with noise u and with 1 - u.

    Args:
        logits: float `[..., K]` from `ops.legal_logits`.
        noise: of the same dtype in (0, 1), one number a node from the root on: `[..., 2^depth - 1]`.
    """
    # Log-weights of the nodes, level by level from the leaves up, hence the probability to go left at each.
    level, to_left = tree.to_leaves(logits, ILLEGAL), []
    while level.shape[-1] > 1:
        left, right = tree.sides(level)
        to_left.append(tf.sigmoid(left - right))
        level = tree.log_sum(left, right)

    # Down again. A node hands its children what the nodes above them add to the gradient, shared out by probability.
    first = second = tf.ones_like(level, tf.bool)
    share, start = tf.zeros_like(level), 0
    for left in reversed(to_left):
        uniform = noise[..., start : start + left.shape[-1]]
        start += left.shape[-1]
        one, other = uniform < left, 1 - uniform < left
        up, down = (tf.cast(choice, left.dtype) for choice in (one, other))
        both = (up - down) * tf.maximum(left, 1 - left)
        apart = tf.where(first, up - left, tf.where(second, left - down, tf.zeros_like(left)))
        weight = tf.where(first & second, both, apart)
        share = tree.join(left * share + weight, (1 - left) * share - weight)
        first = tree.join(first & one, first & ~one)
        second = tree.join(second & other, second & ~other)
    return AntitheticPair(*(tree.from_leaves(leaves, logits.shape[-1]) for leaves in (first, second, share)))
