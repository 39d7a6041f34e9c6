"""What a loop collects by, whoever steps the environments."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import gymnasium as gym

from rlsample.rollouts.numpy_network import NumpyAct
from rlsample.rollouts.snapshot import Snapshot
from rlsample.spaces import Factors


class Collector(Protocol):
    """Gives T steps of all environments at each call; see `GymnasiumCollector`."""

    envs: gym.vector.VectorEnv

    def collect(self, act: NumpyAct, num_steps: int) -> Any:
        """A `Transition` of arrays `[T, B, ...]`, or a `LaggingTransition`."""

    def pop_episodes(self) -> dict[str, float]:
        """Metrics since the last call."""

    def snapshot(self) -> Snapshot:
        """What `restore` needs to go on from here."""

    def restore(self, snapshot: Snapshot, seed: int) -> bool:
        """Goes on from there, or begins new episodes from the seed; returns whether they go on."""


@runtime_checkable
class CollectedElsewhere(Protocol):
    """A vector environment that is not stepped here."""

    def collector(self, factors: Factors, seed: int) -> Collector:
        """What collects from it, with episodes begun from the seed."""
