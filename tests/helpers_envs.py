"""The environments that contract tests run over."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf
from gymnasium.envs.registration import load_env_creator

import envs  # noqa: F401  registers them
from rlsample.in_graph.environment import FunctionalEnv

ALL_ENVS = (
    "rlsample/Acrobot-v1",
    "rlsample/Asterix-v0",
    "rlsample/Bandit-v0",
    "rlsample/Breakout-v0",
    "rlsample/CartPole-v1",
    "rlsample/Coordination-v0",
    "rlsample/Foraging-v0",
    "rlsample/Freeway-v0",
    "rlsample/GridWorld-v0",
    "rlsample/Identity-v0",
    "rlsample/MountainCar-v0",
    "rlsample/MultiDiscrete-v0",
    "rlsample/RaggedDict-v0",
    "rlsample/SpaceInvaders-v0",
    "rlsample/SpeakerListener-v0",
    "rlsample/TMaze-v0",
)
MINIATURE_GAMES = tuple(f"rlsample/{name}-v0" for name in ("Asterix", "Breakout", "Freeway", "SpaceInvaders"))
DIFFERENTIABLE_ENVS = tuple(name for name in ALL_ENVS if name not in MINIATURE_GAMES)
PORTS = ("Acrobot-v1", "CartPole-v1", "MountainCar-v0")


def functional_env(name: str, **arguments: Any) -> FunctionalEnv:
    """Builds the in-graph environment behind an id."""
    return load_env_creator(gym.spec(name).kwargs["functional"])(**arguments)


def random_actions(env: FunctionalEnv, num_envs: int, generator: np.random.Generator) -> tf.Tensor:
    """Draws factor indices uniformly: int32 `[B]` or `[B, F]`."""
    indices = generator.integers(env.factors.sizes, size=(num_envs, env.factors.num_factors), dtype=np.int32)
    return tf.constant(indices.reshape(num_envs, *env.factors.action_shape))


def relaxed_actions(env: FunctionalEnv, num_envs: int, generator: np.random.Generator) -> tf.Tensor:
    """Draws points of the simplex uniformly: `[B, K]` or `[B, F, K]` in the environment's dtype, padding 0."""
    weights = generator.exponential(size=(num_envs, *env.factors.event_shape))
    if env.factors.padding_mask is not None:
        weights *= env.factors.padding_mask
    return tf.constant(weights / weights.sum(-1, keepdims=True), env.dtype)


def one_hots(env: FunctionalEnv, indices: tf.Tensor) -> tf.Tensor:
    """One-hots of factor indices, in the environment's dtype."""
    return tf.one_hot(indices, env.factors.num_categories, dtype=env.dtype)


def seed_of(*data: int) -> tf.Tensor:
    """A stateless seed."""
    return tf.constant((*data, 0)[:2], tf.int32)


def assert_equal_states(left: Any, right: Any, **tolerance: float) -> None:
    """Compares all tensors of two states."""
    for a, b in zip(tf.nest.flatten(left), tf.nest.flatten(right), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), **tolerance)
