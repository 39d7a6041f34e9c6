"""The score-function (REINFORCE) estimator with a constant baseline."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, final

import numpy as np
import tensorflow as tf

from rlsample import checks
from rlsample.samplers.single_draw_score import SingleDrawScore


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreFunction(SingleDrawScore):
    """The score function with a baseline b: (f(D) - b) (D - p), D ~ softmax(logits).

    Unbiased for every constant b; the variance is smallest near b = E[f]. The temperature is not used.

    Attributes:
        baseline: b. For one that follows the objective use `leave_one_out`.

    Source: Williams (1992), "Simple statistical gradient-following algorithms for connectionist reinforcement
    learning", section 4.
    """

    name: ClassVar[str] = "score_function"
    family: ClassVar[str] = "score function"
    unbiased: ClassVar[str] = "always"
    uses_temperature: ClassVar[bool] = False

    baseline: float = 0.0

    def __post_init__(self) -> None:
        number = isinstance(self.baseline, (int, float)) and not isinstance(self.baseline, bool)
        if not (number and np.isfinite(self.baseline)):
            raise checks.invalid("baseline to be a finite number", baseline=self.baseline)

    def advantages(self, values: tf.Tensor) -> tf.Tensor:
        """See `Sampler.advantages`: the values less the baseline."""
        return values - tf.cast(self.baseline, values.dtype)
