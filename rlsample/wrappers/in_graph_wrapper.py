"""Base of wrappers around environments written in TensorFlow."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from rlsample import checks
from rlsample.in_graph.environment import FunctionalEnv


class InGraphWrapper(FunctionalEnv):
    """An in-graph environment that does what another one does, of whose states it is a function.

    A subclass changes the observation; where it remembers something, its state holds the other one's, which `inner`
    finds.

    Attributes:
        env: the other one.

    Args:
        env: likewise.
        observation_space: of one environment.

    Raises:
        ValueError: an environment of several agents, whose observations are the others' parts.

    Examples:
        >>> from envs.cartpole import CartPole
        >>> from rlsample.wrappers.in_graph_wrapper import InGraphWrapper
        >>> env = CartPole()
        >>> same = InGraphWrapper(env, env.observation_space)
        >>> same.max_episode_steps, same.observation(same.initial((0, 1), num_envs=8)).shape
        (500, TensorShape([8, 4]))
    """

    def __init__(self, env: FunctionalEnv, observation_space: gym.Space) -> None:
        """See the class."""
        if hasattr(env, "agents"):
            raise checks.invalid("an environment of one agent in a wrapper", env=type(env).__name__)
        self.env = env
        self.max_episode_steps, self.differentiable = env.max_episode_steps, env.differentiable
        self.metadata = env.metadata
        super().__init__(env.action_space, observation_space, env.dtype.name)

    def inner(self, state: Any) -> Any:
        """The state of the environment inside."""
        return state

    def initial(self, seed: tf.Tensor, num_envs: int = 1) -> Any:
        """See `FunctionalEnv.initial`."""
        return self.env.initial(seed, num_envs)

    def transition(self, state: Any, action: tf.Tensor, seed: tf.Tensor | None = None) -> Any:
        """See `FunctionalEnv.transition`."""
        return self.env.transition(self.inner(state), action, seed)

    def observation(self, state: Any, seed: tf.Tensor | None = None) -> Any:
        """See `FunctionalEnv.observation`."""
        return self.env.observation(self.inner(state), seed)

    def reward(self, state: Any, action: tf.Tensor, next_state: Any, seed: tf.Tensor | None = None) -> tf.Tensor:
        """See `FunctionalEnv.reward`."""
        return self.env.reward(self.inner(state), action, self.inner(next_state), seed)

    def terminal(self, state: Any, seed: tf.Tensor | None = None) -> tf.Tensor:
        """See `FunctionalEnv.terminal`."""
        return self.env.terminal(self.inner(state), seed)

    def action_mask(self, state: Any) -> tf.Tensor | None:
        """See `FunctionalEnv.action_mask`."""
        return self.env.action_mask(self.inner(state))

    def render_image(self, state: Any, render_state: Any = None) -> tuple[Any, np.ndarray]:
        """See `FunctionalEnv.render_image`."""
        return self.env.render_image(self.inner(state), render_state)
