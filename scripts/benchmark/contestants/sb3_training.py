"""Stable-Baselines3's PPO on Gymnasium's CartPole, with the settings of its zoo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

SETTINGS: dict[str, Any] = {
    "n_steps": 32,
    "batch_size": 256,
    "gae_lambda": 0.8,
    "gamma": 0.98,
    "n_epochs": 20,
    "ent_coef": 0.0,
    "learning_rate": lambda left: 1e-3 * left,
    "clip_range": lambda left: 0.2 * left,
    "device": "cpu",
}


def prepare(steps: int, **_: Any) -> Callable[[], dict[str, float]]:
    """One call takes `steps` steps in 8 environments."""
    model = PPO("MlpPolicy", make_vec_env("CartPole-v1", n_envs=8), **SETTINGS)

    def run() -> dict[str, float]:
        before = model.num_timesteps
        model.learn(steps, reset_num_timesteps=False)
        return {"steps": model.num_timesteps - before}

    return run
