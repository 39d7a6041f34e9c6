"""A plain categorical draw, trained by its score function."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import tensorflow as tf

from rlsample import ops
from rlsample.samplers import base
from rlsample.samplers.inverse_cdf import draw_one_hot
from rlsample.types import Objective, TensorLike


@dataclasses.dataclass(frozen=True, kw_only=True)
class Categorical(base.Sampler):
    """A hard draw D ~ softmax(logits) without a gradient of its own.

        forward   D, one-hot
        backward  none through `Sample.one_hot`; `expectation` uses the score function f(D) (D - p)

    Unbiased; the temperature is not used. The gradient of `expectation` is that of `score_function` with no baseline.

    Source: Williams (1992), "Simple statistical gradient-following algorithms for connectionist reinforcement
    learning", section 4.
    """

    name: ClassVar[str] = "categorical"
    pathwise: ClassVar[bool] = False

    def draw(self, logits: tf.Tensor, seed: tf.Tensor, temperature: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Sampler.draw`."""
        return draw_one_hot(ops.normalise(logits), seed)

    def expectation(
        self,
        objective: Objective,
        logits: TensorLike,
        seed: TensorLike,
        *,
        temperature: TensorLike = 1.0,
        mask: TensorLike | None = None,
        num_samples: int = 1,
    ) -> tf.Tensor:
        """See `Sampler.expectation`: f(D), with gradient f(D) (D - p) to the logits."""
        estimates = []
        for sample in self.draws(logits, seed, num_samples, temperature=temperature, mask=mask):
            values = base.evaluate(objective, sample.one_hot)
            log_prob = base.joint(ops.log_prob(logits, sample.action, mask), values)
            estimates.append(base.score_function_surrogate(values, self.advantages(values), log_prob))
        return base.mean_over_draws(estimates)

    def advantages(self, values: tf.Tensor) -> tf.Tensor:
        """What multiplies the score: the values themselves."""
        return values
