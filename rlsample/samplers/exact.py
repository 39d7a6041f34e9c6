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
from rlsample.types import Objective


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
    """Sums p(x) objective(x) over every outcome x of independent categoricals `probs` `[..., (F,) K]`."""
    categories = probs.shape[-1]
    if categories is None:
        raise checks.invalid("a static number of categories", shape=tuple(probs.shape), hint="Set the static shape.")
    if categories > max_outcomes:
        raise _too_many(categories, max_outcomes)

    # In place of a category of probability 0 the most probable one: the objective may have no value there, and then
    # has no gradient either, which a weight of 0 would not undo.
    mode = tf.one_hot(tf.argmax(probs, -1), categories, dtype=dtype)
    vertices = [
        tf.where(probs[..., k, None] > 0, tf.one_hot(k, categories, dtype=dtype), mode) for k in range(categories)
    ]

    # Every factor at the same category first: all there is unless the values turn out to be of joint actions.
    values = [objective_values(objective, tf.ensure_shape(vertex, probs.shape)) for vertex in vertices]
    factor_axes = probs.shape.rank - 1 - values[0].shape.rank
    if factor_axes == 0:
        weights = tf.unstack(tf.cast(probs, values[0].dtype), axis=-1)
        return tf.add_n([_weighted(weight, value) for weight, value in zip(weights, values, strict=True)])
    factor_shape = tuple(probs.shape[values[0].shape.rank : -1])
    if None in factor_shape:
        raise checks.invalid("static factor axes", shape=tuple(probs.shape), hint="Set the static shape.")
    factors = int(np.prod(factor_shape))
    if categories**factors > max_outcomes:
        raise _too_many(f"{categories}^{factors}", max_outcomes)
    flat_shape = tf.concat([tf.shape(values[0]), [factors, categories]], 0)
    flat = tf.reshape(tf.cast(probs, values[0].dtype), flat_shape)
    rows = [tf.unstack(tf.reshape(vertex, flat_shape), factors, -2) for vertex in vertices]
    total = tf.zeros_like(values[0])
    for index in np.ndindex(*[categories] * factors):
        if len(set(index)) == 1:
            value = values[index[0]]
        else:
            outcome = tf.stack([rows[k][f] for f, k in enumerate(index)], -2)
            value = objective_values(objective, tf.ensure_shape(tf.reshape(outcome, tf.shape(probs)), probs.shape))
        weight = tf.reduce_prod(tf.stack([flat[..., f, k] for f, k in enumerate(index)], -1), -1)
        total += _weighted(weight, value)
    return total


def _weighted(weight: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    # A weight that underflows to 0 beside an infinite value must not give NaN.
    return weight * tf.where(weight > 0, value, tf.zeros_like(value))


def _too_many(outcomes: int | str, max_outcomes: int) -> ValueError:
    return checks.invalid(
        f"at most max_outcomes={max_outcomes} outcomes to enumerate",
        outcomes=outcomes,
        hint="Use leave_one_out (unbiased) or a pathwise sampler, or raise max_outcomes.",
    )
