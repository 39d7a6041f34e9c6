"""What decides the temperature: a state, from step to step."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from rlsample.registry import Configurable
from rlsample.types import TensorLike


@dataclasses.dataclass(frozen=True, kw_only=True)
class Temperature(Configurable, abc.ABC):
    """What decides the temperature of a run, as pure functions of a state that the training loop holds.

        state = temperature.initial()
        tau = temperature.at(state, step)               # for the next rollout or update
        state = temperature.update(state, metrics)         # by what was measured meanwhile

    Frozen, and equal after `create(to_config())`. All three work in compiled code.

    Examples:
        >>> temperature = schedules.create({"name": "exponential", "start": 1.0, "end": 0.1, "steps": 100})
        >>> state = temperature.initial()
        >>> print(round(float(temperature.at(state, 50)), 3), temperature.metric)
        0.316 None
    """

    @property
    def metric(self) -> str | None:
        """Name of the metric that `update` looks at; None if it looks at none."""
        return None

    @abc.abstractmethod
    def initial(self) -> Any:
        """The state before training: a structure of tensors."""

    @abc.abstractmethod
    def at(self, state: Any, step: TensorLike) -> tf.Tensor:
        """The temperature in a state and at an environment step: float32 scalar above 0."""

    @abc.abstractmethod
    def update(self, state: Any, metrics: Mapping[str, TensorLike]) -> Any:
        """The state after metrics, scalars by name, have been measured."""
