"""MultiDiscrete: several dials of different sizes to be set as shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from rlsample.in_graph import raster
from rlsample.in_graph.environment import FunctionalEnv, draw_index


class MultiDiscrete(FunctionalEnv):
    """Set F dials of different sizes to the positions shown.

    ## Description
    Each step shows a position for each dial; the reward counts the dials that are set to it. The next positions do not
    depend on the action.

    ## Action Space
    `MultiDiscrete(nvec)`: the position of each dial. A relaxed action, padded to `[B, F, K]`, is rewarded by the
    weights of the right positions; weight in the padding earns nothing.

    ## Observation Space
    `Box` of shape (sum(nvec),): the positions to be set, one-hot, one dial after the other. The state is the same,
    padded to (F, K).

    ## Starting State
    Positions drawn uniformly, as at each step.

    ## Rewards
    The share of the dials that are right, in [0, 1].

    ## Episode End
    Never terminated. Truncated after 32 steps.

    ## Information
    Empty; all positions are always legal.

    ## Arguments
    `nvec` ((2, 5, 3)): the number of positions of each dial; `dtype`.

    ## References
    None; the task is a product of Identity tasks.

    ## Version History
    v0: first version.

    Examples:
        >>> from envs.multi_discrete import MultiDiscrete
        >>> env = MultiDiscrete(nvec=(2, 5, 3))
        >>> state = env.initial((0, 1), num_envs=4)  # the positions shown
        >>> env.step(state, tf.argmax(state, -1, tf.int32), (0, 2)).reward.numpy()
        array([1., 1., 1., 1.], dtype=float32)
    """

    max_episode_steps = 32

    def __init__(self, nvec: Sequence[int] = (2, 5, 3), dtype: str = "float32"):
        """See the class."""
        box = spaces.Box(0.0, 1.0, (int(sum(nvec)),), np.dtype(dtype))
        super().__init__(spaces.MultiDiscrete(list(nvec)), box, dtype)

    def initial(self, seed: tf.Tensor, num_envs: int = 1) -> tf.Tensor:
        """Draws positions: one-hot float `[B, F, K]`."""
        return draw_targets(self.factors.sizes, num_envs, seed, self.dtype)

    def transition(self, state: tf.Tensor, action: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Draws new positions, whatever the action: one-hot float `[B, F, K]`."""
        return self.initial(seed, state.shape[0])

    def observation(self, state: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the positions without the padding: float `[B, sum(nvec)]`."""
        return flatten_factors(state, self.factors.sizes)

    def reward(
        self, state: tf.Tensor, action: tf.Tensor, next_state: tf.Tensor, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns the share of dials set right: float `[B]`."""
        return tf.reduce_sum(self.action_weights(action) * state, axis=[1, 2]) / self.factors.num_factors

    def terminal(self, state: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns False: bool `[B]`."""
        return tf.zeros_like(state[:, 0, 0], tf.bool)

    def render_image(self, state: np.ndarray, render_state: Any = None) -> tuple[Any, np.ndarray]:
        """Draws a row of cells for each dial, padding in grey: uint8 `[32 * F, 32 * K, 3]`."""
        return render_state, raster.cells(shade_factors(state, self.factors.sizes))


def draw_targets(sizes: tuple[int, ...], num_envs: int, seed: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Draws a category for each factor uniformly: one-hot float `[B, F, K]`, zero in the padding.

    Examples:
        >>> from envs.multi_discrete import draw_targets
        >>> print(draw_targets((2, 3), num_envs=1, seed=(0, 1), dtype=tf.float32).numpy()[0])
        [[0. 1. 0.]
         [0. 0. 1.]]
    """
    return tf.one_hot(draw_index(sizes, [num_envs, len(sizes)], seed), max(sizes), dtype=dtype)


def flatten_factors(padded: tf.Tensor, sizes: tuple[int, ...]) -> tf.Tensor:
    """Concatenates the factors without their padding: `[B, F, K]` to `[B, sum(sizes)]`.

    Examples:
        >>> from envs.multi_discrete import flatten_factors
        >>> padded = tf.constant([[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
        >>> print(flatten_factors(padded, sizes=(2, 3)).numpy())
        [[1. 0. 0. 0. 1.]]
    """
    return tf.concat([padded[:, factor, :size] for factor, size in enumerate(sizes)], axis=1)


def shade_factors(weights: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """Colours the weight of each category, padding in grey: float `[F, K]` to uint8 `[F, K, 3]`.

    Examples:
        >>> from envs.multi_discrete import shade_factors
        >>> picture = shade_factors(np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]), sizes=(2, 3))
        >>> picture.shape, picture[0, 2].tolist()
        ((2, 3, 3), [150, 150, 150])
    """
    colours = raster.shades(weights)
    colours[np.arange(max(sizes)) >= np.array(sizes)[:, np.newaxis]] = raster.GREY
    return colours
