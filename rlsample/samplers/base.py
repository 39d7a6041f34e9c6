"""What every sampler is: a frozen, validated config that draws, and that knows the gradient of an expectation."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from rlsample import checks, ops
from rlsample.types import Objective, Sample, TensorLike


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampler(abc.ABC):
    """Draws from softmax(logits) and estimates gradients of expectations under it.

    A subclass is one published estimator in one file: a frozen dataclass whose fields are its options, checked in
    `__post_init__`. It implements `draw`; one without a pathwise gradient implements `expectation` too.

    Attributes:
        name: the registry key, which is also the module's name.
        pathwise: whether `Sample.one_hot` carries a gradient to the logits.
        relaxed: whether `Sample.one_hot` is a point inside the simplex rather than exactly one-hot.
    """

    name: ClassVar[str]
    pathwise: ClassVar[bool] = True
    relaxed: ClassVar[bool] = False

    @abc.abstractmethod
    def draw(self, logits: tf.Tensor, seed: tf.Tensor, temperature: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws from prepared logits.

        Args:
            logits: float32 or float64 `[..., K]` from `ops.legal_logits`: row maximum 0, illegal entries at a floor.
            seed: int32 `[2]`.
            temperature: a tensor of the dtype of `logits`, scalar or `[..., 1]`; None means 1.

        Returns:
            (action int32 `[...]`, -1 for a row that holds NaN; one_hot `[..., K]` in the dtype of `logits`).
        """

    def __call__(
        self, logits: TensorLike, seed: TensorLike, *, temperature: TensorLike = 1.0, mask: TensorLike | None = None
    ) -> Sample:
        """Draws one sample a row.

        Args:
            logits: float `[..., K]`, unnormalised log-probabilities; -inf marks an illegal category.
            seed: stateless seed, int32 `[2]`; the same seed gives the same sample in eager, graph and XLA.
            temperature: finite and above 0; a number, or a tensor or variable, scalar or of the batch shape `[...]`.
                Changing a tensor or a variable never retraces.
            mask: boolean, broadcasts to the logits, True = legal. Illegal categories are never drawn, and have
                probability and gradient exactly 0.

        Returns:
            `Sample(action, one_hot)`, `one_hot` in the dtype of the logits. Noise is drawn and arithmetic done in
            float32 at least.

        Raises:
            ValueError: a bad shape, dtype, temperature, seed or mask; eagerly also a row with NaN, +inf or nothing
                legal. Compiled code marks such a row: action -1, one_hot NaN (`checks.usable_rows` gives the flag).
        """
        logits, mask = checks.check_logits(logits, mask)
        legal = ops.legal_logits(logits, mask)
        action, one_hot = self.draw(legal, checks.check_seed(seed), row_temperature(temperature, legal))
        if not tf.executing_eagerly():
            one_hot = tf.where(action[..., None] < 0, tf.constant(float("nan"), one_hot.dtype), one_hot)
        return Sample(action, tf.cast(one_hot, logits.dtype))

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
        """Estimates E[objective(one_hot)], with this sampler's gradient of it.

        Gradients reach the logits and everything that `objective` closes over. A pathwise sampler averages the
        objective at its samples.

        Args:
            objective: one_hot of the shape of `logits` -> values `[...]`. If the values have fewer axes than the
                logits have rows, the missing axes are the factors of one joint action: `[B, F, K]` -> `[B]`.
            logits: float `[..., K]` or `[..., F, K]`.
            seed: stateless seed, int32 `[2]`.
            temperature: as in `__call__`.
            mask: as in `__call__`.
            num_samples: how many independent draws to average.

        Returns:
            The estimate, of the shape the objective returns.

        Raises:
            ValueError: as in `__call__`, or an objective whose values do not have the shape of leading logits axes.
        """
        draws = self.draws(logits, seed, num_samples, temperature=temperature, mask=mask)
        return mean_over_draws([evaluate(objective, draw.one_hot) for draw in draws])

    def draws(
        self,
        logits: TensorLike,
        seed: TensorLike,
        num_samples: int,
        *,
        temperature: TensorLike = 1.0,
        mask: TensorLike | None = None,
    ) -> list[Sample]:
        """Independent samples; the only one of `num_samples=1` is that of `__call__` with the same seed."""
        checks.check_count("num_samples", num_samples)
        seeds = [seed] if num_samples == 1 else tf.unstack(ops.split(seed, num_samples), num_samples)
        return [self(logits, each, temperature=temperature, mask=mask) for each in seeds]

    def drawn_logits(
        self, logits: tf.Tensor, *, temperature: TensorLike = 1.0, mask: TensorLike | None = None
    ) -> tf.Tensor:
        """Logits `[..., K]` of the distribution that actions are drawn from: the given ones, whatever the temperature.

        Whatever speaks of the probability of an action (log_prob, entropy, PPO's ratio) must use these.
        """
        return logits

    def to_config(self) -> dict[str, Any]:
        """The plain dict that `samplers.create` turns back into an equal sampler."""
        return {"name": self.name} | {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def row_temperature(temperature: TensorLike, logits: tf.Tensor) -> tf.Tensor | None:
    """A temperature that broadcasts to `logits` `[..., K]`: None for 1, a scalar, or `[..., 1]` for one a row."""
    if isinstance(temperature, (int, float)) and temperature == 1 and not isinstance(temperature, bool):
        return None
    temperature = checks.check_temperature(temperature, logits.dtype)
    if temperature.shape.rank == 0:
        return temperature
    if not temperature.shape.is_compatible_with(logits.shape[:-1]):
        raise checks.invalid(
            f"temperature to be a scalar or to have the batch shape {logits.shape[:-1]}",
            temperature_shape=tuple(temperature.shape),
        )
    return temperature[..., None]


def num_categories(logits: tf.Tensor) -> int | tf.Tensor:
    """K of logits `[..., K]`: a number where it is known."""
    return tf.shape(logits)[-1] if logits.shape[-1] is None else logits.shape[-1]


def evaluate(objective: Objective, one_hot: tf.Tensor) -> tf.Tensor:
    """Values of the objective, checked to have the shape of leading axes of `one_hot` without its last."""
    values = tf.convert_to_tensor(objective(one_hot))
    if not values.dtype.is_floating:
        raise checks.invalid("objective to return floats", dtype=values.dtype.name, hint="Integers have no gradient.")
    rank = values.shape.rank
    batch = one_hot.shape[:-1]
    if rank is None or rank > batch.rank or not values.shape.is_compatible_with(batch[:rank]):
        raise checks.invalid(
            f"objective to return values of the batch shape {batch}, or of its leading axes (one value a joint action)",
            values_shape=tuple(values.shape),
        )
    return values


def mean_over_draws(values: list[tf.Tensor]) -> tf.Tensor:
    """The mean of equal-shaped tensors."""
    return values[0] if len(values) == 1 else tf.add_n(values) / tf.cast(len(values), values[0].dtype)


def joint(per_row: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Sums `[..., F]` over the axes `values` lacks: the log-probability of a joint action from those of its factors."""
    axes = list(range(values.shape.rank, per_row.shape.rank))
    return tf.reduce_sum(per_row, axes) if axes else per_row


def score_function_surrogate(values: tf.Tensor, advantages: tf.Tensor, log_prob: tf.Tensor) -> tf.Tensor:
    """Value `values`; gradient that of `values` plus stop_gradient(advantages) times that of `log_prob`."""
    log_prob = tf.cast(log_prob, values.dtype)
    return values + tf.stop_gradient(advantages) * (log_prob - tf.stop_gradient(log_prob))
