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

    Unbiased for every constant b. The variance is smallest at b = E[w f] / E[w], w = |D - p|^2, which gives the values
    of rare actions more weight than E[f] does. The temperature is not used.

    Attributes:
        baseline: b. For one that follows the objective use `leave_one_out`.

    Source: Williams (1992), "Simple statistical gradient-following algorithms for connectionist reinforcement
    learning", section 4.

    Examples:
        >>> sampler = samplers.create({"name": "score_function", "baseline": 4.1})
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0]) ** 2
        >>> logits = tf.Variable([[0.0, 1.0, 2.0]] * 10_000)
        >>> with tf.GradientTape() as tape:
        ...     value = sampler.expectation(objective, logits, seed=(0, 1))
        >>> estimates = tape.gradient(value, logits).numpy()
        >>> print(estimates.mean(0), estimates.std(0))  # the exact gradient is [-0.876 -2.627 3.503]
        [-0.88  -2.622  3.502] [0.865 1.074 0.7  ]
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
