"""What samplers share that draw a category and have no gradient through the draw."""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar

import tensorflow as tf

from rlsample import ops
from rlsample.samplers.base import PreparedLogits, Sampler
from rlsample.samplers.inverse_cdf import draw_one_hot
from rlsample.types import Objective


@dataclasses.dataclass(frozen=True, kw_only=True)
class CategoricalDraw(Sampler):
    """A hard draw D ~ softmax(logits), whose one-hot carries no gradient; a subclass says what its estimate is."""

    pathwise: ClassVar[bool] = False

    def draw(self, logits: tf.Tensor, seed: tf.Tensor, temperature: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Sampler.draw`."""
        return draw_one_hot(ops.normalise(logits), seed)

    @abc.abstractmethod
    def estimate(self, objective: Objective, prepared: PreparedLogits, seeds: list[tf.Tensor]) -> tf.Tensor:
        """See `Sampler.estimate`."""
