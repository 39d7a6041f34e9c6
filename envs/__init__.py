"""Environments to differentiate through, and small ones that each test one behaviour.

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
            entry_point="rlsample.in_graph.gymnasium_faces:make_env",
            vector_entry_point="rlsample.in_graph.gymnasium_faces:make_vector_env",
            kwargs={"functional": functional},
            max_episode_steps=max_episode_steps,
            **spec,
        )


_register("CartPole-v1", "envs.cartpole:CartPole", 500, reward_threshold=475.0)
_register("Acrobot-v1", "envs.acrobot:Acrobot", 500, reward_threshold=-100.0)
_register("MountainCar-v0", "envs.mountain_car:MountainCar", 200, reward_threshold=-110.0)
_register("GridWorld-v0", "envs.grid_world:GridWorld", 100)
_register("Bandit-v0", "envs.bandit:Bandit", 1)
_register("Identity-v0", "envs.identity:Identity", 32)
_register("MultiDiscrete-v0", "envs.multi_discrete:MultiDiscrete", 32)
_register("RaggedDict-v0", "envs.ragged_dict:RaggedDict", 32)
_register("Breakout-v0", "envs.breakout:Breakout", 1000)
