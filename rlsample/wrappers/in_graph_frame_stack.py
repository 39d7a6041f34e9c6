"""The latest observations one after another, in the graph."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf
from gymnasium.vector.utils import batch_space

from rlsample import checks
from rlsample.in_graph.environment import FunctionalEnv
from rlsample.wrappers.in_graph_wrapper import InGraphWrapper

PADDINGS = ("reset", "zero")


class Stacked(NamedTuple):
    """States of B environments.

    Attributes:
        inner: the environments' own.
        frames: the latest observations, `[B, N, ...]`, the newest last.

    Examples:
        >>> from rlsample.wrappers.in_graph_frame_stack import Stacked
        >>> Stacked(inner=tf.zeros([2, 4]), frames=tf.zeros([2, 3, 4])).frames.shape
        TensorShape([2, 3, 4])
    """

    inner: Any
    frames: Any


class InGraphFrameStack(InGraphWrapper):
    """See `gymnasium.wrappers.FrameStackObservation`.

    Args:
        env: the environment inside.
        stack_size: N, observations shown at once.
        padding_type: what stands before the first observation of an episode: itself ("reset"), or zeros ("zero").

    Raises:
        ValueError: a size below 1, or another padding.

    Examples:
        >>> from envs.cartpole import CartPole
        >>> from rlsample.wrappers.in_graph_frame_stack import InGraphFrameStack
        >>> env = InGraphFrameStack(CartPole(), stack_size=3)
        >>> env.observation(env.initial((0, 1), num_envs=8)).shape
        TensorShape([8, 3, 4])
    """

    def __init__(self, env: FunctionalEnv, stack_size: int, padding_type: str = "reset") -> None:
        """See the class."""
        self._size = checks.check_count("stack_size", stack_size)
        if padding_type not in PADDINGS:
            raise checks.unknown("padding_type", padding_type, PADDINGS)
        self._padding = padding_type
        super().__init__(env, batch_space(env.observation_space, stack_size))

    def inner(self, state: Stacked) -> Any:
        """The state of the environment inside."""
        return state.inner

    def initial(self, seed: tf.Tensor, num_envs: int = 1) -> Stacked:
        """Starting states, whose first observation is padded in front."""
        inner = self.env.initial(seed, num_envs)

        def padded(newest: tf.Tensor) -> tf.Tensor:
            before = newest if self._padding == "reset" else tf.zeros_like(newest)
            return tf.stack([before] * (self._size - 1) + [newest], 1)

        return Stacked(inner, tf.nest.map_structure(padded, self.env.observation(inner)))

    def transition(self, state: Stacked, action: tf.Tensor, seed: tf.Tensor | None = None) -> Stacked:
        """Moves on, and drops the oldest observation."""
        inner = self.env.transition(state.inner, action, seed)
        newest = self.env.observation(inner)
        frames = tf.nest.map_structure(lambda old, new: tf.concat([old[:, 1:], new[:, None]], 1), state.frames, newest)
        return Stacked(inner, frames)

    def observation(self, state: Stacked, seed: tf.Tensor | None = None) -> Any:
        """The frames: `[B, N, ...]`."""
        return state.frames
