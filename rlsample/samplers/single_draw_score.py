"""What score-function estimators share that need one draw at a time."""

from __future__ import annotations

import abc
import dataclasses

import tensorflow as tf

from rlsample import ops
from rlsample.samplers.base import PreparedLogits
from rlsample.samplers.categorical_draw import CategoricalDraw
from rlsample.samplers.objectives import joint, mean_over_draws, objective_values, score_function_surrogate
from rlsample.types import Objective


@dataclasses.dataclass(frozen=True, kw_only=True)
class SingleDrawScore(CategoricalDraw):
    """The score function A(f(D)) (D - p), D ~ softmax(logits), whose advantages A a subclass gives."""

    @abc.abstractmethod
    def advantages(self, values: tf.Tensor) -> tf.Tensor:
        """See `Sampler.advantages`."""

    def estimate(self, objective: Objective, prepared: PreparedLogits, seeds: list[tf.Tensor]) -> tf.Tensor:
        """See `Sampler.estimate`: f(D), with gradient A(f(D)) (D - p) to the logits."""
        estimates = []
        for seed in seeds:
            sample = self.sample(prepared, seed)
            values = objective_values(objective, sample.one_hot)
            log_prob = joint(ops.log_prob(prepared.given, sample.action, prepared.mask), values)
            estimates.append(score_function_surrogate(values, self.advantages(values), log_prob))
        return mean_over_draws(estimates)
