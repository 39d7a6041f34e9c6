"""An environment of many actions, some of them legal: what they cost an agent, and nothing else."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

ID = "rlsample-benchmark/Wide-v0"
PAID = 10
"""Actions that are paid for."""


class Wide(gym.Env):
    """About half of the actions are legal, other ones at each step; an episode has 100.

    Args:
        num_actions: K.
    """

    observation_space = gym.spaces.Box(0.0, 1.0, (8,), np.float32)

    def __init__(self, num_actions: int) -> None:
        self.action_space = gym.spaces.Discrete(num_actions)
        self._num_actions, self._time = num_actions, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Gymnasium's contract."""
        super().reset(seed=seed)
        self._time = 0
        return self._seen()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Gymnasium's contract."""
        self._time += 1
        observation, info = self._seen()
        return observation, float(action < PAID), self._time == 100, False, info

    def _seen(self) -> tuple[np.ndarray, dict[str, Any]]:
        legal = self.np_random.random(self._num_actions, np.float32) < 0.5
        legal[0] = True
        return self.np_random.random(8, np.float32), {"action_mask": legal}


gym.register(ID, Wide)
