"""An environment that does something wrong after some steps; `--import tests.reliability.faulty` registers it."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import time
from pathlib import Path

import gymnasium as gym
import numpy as np

FOREVER = 3600


class Faulty(gym.Env):
    """Episodes of ten steps that pay 1 each. From step `after` of this copy on it does what `fault` names."""

    observation_space, action_space = gym.spaces.Box(-1.0, 1.0, (2,)), gym.spaces.Discrete(2)

    def __init__(self, fault: str = "none", after: int = 50, folder: str = ""):
        self.fault, self.after, self.folder, self.steps = fault, after, folder, 0
        if fault == "is never made":
            time.sleep(FOREVER)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        if self.steps >= self.after and self.fault == "fails in reset":
            raise RuntimeError("the door is jammed")
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.time, self.steps = self.time + 1, self.steps + 1
        observation, reward = np.zeros(2, np.float32), 1.0
        if self.steps >= self.after:
            self._do()
            observation = np.zeros(3, np.float32) if self.fault == "another shape" else observation
            observation = np.full(2, np.nan, np.float32) if self.fault == "NaN observed" else observation
            reward = {"NaN paid": float("nan"), "infinity paid": float("inf")}.get(self.fault, reward)
        return observation, reward, self.time == 10, False, {}

    def _do(self):
        if self.fault == "raises":
            raise RuntimeError("the door is jammed")
        if self.fault == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault.startswith("hangs") and self.folder:
            Path(self.folder, "hanging").touch()
        if self.fault == "hangs":
            time.sleep(FOREVER)
        if self.fault == "hangs outside of Python":
            lock = ctypes.create_string_buffer(64)
            for _ in range(2):
                ctypes.CDLL(None).pthread_mutex_lock(lock)
        if self.fault == "removes the run folder":
            shutil.rmtree(self.folder, ignore_errors=True)


if "Faulty-v1" not in gym.registry:
    gym.register("Faulty-v1", Faulty)
