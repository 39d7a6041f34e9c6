"""A plain categorical draw, trained by its score function."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, final

import tensorflow as tf

from rlsample.samplers.single_draw_score import SingleDrawScore


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class Categorical(SingleDrawScore):
    """A hard draw D ~ softmax(logits) without a gradient of its own.

        forward   D, one-hot
        backward  none through `Sample.one_hot`; `expectation` uses the score function f(D) (D - p)

    Unbiased; the temperature is not used. The gradient of `expectation` is that of `score_function` with no baseline.

    Source: Williams (1992), "Simple statistical gradient-following algorithms for connectionist reinforcement
    learning", section 4.

    Examples:
        >>> sampler = samplers.create("categorical")
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0]) ** 2
        >>> logits = tf.Variable([[0.0, 1.0, 2.0]] * 10_000)
        >>> with tf.GradientTape() as tape:
        ...     value = sampler.expectation(objective, logits, seed=(0, 1))
        >>> estimates = tape.gradient(value, logits).numpy()
        >>> print(estimates.mean(0), estimates.std(0))  # the exact gradient is [-0.876 -2.627 3.503]
        [-0.874 -2.625  3.499] [0.831 1.818 2.62 ]
    """

    name: ClassVar[str] = "categorical"
    family: ClassVar[str] = "score function"
    unbiased: ClassVar[str] = "always"
    uses_temperature: ClassVar[bool] = False

    def advantages(self, values: tf.Tensor) -> tf.Tensor:
        """See `Sampler.advantages`: the values themselves."""
        return values
