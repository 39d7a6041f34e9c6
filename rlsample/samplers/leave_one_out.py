"""The score function whose baseline is the mean of the other draws (REINFORCE leave-one-out)."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, final

import tensorflow as tf

from rlsample import checks, ops
from rlsample.samplers.base import PreparedLogits
from rlsample.samplers.categorical_draw import CategoricalDraw
from rlsample.samplers.objectives import joint, mean_over_draws, objective_values, score_function_surrogate
from rlsample.types import Objective


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class LeaveOneOut(CategoricalDraw):
    """n draws D_i ~ softmax(logits), each with the mean of the others as its baseline.

        forward   `expectation` is the mean of f(D_i); a call draws D ~ softmax(logits) as `categorical` does
        backward  1 / (n - 1) sum_i (f(D_i) - mean f) (D_i - p)

    Unbiased. Costs n evaluations of the objective and asks nothing of it: a black box will do. The temperature is
    not used.

    Attributes:
        num_samples: n, at least 2. `expectation` uses the larger of this and its own argument `num_samples`, so that
            code written for one draw works, and code that asks for more gets them in one group.

    Source: Kool, van Hoof and Welling (2019), "Buy 4 REINFORCE samples, get a baseline for free!"; Mnih and
    Rezende (2016), arXiv 1602.06725.

    Examples:
        >>> sampler = samplers.create({"name": "leave_one_out", "num_samples": 4})
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0]) ** 2
        >>> logits = tf.Variable([[0.0, 1.0, 2.0]] * 10_000)
        >>> with tf.GradientTape() as tape:
        ...     value = sampler.expectation(objective, logits, seed=(0, 1))
        >>> estimates = tape.gradient(value, logits).numpy()
        >>> print(estimates.mean(0), estimates.std(0))  # the exact gradient is [-0.876 -2.627 3.503]
        [-0.867 -2.614  3.481] [1.45  2.038 1.907]
    """

    name: ClassVar[str] = "leave_one_out"
    family: ClassVar[str] = "score function"
    unbiased: ClassVar[str] = "always"
    uses_temperature: ClassVar[bool] = False

    num_samples: int = 2

    def __post_init__(self) -> None:
        checks.check_count("num_samples", self.num_samples, minimum=2)

    def num_draws(self, num_samples: int) -> int:
        """See `Sampler.num_draws`."""
        return max(num_samples, self.num_samples)

    def estimate(self, objective: Objective, prepared: PreparedLogits, seeds: list[tf.Tensor]) -> tf.Tensor:
        """See `Sampler.estimate`: all draws are one group."""
        samples = [self.sample(prepared, seed) for seed in seeds]
        values = [objective_values(objective, sample.one_hot) for sample in samples]
        # Differences from the mean in at least float32: float16 would lose them in the values.
        wide = [tf.cast(value, tf.float32) if value.dtype.size < 4 else value for value in values]
        mean = mean_over_draws(wide)
        estimates = []
        for sample, value in zip(samples, wide, strict=True):
            log_prob = joint(ops.log_prob(prepared.given, sample.action, prepared.mask), value)
            advantages = (value - mean) * (len(seeds) / (len(seeds) - 1))
            estimates.append(score_function_surrogate(value, advantages, log_prob))
        return tf.cast(mean_over_draws(estimates), values[0].dtype)
