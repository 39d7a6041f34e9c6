"""Bandit: K arms, one pull, and the gradient of any policy known in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from rlsample import checks, ops
from rlsample.in_graph import raster
from rlsample.in_graph.environment import FunctionalEnv


class Bandit(FunctionalEnv):
    """A K-armed bandit with fixed means: the smallest environment that shows errors of a gradient estimator.

    ## Description
    Each arm pays its mean, plus Gaussian noise if asked for. An episode is one pull.

    ## Action Space
    `Discrete(K)`: the arm. A relaxed action is paid the mix of the means.

    ## Observation Space
    `Box` of shape (1,): always 1. The state is whether the arm has been pulled.

    ## Starting State
    Not pulled.

    ## Rewards
    The arm's mean plus `noise` times a standard normal draw.

    ## Episode End
    Terminated after one step.

    ## Information
    Empty; all arms are always legal. In the graph, `expected_reward` and `exact_gradient` are closed forms.

    ## Arguments
    `means`: the K means, default (0, 0.25, 0.5, 0.75, 1); `noise` (0): standard deviation; `dtype`.

    ## References
    Sutton and Barto (2018), Reinforcement Learning: An Introduction, chapter 2.

    ## Version History
    v0: first version.

    Examples:
        >>> from envs.bandit import Bandit
        >>> env, logits = Bandit(means=[0.0, 1.0]), tf.zeros([2])
        >>> float(env.expected_reward(logits)), env.exact_gradient(logits).numpy()
        (0.5, array([-0.25,  0.25], dtype=float32))
    """

    max_episode_steps = 1

    def __init__(
        self, means: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0), noise: float = 0.0, dtype: str = "float32"
    ):
        """See the class."""
        self.means = np.array(means, dtype)
        if self.means.ndim != 1 or self.means.size == 0 or not np.isfinite(self.means).all():
            raise checks.invalid("means to be finite numbers, at least one", means=means)
        if not (np.isfinite(noise) and noise >= 0):
            raise checks.invalid("noise to be a finite number >= 0", noise=noise)
        self.noise = noise
        super().__init__(spaces.Discrete(self.means.size), spaces.Box(0.0, 1.0, (1,), np.dtype(dtype)), dtype)

    def initial(self, seed: tf.Tensor, num_envs: int = 1) -> tf.Tensor:
        """Returns False, nothing pulled: bool `[B]`."""
        return tf.zeros([num_envs], tf.bool)

    def transition(self, state: tf.Tensor, action: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns True, pulled: bool `[B]`."""
        return tf.ones_like(state)

    def observation(self, state: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns ones: float `[B, 1]`."""
        return tf.ones([*state.shape, 1], self.dtype)

    def reward(
        self, state: tf.Tensor, action: tf.Tensor, next_state: tf.Tensor, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns the mean of the arm plus noise drawn from `seed`: float `[B]`."""
        reward = tf.linalg.matvec(self.action_weights(action), self.means)
        if self.noise:
            # The normal quantile of a uniform draw, so that eager, graph and XLA draw the same.
            reward += self.noise * tf.cast(tf.math.ndtri(ops.uniform(state.shape, seed)), self.dtype)
        return reward

    def terminal(self, state: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns whether the arm has been pulled: bool `[B]`."""
        return state

    def expected_reward(self, logits: tf.Tensor) -> tf.Tensor:
        """Returns the expected reward of softmax(logits), <p, means>: `[..., K]` to `[...]`."""
        return tf.reduce_sum(tf.nn.softmax(logits) * tf.cast(self.means, logits.dtype), axis=-1)

    def exact_gradient(self, logits: tf.Tensor) -> tf.Tensor:
        """Returns the gradient of `expected_reward`, p * (means - <p, means>): `[..., K]` to `[..., K]`."""
        advantage = tf.cast(self.means, logits.dtype) - self.expected_reward(logits)[..., tf.newaxis]
        return tf.nn.softmax(logits) * advantage

    def render_image(self, state: np.ndarray, render_state: Any = None) -> tuple[Any, np.ndarray]:
        """Draws the means, scaled to [0, 1], as shades, green once pulled: uint8 `[32, 32 * K, 3]`."""
        spread = max(float(np.ptp(self.means)), 1e-12)
        colour = raster.GREEN if state else raster.BLUE
        return render_state, raster.cells(raster.shades((self.means - self.means.min()) / spread, colour)[np.newaxis])
