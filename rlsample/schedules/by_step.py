"""Step -> temperature, computed by `keras.optimizers.schedules`."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from rlsample import checks
from rlsample.schedules.base import Temperature
from rlsample.types import TensorLike


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule(Temperature):
    """A positive value that moves with the environment step alone.

    Examples:
        >>> temperature = schedules.create({"name": "linear", "start": 1.0, "end": 0.5, "steps": 100})
        >>> print([round(float(temperature(step)), 3) for step in (-1, 0, 50, 100, 1000)])
        [1.0, 1.0, 0.75, 0.5, 0.5]
        >>> temperature.to_config()
        {'name': 'linear', 'start': 1.0, 'end': 0.5, 'steps': 100}
    """

    @abc.abstractmethod
    def keras_schedule(self) -> keras.optimizers.schedules.LearningRateSchedule:
        """The Keras schedule that computes the value for steps within the schedule's range."""

    @property
    def last_step(self) -> int:
        """The step from which on the value stays the same."""
        return getattr(self, "steps", 0)

    def __call__(self, step: TensorLike) -> tf.Tensor:
        """The value at a step: float32 scalar. Before step 0 it is the first value, past the end the last one."""
        # In float64, where every step that a run can take is a number of its own.
        step = tf.clip_by_value(tf.cast(step, tf.float64), 0.0, float(self.last_step))
        return tf.cast(self.keras_schedule()(step), tf.float32)

    def initial(self) -> tuple[()]:
        """See `Temperature.initial`; there is nothing to remember."""
        return ()

    def at(self, state: Any, step: TensorLike) -> tf.Tensor:
        """See `Temperature.at`."""
        return self(step)

    def update(self, state: Any, metrics: Mapping[str, TensorLike]) -> Any:
        """See `Temperature.update`."""
        return state


@dataclasses.dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """`value` at every step.

    Examples:
        >>> float(schedules.Constant(value=0.5)(1_000_000))
        0.5
    """

    name: ClassVar[str] = "constant"

    value: float = 1.0

    def __post_init__(self) -> None:
        # A float, because Keras computes in the type of the first value: an int would decay to int 0.
        object.__setattr__(self, "value", checks.check_positive("value", self.value))

    def keras_schedule(self) -> keras.optimizers.schedules.LearningRateSchedule:
        """See `Schedule.keras_schedule`."""
        return keras.optimizers.schedules.PolynomialDecay(self.value, 1, self.value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Decay(Schedule):
    start: float = 1.0
    end: float = 0.1
    steps: int = 30_000

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", checks.check_positive("start", self.start))
        object.__setattr__(self, "end", checks.check_positive("end", self.end))
        checks.check_positive("end / start", self.end / self.start)
        checks.check_count("steps", self.steps)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Linear(_Decay):
    """From `start` to `end` in `steps` equal steps, then `end`.

    Examples:
        >>> temperature = schedules.Linear(start=1.0, end=0.2, steps=100)
        >>> print([round(float(temperature(step)), 3) for step in (0, 50, 100, 200)])
        [1.0, 0.6, 0.2, 0.2]
    """

    name: ClassVar[str] = "linear"

    def keras_schedule(self) -> keras.optimizers.schedules.LearningRateSchedule:
        """See `Schedule.keras_schedule`."""
        return keras.optimizers.schedules.PolynomialDecay(self.start, self.steps, self.end)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exponential(_Decay):
    """start * (end / start)^(step / steps), then `end`: the schedule of Jang, Gu and Poole (2017) and of TAGS.

    Examples:
        >>> temperature = schedules.Exponential(start=1.0, end=0.01, steps=100)
        >>> print([round(float(temperature(step)), 3) for step in (0, 50, 100, 200)])
        [1.0, 0.1, 0.01, 0.01]
    """

    name: ClassVar[str] = "exponential"

    def keras_schedule(self) -> keras.optimizers.schedules.LearningRateSchedule:
        """See `Schedule.keras_schedule`."""
        return keras.optimizers.schedules.ExponentialDecay(self.start, self.steps, self.end / self.start)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cosine(_Decay):
    """Half a cosine from `start` to `end`: slow at both ends, then `end`.

    Examples:
        >>> temperature = schedules.Cosine(start=1.0, end=0.2, steps=100)
        >>> print([round(float(temperature(step)), 3) for step in (0, 10, 50, 100)])
        [1.0, 0.98, 0.6, 0.2]
    """

    name: ClassVar[str] = "cosine"

    def keras_schedule(self) -> keras.optimizers.schedules.LearningRateSchedule:
        """See `Schedule.keras_schedule`."""
        return keras.optimizers.schedules.CosineDecay(self.start, self.steps, alpha=self.end / self.start)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Piecewise(Schedule):
    """`values[i]` up to and including step `boundaries[i]`, the last value after the last boundary.

    Examples:
        >>> temperature = schedules.Piecewise(boundaries=[100, 200], values=[1.0, 0.5, 0.1])
        >>> print([round(float(temperature(step)), 3) for step in (0, 100, 101, 201)])
        [1.0, 1.0, 0.5, 0.1]
    """

    name: ClassVar[str] = "piecewise"

    boundaries: Sequence[int]
    values: Sequence[float]

    def __post_init__(self) -> None:
        for name in ("boundaries", "values"):
            received: dict[str, Any] = {name: getattr(self, name)}
            if not isinstance(received[name], (list, tuple)):
                raise checks.invalid(f"{name} to be a list", **received)
        object.__setattr__(self, "boundaries", tuple(checks.check_count("boundaries", b) for b in self.boundaries))
        object.__setattr__(self, "values", tuple(checks.check_positive("values", v) for v in self.values))
        if not self.boundaries:
            raise checks.invalid("at least one boundary", boundaries=self.boundaries, hint="One value is `constant`.")
        if len(self.values) != len(self.boundaries) + 1:
            raise checks.invalid(
                "one value more than boundaries", boundaries=len(self.boundaries), values=len(self.values)
            )
        if any(later <= earlier for earlier, later in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise checks.invalid("boundaries to increase", boundaries=self.boundaries)

    @property
    def last_step(self) -> int:
        """See `Schedule.last_step`."""
        return self.boundaries[-1] + 1

    def keras_schedule(self) -> keras.optimizers.schedules.LearningRateSchedule:
        """See `Schedule.keras_schedule`."""
        return keras.optimizers.schedules.PiecewiseConstantDecay(
            [np.float64(boundary) for boundary in self.boundaries], list(self.values)
        )
