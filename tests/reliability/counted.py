"""An environment whose observations say which it is and how many steps were taken in it: no two steps look the same."""

from __future__ import annotations

import gymnasium as gym
import numpy as np

LENGTH = 37


class Counted(gym.Env):
    """Observes (its seed, steps so far); episodes of `LENGTH` steps."""

    observation_space, action_space = gym.spaces.Box(0, 1e9, (2,)), gym.spaces.Discrete(2)
    seed, count = 0, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.seed = seed
        return self.seen(), {}

    def step(self, action):
        self.count += 1
        return self.seen(), 1.0, self.count % LENGTH == 0, False, {}

    def seen(self):
        return np.array([self.seed, self.count], np.float32)


gym.register("Counted-v0", Counted)
