"""rejax's PPO, jitted whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import rejax
from rejax_whole import whole


def prepare(num_envs: int, steps: int, **_: Any) -> Callable[[], dict[str, float]]:
    """One call takes `steps` steps, with CleanRL's settings for CartPole."""
    rows = 128 * num_envs
    steps = max(1, steps // rows) * rows
    algorithm = rejax.get_algo("ppo").create(
        env="CartPole-v1",
        agent_kwargs={"activation": "tanh", "hidden_layer_sizes": (64, 64)},
        num_envs=num_envs,
        num_steps=128,
        num_epochs=4,
        num_minibatches=4,
        learning_rate=2.5e-4,
        max_grad_norm=0.5,
        total_timesteps=steps,
        eval_freq=steps,
        skip_initial_evaluation=True,
        gamma=0.99,
        gae_lambda=0.95,
        clip_eps=0.2,
        ent_coef=0.01,
        vf_coef=0.5,
    )
    return whole(algorithm, steps)
