"""An in-graph environment of several agents as PettingZoo has it. Needs the extra `multi_agent`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pettingzoo
from gymnasium import spaces

from rlsample import checks
from rlsample.in_graph.several_agents import SeveralAgentsEnv
from rlsample.in_graph.stepping import Stepper

Results = dict[str, Any]


class ParallelEnv(pettingzoo.ParallelEnv):
    """One in-graph environment of several agents under PettingZoo's parallel interface.

    Every agent sees its own observation, without padding, and is paid the shared reward. Episodes are truncated after
    the environment's `max_episode_steps`. `pettingzoo.utils.parallel_to_aec` makes it one that is stepped in turns.

    Args:
        functional: the in-graph environment.
        render_mode: None or "rgb_array".

    Examples:
        >>> from envs.speaker_listener import SpeakerListener
        >>> from rlsample.in_graph.pettingzoo_face import ParallelEnv
        >>> env = ParallelEnv(SpeakerListener())
        >>> observations, infos = env.reset(seed=0)
        >>> observations, rewards, terminations, truncations, infos = env.step({"speaker_0": 2, "listener_0": 0})
        >>> print(observations["listener_0"], rewards["speaker_0"])
        [0. 0. 1. 0. 0.] 0.0
    """

    def __init__(self, functional: SeveralAgentsEnv, render_mode: str | None = None):
        """See the class."""
        if render_mode not in (None, "rgb_array"):
            raise checks.invalid("render_mode to be None or 'rgb_array'", render_mode=render_mode)
        self.functional = functional
        self.render_mode = render_mode
        self.metadata = {"name": type(functional).__name__, "is_parallelizable": True, **functional.metadata}
        self.possible_agents = list(functional.agents)
        self.agents: list[str] = []
        dtype, of_all = functional.observation_space.dtype, functional.action_space
        self.action_spaces = {name: spaces.Discrete(int(of_all[name].n)) for name in functional.agents}
        self.observation_spaces = {
            name: spaces.Box(agent.lowest, agent.highest, (agent.observation_size,), dtype)
            for name, agent in functional.agents.items()
        }
        self._stepper = Stepper(functional, 1)
        self._generator: np.random.Generator | None = None
        self._elapsed = 0

    def observation_space(self, agent: str) -> spaces.Space:
        """What an agent sees."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space:
        """What an agent does."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Results, Results]:
        """Starts an episode; PettingZoo's contract, by which unknown options are ignored; all are."""
        if seed is not None or self._generator is None:
            self._generator = np.random.default_rng(seed)
        self.agents, self._elapsed = list(self.possible_agents), 0
        observation, mask = self._stepper.reset(self._generator, None)
        return self._observations(observation), self._infos(mask)

    def step(self, actions: dict[str, Any]) -> tuple[Results, Results, Results, Results, Results]:
        """Takes one step; PettingZoo's contract.

        Raises:
            ValueError: an action is missing or outside of its space.
        """
        if not self.agents:
            return {}, {}, {}, {}, {}
        if actions.keys() != set(self.agents):
            raise checks.invalid(f"an action of each of {self.agents}", agents=list(actions))
        joint = {name: actions[name] for name in self.possible_agents}
        observation, reward, done, mask = self._stepper.step(joint, np.zeros(1, bool), lift=True)
        self._elapsed += 1
        agents = self.agents
        ended, cut = bool(done[0]), self._elapsed >= self.functional.max_episode_steps
        if ended or cut:
            self.agents = []
        rewards, terminated, truncated = (dict.fromkeys(agents, value) for value in (float(reward[0]), ended, cut))
        return self._observations(observation), rewards, terminated, truncated, self._infos(mask)

    def render(self) -> np.ndarray | None:
        """Draws the current state: uint8 `[height, width, 3]`, or None if no render mode was asked for."""
        if self.render_mode is None:
            return None
        return self.functional.render_image(self._stepper.numpy_state(lambda leaf: leaf[0]))[1]

    def close(self) -> None:
        """Has nothing to close."""

    def _observations(self, observation: np.ndarray) -> Results:
        rows = zip(self.functional.agents.items(), observation[0], strict=True)
        return {name: row[: agent.observation_size].copy() for (name, agent), row in rows}

    def _infos(self, mask: np.ndarray | None) -> Results:
        if mask is None:
            return {name: {} for name in self.functional.agents}
        rows = zip(self.functional.agents.items(), mask[0], strict=True)
        return {name: {"action_mask": row[: agent.num_actions].astype(np.int8)} for (name, agent), row in rows}
