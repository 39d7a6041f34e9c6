"""Stable-Baselines3's deep Q-learning on Gymnasium's CartPole."""

from __future__ import annotations

from collections.abc import Callable

from stable_baselines3 import DQN


def prepare(steps: int, **_: object) -> Callable[[], dict[str, float]]:
    """One call takes `steps` steps in one environment, with an update of 128 rows for each."""
    model = DQN(
        "MlpPolicy",
        "CartPole-v1",
        batch_size=128,
        buffer_size=100_000,
        learning_starts=256,
        train_freq=1,
        gradient_steps=1,
        target_update_interval=1,
        tau=0.02,
        policy_kwargs={"net_arch": [64, 64]},
        device="cpu",
    )
    model.learn(512)

    def run() -> dict[str, float]:
        before = model.num_timesteps
        model.learn(steps, reset_num_timesteps=False)
        return {"steps": model.num_timesteps - before}

    return run
