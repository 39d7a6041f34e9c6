"""Identity: repeat what you see. An agent without a fault learns it in seconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from rlsample import checks
from rlsample.in_graph import raster
from rlsample.in_graph.environment import FunctionalEnv, draw_index


class Identity(FunctionalEnv):
    """Copy the observation; the gradient of any policy is known in closed form.

    ## Description
    Each step shows one of K symbols, and the action that names it is rewarded. The next symbol does not depend on the
    action, so nothing but the present step matters.

    ## Action Space
    `Discrete(K, start)`: the symbol. A relaxed action is rewarded by the weight of the right symbol.

    ## Observation Space
    `Box` of shape (K,): the symbol, one-hot. The state is the same.

    ## Starting State
    A symbol drawn uniformly, as at each step.

    ## Rewards
    1 for the symbol shown, 0 for any other.

    ## Episode End
    Never terminated. Truncated after 32 steps.

    ## Information
    Empty; all actions are always legal. In the graph, `expected_reward` and `exact_gradient` are closed forms.

    ## Arguments
    `num_actions` (4): K; `start` (0): the action that stands for the first symbol, at Gymnasium's face only; `dtype`.

    ## References
    Raffin et al. (2021), Stable-Baselines3: reliable reinforcement learning implementations, whose tests use the idea.

    ## Version History
    v0: first version.

    Examples:
        >>> from envs.identity import Identity
        >>> env = Identity(num_actions=4)
        >>> state = env.initial((0, 1), num_envs=3)
        >>> env.step(state, tf.argmax(state, -1, tf.int32), (0, 2)).reward.numpy()
        array([1., 1., 1.], dtype=float32)
    """

    max_episode_steps = 32

    def __init__(self, num_actions: int = 4, start: int = 0, dtype: str = "float32"):
        """See the class."""
        checks.check_count("num_actions", num_actions)
        box = spaces.Box(0.0, 1.0, (num_actions,), np.dtype(dtype))
        super().__init__(spaces.Discrete(num_actions, start=start), box, dtype)

    def initial(self, seed: tf.Tensor, num_envs: int = 1) -> tf.Tensor:
        """Draws symbols: one-hot float `[B, K]`."""
        return tf.one_hot(
            draw_index(self.factors.num_categories, [num_envs], seed), self.factors.num_categories, dtype=self.dtype
        )

    def transition(self, state: tf.Tensor, action: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Draws new symbols, whatever the action: one-hot float `[B, K]`."""
        return self.initial(seed, state.shape[0])

    def observation(self, state: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the state itself: float `[B, K]`."""
        return state

    def reward(
        self, state: tf.Tensor, action: tf.Tensor, next_state: tf.Tensor, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns the weight of the symbol that was shown: float `[B]`."""
        return tf.reduce_sum(self.action_weights(action) * state, axis=-1)

    def terminal(self, state: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns False: bool `[B]`."""
        return tf.zeros_like(state[:, 0], tf.bool)

    def expected_reward(self, logits: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
        """Returns the expected reward of softmax(logits) in each state, <p, state>: `[..., K]` to `[...]`."""
        return tf.reduce_sum(tf.nn.softmax(logits) * tf.cast(state, logits.dtype), axis=-1)

    def exact_gradient(self, logits: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
        """Returns the gradient of `expected_reward`, p * (state - <p, state>): `[..., K]` to `[..., K]`."""
        advantage = tf.cast(state, logits.dtype) - self.expected_reward(logits, state)[..., tf.newaxis]
        return tf.nn.softmax(logits) * advantage

    def render_image(self, state: np.ndarray, render_state: Any = None) -> tuple[Any, np.ndarray]:
        """Draws the symbols with the present one filled: uint8 `[32, 32 * K, 3]`."""
        return render_state, raster.cells(raster.shades(state)[np.newaxis])
