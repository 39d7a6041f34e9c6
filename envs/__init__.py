"""Environments to differentiate through, and small ones that pin a behaviour down.

Importing this package registers them with Gymnasium, as does `gym.make("envs:rlsample/CartPole-v1")`. TensorFlow is
loaded only when one is made.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym


def _register(name: str, functional: str, max_episode_steps: int, **spec: Any) -> None:
    if f"rlsample/{name}" not in gym.registry:  # so that a reload stays quiet
        gym.register(
            id=f"rlsample/{name}",
            entry_point="envs.adapters:make_env",
            vector_entry_point="envs.adapters:make_vector_env",
            kwargs={"functional": functional},
            max_episode_steps=max_episode_steps,
            **spec,
        )


_register("CartPole-v1", "envs.cartpole:CartPole", 500, reward_threshold=475.0)
