"""What a loop collects by, whoever steps the environments."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import gymnasium as gym

from rlsample.rollouts.numpy_network import NumpyAct
from rlsample.rollouts.snapshot import Snapshot
from rlsample.spaces import Factors


class Collector(Protocol):
    """Gives T steps of all environments at each call; see `GymnasiumCollector`.

    Examples:
        >>> from rlsample.rollouts.gymnasium_collector import GymnasiumCollector
        >>> envs = gym.make_vec("CartPole-v1", num_envs=2)
        >>> collector = GymnasiumCollector(envs, spaces.factorise(envs.single_action_space), seed=0)
        >>> steps = collector.collect(lambda observation, mask: np.zeros(2, np.int32), num_steps=30)
        >>> collector.pop_episodes()["charts/episodes"] > 0
        True
    """

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
    """A vector environment that is not stepped here.

    Examples:
        >>> from rlsample.rollouts.collecting import CollectedElsewhere
        >>> isinstance(gym.make_vec("CartPole-v1", num_envs=2), CollectedElsewhere)  # it is stepped here
        False
    """

    def collector(self, factors: Factors, seed: int) -> Collector:
        """What collects from it, with episodes begun from the seed."""
