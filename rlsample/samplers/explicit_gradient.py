"""What estimators share that work out the gradient to the logits themselves."""

from __future__ import annotations

import abc
import dataclasses

import tensorflow as tf

from rlsample import checks
from rlsample.samplers.base import PreparedLogits
from rlsample.samplers.categorical_draw import CategoricalDraw
from rlsample.samplers.objectives import mean_over_draws, with_logits_gradient
from rlsample.types import Objective


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExplicitGradient(CategoricalDraw):
    """A categorical draw whose estimate is a value with an explicit gradient to the logits, averaged over seeds."""

    @abc.abstractmethod
    def values_and_gradient(
        self, objective: Objective, prepared: PreparedLogits, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """One estimate of E[objective(one_hot)] and of its gradient.

        Args:
            objective: as `expectation` takes it.
            prepared: logits `[..., (F,) K]` without a gradient, temperature and mask.
            seed: int32 `[2]`.

        Returns:
            (values `[...]`, differentiable in what the objective closes over; gradient, of the shape and dtype of
            `prepared.logits`, illegal entries 0).
        """

    def estimate(self, objective: Objective, prepared: PreparedLogits, seeds: list[tf.Tensor]) -> tf.Tensor:
        """See `Sampler.estimate`: the mean of independent estimates."""
        constant = without_gradient(prepared)
        estimates = [self.values_and_gradient(objective, constant, seed) for seed in seeds]
        return mean_over_draws([with_logits_gradient(*estimate, prepared.logits) for estimate in estimates])


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoundedEvaluations(ExplicitGradient):
    """An estimate whose cost grows with the number of categories, up to a bound.

    Attributes:
        max_evaluations: bound on the number of evaluations of the objective. Beyond it use `leave_one_out`.
    """

    max_evaluations: int = 512

    def __post_init__(self) -> None:
        checks.check_count("max_evaluations", self.max_evaluations)

    def check_cost(self, evaluations: int) -> None:
        """Raises ValueError for more evaluations of the objective than the bound."""
        if evaluations > self.max_evaluations:
            raise checks.invalid(
                f"at most max_evaluations={self.max_evaluations} evaluations of the objective",
                evaluations=evaluations,
                hint="Use leave_one_out, whose cost does not grow with the categories, or raise max_evaluations.",
            )


def without_gradient(prepared: PreparedLogits) -> PreparedLogits:
    """The same logits as constants."""
    return prepared._replace(logits=tf.stop_gradient(prepared.logits))
