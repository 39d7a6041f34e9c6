"""PettingZoo's parallel environments as Gymnasium has environments, agents that leave included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from rlsample import checks
from rlsample.rollouts.environments.masks import KEY, observed_mask, unmasked, without_mask
from rlsample.rollouts.several_agents.gymnasium_tuples import REWARDS
from rlsample.spaces.observations import map_parts

TERMINATED = "agent_terminated"
"""Where the info of a step says whose task is over, bool `[N]`; without it, it is everybody's or nobody's."""

PRESENT = "agent_present"
"""Where the info of a step says who acts next, bool `[N]`; without it, everybody."""


class FromPettingZoo(gym.Env):
    """A parallel environment with a Dict of agents for observation and action.

    The reward is the sum of the agents'; the info has each agent's own, whose task is over, who acts next, and masks.
    An agent that is not there sees zeros, is paid nothing, and its actions are dropped; one may join later than others.
    The episode ends when nobody is left: as a truncation if anybody was cut off.

    Args:
        env: a `pettingzoo.ParallelEnv`.

    Raises:
        ValueError: it has no agents.

    Examples:
        >>> from envs.speaker_listener import SpeakerListener
        >>> from rlsample.in_graph.pettingzoo_face import ParallelEnv
        >>> from rlsample.rollouts.several_agents.pettingzoo_environments import FromPettingZoo
        >>> env = FromPettingZoo(ParallelEnv(SpeakerListener(targets=4)))
        >>> observation, info = env.reset(seed=0)
        >>> observation, reward, terminated, truncated, info = env.step({"speaker_0": 2, "listener_0": 0})
        >>> list(observation), info["agent_rewards"]
        (['speaker_0', 'listener_0'], array([0., 0.], dtype=float32))
    """

    def __init__(self, env: Any) -> None:
        if not env.possible_agents:
            raise checks.invalid("an environment with possible_agents", env=str(env))
        self.env, self.names = env, list(env.possible_agents)
        self.metadata, self.render_mode = env.metadata, getattr(env, "render_mode", None)
        seen = {name: without_mask(env.observation_space(name)) for name in self.names}
        self.observation_space = spaces.Dict(seen, sort_keys=False)
        self.action_space = spaces.Dict({name: env.action_space(name) for name in self.names}, sort_keys=False)
        self._nothing = {name: _zeros(space) for name, space in seen.items()}
        self._terminated, self._cut = dict.fromkeys(self.names, False), False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Gymnasium's contract."""
        super().reset(seed=seed)
        observations, infos = self.env.reset(seed=seed, options=options)
        self._terminated, self._cut = dict.fromkeys(self.names, False), False
        return self._observation(observations), self._info(observations, infos, {}, self.env.agents)

    def step(self, action: Mapping[str, Any]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Gymnasium's contract.

        Raises:
            ValueError: an agent that acted is paid nothing, or is gone though nothing said that it would leave.
        """
        acting = list(self.env.agents)
        outcome = self.env.step({name: action[name] for name in acting})
        observations, rewards, terminations, truncations, infos = outcome
        left = []
        for name in acting:
            if name not in rewards:
                raise checks.invalid(f"a reward for agent {name!r}, which acted", rewards=dict(rewards))
            ended, cut = bool(terminations.get(name)), bool(truncations.get(name))
            self._terminated[name], self._cut = ended, self._cut or (cut and not ended)
            if not (ended or cut):
                left.append(name)
        for name in left:
            if name not in self.env.agents:
                rule = f"agent {name!r} to be terminated or truncated before it leaves"
                raise checks.invalid(rule, agents=list(self.env.agents))
        joined = [name for name in self.env.agents if name not in acting]
        self._terminated.update(dict.fromkeys(joined, False))
        following = [name for name in self.names if name in left or name in joined]
        each = np.array([rewards.get(name, 0.0) for name in self.names], np.float32)
        info = self._info(observations, infos, dict(zip(self.names, each, strict=True)), following)
        terminated, truncated = not following and not self._cut, not following and self._cut
        return self._observation(observations), float(each.sum()), terminated, truncated, info

    def render(self) -> Any:
        """What the environment draws."""
        return self.env.render()

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()

    def _observation(self, observations: Mapping[str, Any]) -> dict[str, Any]:
        seen = {name: unmasked(observation) for name, observation in observations.items()}
        return {name: seen.get(name, nothing) for name, nothing in self._nothing.items()}

    def _info(
        self, observations: Mapping[str, Any], infos: Mapping[str, Any], rewards: Mapping[str, Any], acting: list[str]
    ) -> dict[str, Any]:
        info: dict[str, Any] = {
            REWARDS: np.array([rewards.get(name, 0.0) for name in self.names], np.float32),
            TERMINATED: np.array([self._terminated[name] for name in self.names]),
            PRESENT: np.array([name in acting for name in self.names]),
        }
        masks = {name: _mask(name, observations, infos) for name in acting}
        if any(mask is not None for mask in masks.values()):
            info[KEY] = self._joint_mask(masks)
        return info

    def _joint_mask(self, masks: Mapping[str, Any]) -> np.ndarray:
        """The masks of those who act, bool `[N, K]`; to the others everything is legal."""
        sizes = [int(space.n) for space in self.action_space.spaces.values()]
        joint = np.ones((len(sizes), max(sizes)), bool)
        for row, size, name in zip(joint, sizes, self.names, strict=True):
            mask = masks.get(name)
            if mask is not None and np.shape(mask) != (size,):
                raise checks.invalid(f"a mask of the {size} actions of agent {name!r}", mask=mask)
            row[:size] = True if mask is None else np.asarray(mask, bool)
        return joint


def _mask(name: str, observations: Mapping[str, Any], infos: Mapping[str, Any]) -> Any:
    """What an agent is told that it may do: in its info, or in its observation; None if nowhere."""
    told = infos.get(name, {}).get(KEY)
    return observed_mask(observations.get(name)) if told is None else told


def _zeros(space: gym.Space) -> Any:
    """What an agent sees that is not there: zeros, or the first category where 0 is none."""
    return map_parts(lambda _, part: np.zeros(part.shape or (), part.dtype)[()] + getattr(part, "start", 0), space)
