"""What a loop collects by, whoever steps the environments."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import gymnasium as gym

from rlsample.rollouts.in_numpy.actor import NumpyAct
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
        """A `Transition` of arrays `[T, B, ...]`, or a `DistantTransition`."""

    def pop_episodes(self) -> dict[str, float]:
        """Metrics since the last call."""

    def snapshot(self) -> Snapshot:
        """What `restore` needs to go on from here."""

    def restore(self, snapshot: Snapshot, seed: int) -> bool:
        """Goes on from there, or begins new episodes from the seed; returns whether they go on."""


class Taken(NamedTuple):
    """Steps of some of the environments.

    Attributes:
        runner: which runner took them.
        goes_on: whether they follow on the steps of this runner that were given before.
        transitions: arrays `[T, E, ...]`.

    Examples:
        >>> from rlsample.rollouts.collecting import Taken
        >>> Taken(runner=0, goes_on=False, transitions=None).goes_on  # its episodes have begun since, or a part is lost
        False
    """

    runner: int
    goes_on: bool
    transitions: Any


@runtime_checkable
class TakesFragments(Protocol):
    """A collector whose environments are stepped by runners, each by itself.

    Examples:
        >>> from rlsample.rollouts.collecting import TakesFragments
        >>> from rlsample.rollouts.gymnasium_collector import GymnasiumCollector
        >>> envs = gym.make_vec("CartPole-v1", num_envs=2)
        >>> collector = GymnasiumCollector(envs, spaces.factorise(envs.single_action_space), seed=0)
        >>> isinstance(collector, TakesFragments)
        False
    """

    def take(self, act: NumpyAct, num_steps: int) -> list[Taken]:
        """T steps of as many runners as there are, one after the other, in no order of theirs."""


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
