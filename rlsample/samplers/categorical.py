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
    """

    name: ClassVar[str] = "categorical"
    family: ClassVar[str] = "score function"
    unbiased: ClassVar[str] = "always"
    uses_temperature: ClassVar[bool] = False

    def advantages(self, values: tf.Tensor) -> tf.Tensor:
        """See `Sampler.advantages`: the values themselves."""
        return values
