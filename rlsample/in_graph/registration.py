"""Giving an in-graph environment an id, under which Gymnasium makes all of its faces."""

from __future__ import annotations

from typing import Any

import gymnasium as gym


def register(id: str, functional: str, max_episode_steps: int, **spec: Any) -> None:
    """Registers an in-graph environment with Gymnasium, as an `Env` and as a native `VectorEnv`; twice does no harm.

    Args:
        id: as Gymnasium has it, such as "mine/Corridor-v0".
        functional: the class as "module:Class"; imported when an environment is made.
        max_episode_steps: steps after which an episode is truncated.
        **spec: passed on to `gymnasium.register`, such as `reward_threshold`.

    Examples:
        >>> from rlsample.in_graph.registration import register
        >>> register("example/Bandit-v0", "envs.bandit:Bandit", max_episode_steps=1)
        >>> gym.make_vec("example/Bandit-v0", num_envs=8).observation_space.shape
        (8, 1)
        >>> del gym.registry["example/Bandit-v0"]
    """
    if id not in gym.registry:
        gym.register(
            id=id,
            entry_point="rlsample.in_graph.gymnasium_faces:make_env",
            vector_entry_point="rlsample.in_graph.gymnasium_faces:make_vector_env",
            kwargs={"functional": functional},
            max_episode_steps=max_episode_steps,
            **spec,
        )
