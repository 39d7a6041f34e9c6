"""Stable-Baselines3's PPO, from nothing to a deterministic mean of 475 on CartPole: python sb3_threshold.py SEED."""

from __future__ import annotations

import json
import sys

from sb3_training import SETTINGS
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import EvalCallback, StopTrainingOnRewardThreshold
from stable_baselines3.common.env_util import make_vec_env

STEPS, BETWEEN, NUM_ENVS = 100_000, 2048, 8


def main(seed: int) -> None:
    """Trains and evaluates in turns; prints what it came to."""
    model = PPO("MlpPolicy", make_vec_env("CartPole-v1", n_envs=NUM_ENVS, seed=seed), seed=seed, **SETTINGS)
    judge = EvalCallback(
        make_vec_env("CartPole-v1", n_envs=20, seed=seed + 1000),
        callback_on_new_best=StopTrainingOnRewardThreshold(475),
        n_eval_episodes=20,
        eval_freq=BETWEEN // NUM_ENVS,
        deterministic=True,
        verbose=0,
    )
    model.learn(STEPS, callback=judge)
    print(json.dumps({"steps_to_threshold": model.num_timesteps, "mean_return": float(judge.best_mean_reward)}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
