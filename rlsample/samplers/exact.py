"""The exact expectation, by enumeration: no noise, no bias, one evaluation of the objective an outcome."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, final

import numpy as np
import tensorflow as tf

from rlsample import checks, ops
from rlsample.samplers.base import PreparedLogits
from rlsample.samplers.categorical_draw import CategoricalDraw
from rlsample.samplers.objectives import objective_values
from rlsample.types import Objective, TensorLike

UNROLLED = 64
"""Up to so many outcomes the graph has a copy of the objective each: quicker to run, slower to trace and compile."""


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class Exact(CategoricalDraw):
    """The all-action expectation: sum over outcomes x of p(x) f(x).

        forward   `expectation` is the exact value; a call draws D ~ softmax(logits) as `categorical` does
        backward  p * (f - <p, f>) to the logits, sum_x p(x) grad f(x) to what f closes over

    Unbiased, zero variance; costs K evaluations of the objective, K^F for a joint action of F factors. Neither seed
    nor temperature plays a part in `expectation`. The objective is never evaluated at an outcome of probability 0.

    Attributes:
        max_outcomes: bound on the number of outcomes enumerated. Beyond it use an unbiased sampler whose cost does
            not grow with the number of outcomes (`leave_one_out`) or a pathwise one.

    Source: Ciosek and Whiteson (2018), "Expected policy gradients", arXiv 1706.05374; Sutton and Barto (2018),
    section 13.3 (the all-actions method).

    Examples:
        >>> sampler = samplers.create("exact")
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0]) ** 2
        >>> logits = tf.Variable([[0.0, 1.0, 2.0]] * 10_000)
        >>> with tf.GradientTape() as tape:
        ...     value = sampler.expectation(objective, logits, seed=(0, 1))
        >>> estimates = tape.gradient(value, logits).numpy()
        >>> print(estimates.mean(0), estimates.std(0))  # the exact gradient is [-0.876 -2.627 3.503]
        [-0.876 -2.627  3.504] [0. 0. 0.]
    """

    name: ClassVar[str] = "exact"
    family: ClassVar[str] = "score function"
    unbiased: ClassVar[str] = "always"
    uses_temperature: ClassVar[bool] = False

    max_outcomes: int = 4096

    def __post_init__(self) -> None:
        checks.check_count("max_outcomes", self.max_outcomes)

    def num_draws(self, num_samples: int) -> int:
        """See `Sampler.num_draws`: the seed is checked and not used."""
        return 1

    @property
    def enumeration_limit(self) -> int:
        """See `Sampler.enumeration_limit`."""
        return self.max_outcomes

    def estimate(self, objective: Objective, prepared: PreparedLogits, seeds: list[tf.Tensor]) -> tf.Tensor:
        """See `Sampler.estimate`; seeds and temperature play no part."""
        return enumerate_outcomes(objective, ops.softmax(prepared.logits), prepared.given.dtype, self.max_outcomes)


def enumerate_outcomes(objective: Objective, probs: tf.Tensor, dtype: tf.DType, max_outcomes: int) -> tf.Tensor:
    """Sums p(x) objective(x) over every outcome x of independent categoricals `probs` `[..., (F,) K]`.

    Up to `UNROLLED` outcomes are laid out in the graph, more are visited by a loop in it.
    """
    categories = probs.shape[-1]
    if categories is None:
        raise checks.invalid("a static number of categories", shape=tuple(probs.shape), hint="Set the static shape.")
    if categories > max_outcomes:
        raise _too_many(categories, max_outcomes)
    mode = tf.one_hot(tf.argmax(probs, -1), categories, dtype=dtype)

    def visit(index: TensorLike) -> tuple[tf.Tensor, tf.Tensor]:
        """The probabilities `[..., (F)]` of categories `[(F)]`, and the value of the objective there."""
        vertex = tf.one_hot(index, categories, dtype=dtype)
        chances = tf.reduce_sum(probs * tf.cast(vertex, probs.dtype), -1)
        # In place of a category of probability 0 the most probable one: the objective may have no value there, and
        # then has no gradient either, which a weight of 0 would not undo.
        outcome = tf.where(chances[..., tf.newaxis] > 0, vertex, mode)
        return chances, objective_values(objective, tf.ensure_shape(outcome, probs.shape))

    # The first outcome tells by its values whether they are of joint actions.
    chances, value = visit(0)
    factor_shape = tuple(probs.shape[value.shape.rank : -1])
    if None in factor_shape:
        raise checks.invalid("static factor axes", shape=tuple(probs.shape), hint="Set the static shape.")
    factors, axes = int(np.prod(factor_shape)), list(range(value.shape.rank, probs.shape.rank - 1))
    outcomes = categories**factors
    if outcomes > max_outcomes:
        raise _too_many(f"{categories}^{factors}", max_outcomes)

    def weighted(chances: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
        weight = tf.cast(tf.reduce_prod(chances, axes) if axes else chances, value.dtype)
        # A weight that underflows to 0 beside an infinite value must not give NaN.
        return weight * tf.where(weight > 0, value, tf.zeros_like(value))

    first = weighted(chances, value)
    if outcomes <= UNROLLED:
        later = list(np.ndindex(*[categories] * factors))[1:]
        return tf.add_n([first, *(weighted(*visit(np.reshape(index, factor_shape))) for index in later)])
    places = tf.constant(categories ** np.arange(factors)[::-1].reshape(factor_shape), tf.int32)

    def add(number: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return number + 1, total + weighted(*visit(number // places % categories))

    return tf.while_loop(
        lambda number, _: number < outcomes, add, (tf.constant(1), first), maximum_iterations=outcomes - 1
    )[1]


def _too_many(outcomes: int | str, max_outcomes: int) -> ValueError:
    return checks.invalid(
        f"at most max_outcomes={max_outcomes} outcomes to enumerate",
        outcomes=outcomes,
        hint="Use leave_one_out (unbiased) or a pathwise sampler, or raise max_outcomes.",
    )
