"""An environment whose step costs time and no computation, as a simulator in another process does."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np

ID = "rlsample-benchmark/Sleeping-v0"
SECONDS = 1e-3


class Sleeping(gym.Env):
    """Sleeps a millisecond a step; an episode has 200."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (4,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Gymnasium's contract."""
        super().reset(seed=seed)
        return np.zeros(4, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Gymnasium's contract."""
        time.sleep(SECONDS)
        return np.zeros(4, np.float32), 1.0, False, False, {}


gym.register(ID, Sleeping, max_episode_steps=200)
