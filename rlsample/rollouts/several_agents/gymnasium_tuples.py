"""Gymnasium environments with a Tuple of agents, such as lbforaging's and rware's: rewards, ends and masks."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from rlsample import checks
from rlsample.rollouts.environments.masks import KEY
from rlsample.rollouts.several_agents.agents import named

REWARDS = "agent_rewards"
"""Where the info of a step has the reward of each agent, float32 `[N]`; without it all are paid the same."""

TIME_IS_UP: dict[str, Callable[[Any], bool]] = {
    # Terminated when nothing is left to gather, or else because of its limit.
    "lbforaging": lambda env: bool(env.current_step >= env._max_episode_steps and env.field.sum() > 0),
    # Goods are ordered for ever: both of its limits, of steps and of steps without a delivery, only cut.
    "rware": lambda env: True,
}
"""Package -> whether an environment of it that calls itself terminated was only cut; for those that mix the two."""


def _moves_that_nothing_stops(env: Any) -> np.ndarray:
    """And loading where there is food: any other action leaves the agent where it is. Bool `[N, K]`."""
    legal = np.zeros((len(env.players), env.action_space[0].n), bool)
    for row, player in zip(legal, env.players, strict=True):
        row[[action.value for action in env._valid_actions[player]]] = True
    return legal


LEGAL: dict[str, Callable[[Any], np.ndarray]] = {"lbforaging": _moves_that_nothing_stops}
"""Package -> what is legal for each agent of an environment of it, where that is known and not told."""


class SeveralAgents(gym.Wrapper):
    """Makes the steps of an environment of several agents those of Gymnasium's contract.

    Rewards in a list become their sum, and stay apart in `info["agent_rewards"]`. An end that a package in
    `TIME_IS_UP` calls a termination, though only the time was up, becomes a truncation: what follows has a value. What
    a package in `LEGAL` knows of legal actions goes into `info["action_mask"]`, bool `[N, K]`.

    Args:
        env: with an entry for each agent in both of its spaces.

    Examples:
        >>> from rlsample.rollouts.several_agents.gymnasium_tuples import SeveralAgents
        >>> class Pair(gym.Env):
        ...     observation_space = gym.spaces.Tuple([gym.spaces.Discrete(2)] * 2)
        ...     action_space = gym.spaces.Tuple([gym.spaces.Discrete(3)] * 2)
        ...     def step(self, action):
        ...         return (0, 1), [1.0, 0.5], [False, False], [False, False], {}
        >>> observation, reward, terminated, truncated, info = SeveralAgents(Pair()).step((0, 2))
        >>> reward, info["agent_rewards"]
        (1.5, array([1. , 0.5], dtype=float32))
    """

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self._agents = len(named(env.action_space))
        package = type(env.unwrapped).__module__.partition(".")[0]
        self._time_is_up = TIME_IS_UP.get(package, lambda env: False)
        self._legal = LEGAL.get(package)
        self._stepped = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Gymnasium's contract."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, self._with_mask(info)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Gymnasium's contract.

        Raises:
            ValueError: another number of rewards than of agents.
        """
        observation, rewards, terminated, truncated, info = self._step(action)
        terminated = bool(np.all(terminated))
        if terminated and self._time_is_up(self.env.unwrapped):
            terminated, truncated = False, True
        info = self._with_mask(info)
        if np.ndim(rewards) == 0:
            return observation, rewards, terminated, bool(np.any(truncated)), info
        if np.shape(rewards) != (self._agents,):
            raise checks.invalid("a reward for each agent", agents=self._agents, rewards=rewards)
        each = np.asarray(rewards, np.float32)
        return observation, float(each.sum()), terminated, bool(np.any(truncated)), info | {REWARDS: each}

    def _with_mask(self, info: dict[str, Any]) -> dict[str, Any]:
        return info if self._legal is None else info | {KEY: self._legal(self.env.unwrapped)}

    def _step(self, action: Any) -> Any:
        if self._stepped:
            return self.env.step(action)
        self._stepped = True
        with warnings.catch_warnings():
            # Gymnasium looks at the first step, and says what this class is there to mend.
            warnings.filterwarnings("ignore", message=".*reward returned by `step\\(\\)`")
            return self.env.step(action)
