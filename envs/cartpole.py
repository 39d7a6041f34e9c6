"""CartPole in TensorFlow: balance a pole on a cart by pushing left or right."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from rlsample.in_graph import raster
from rlsample.in_graph.environment import FunctionalEnv, check_bounds

GRAVITY, CART_MASS, POLE_MASS, HALF_LENGTH, FORCE, TIME_STEP = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
TOTAL_MASS = CART_MASS + POLE_MASS
POLE_MOMENT = POLE_MASS * HALF_LENGTH
MAX_POSITION = 2.4
MAX_ANGLE = 12 * 2 * math.pi / 360


class CartPole(FunctionalEnv):
    """CartPole-v1, differentiable.

    ## Description
    A pole stands on a cart that runs on a track without friction. Pushing the cart to the left or the right keeps the
    pole upright. Agrees with Gymnasium's `CartPole-v1` step by step, up to float32 rounding.

    ## Action Space
    `Discrete(2)`: 0 pushes to the left, 1 to the right, with 10 N. A relaxed action pushes with 10 (w1 - w0) N.

    ## Observation Space
    `Box` of shape (4,): position (m), velocity (m/s), angle (rad, 0 is upright), angular velocity (rad/s). The bounds
    are twice those that end an episode. The state is the same four numbers.

    ## Starting State
    Each of the four numbers uniform in [low, high).

    ## Rewards
    1 for each step, the last included; with `sutton_barto_reward`, -1 for the step that fails and 0 for others. Neither
    has a slope: a gradient with respect to actions comes through the states, for instance through a critic.

    ## Episode End
    Terminated when the position is beyond +-2.4 or the angle beyond +-12 degrees. Truncated after 500 steps.

    ## Information
    Empty; both actions are always legal.

    ## Arguments
    `sutton_barto_reward` (bool, False); `low`, `high` (-0.05, 0.05): bounds of the starting state; `dtype`.

    ## References
    Barto, Sutton and Anderson (1983), Neuronlike adaptive elements that can solve difficult learning control problems.
    Florian (2007), Correct equations for the dynamics of the cart-pole system.

    ## Version History
    v1: first version here; the number is that of Gymnasium's environment with the same limits.

    Examples:
        >>> from envs.cartpole import CartPole
        >>> env, push = CartPole(), tf.Variable([[0.0, 1.0]])
        >>> with tf.GradientTape() as tape:
        ...     speed = env.step(env.initial((0, 1)), push, (0, 2)).observation[:, 1]
        >>> print(tape.gradient(speed, push).numpy())  # what left would have done, what right did
        [[-0.195  0.195]]
    """

    max_episode_steps = 500
    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012

    def __init__(
        self, sutton_barto_reward: bool = False, low: float = -0.05, high: float = 0.05, dtype: str = "float32"
    ):
        """See the class."""
        self.sutton_barto_reward = sutton_barto_reward
        self.bounds = check_bounds(low, high)
        limit = np.array([2 * MAX_POSITION, np.inf, 2 * MAX_ANGLE, np.inf], dtype)
        super().__init__(spaces.Discrete(2), spaces.Box(-limit, limit, dtype=np.dtype(dtype)), dtype)

    def initial(self, seed: tf.Tensor, num_envs: int = 1) -> tf.Tensor:
        """Draws starting states: float `[B, 4]`."""
        return self._uniform(num_envs, 4, *self.bounds, seed)

    def transition(self, state: tf.Tensor, action: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Advances each state by one Euler step of 0.02 s: float `[B, 4]`."""
        _, velocity, angle, angular_velocity = tf.unstack(state, axis=1)
        weights = self.action_weights(action)
        force = FORCE * (weights[:, 1] - weights[:, 0])
        cos, sin = tf.cos(angle), tf.sin(angle)
        push = (force + POLE_MOMENT * tf.square(angular_velocity) * sin) / TOTAL_MASS
        inertia = HALF_LENGTH * (4.0 / 3.0 - POLE_MASS * tf.square(cos) / TOTAL_MASS)
        angular_acceleration = (GRAVITY * sin - cos * push) / inertia
        acceleration = push - POLE_MOMENT * angular_acceleration * cos / TOTAL_MASS
        rates = tf.stack([velocity, acceleration, angular_velocity, angular_acceleration], axis=1)
        return state + TIME_STEP * rates

    def observation(self, state: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the state itself: float `[B, 4]`."""
        return state

    def reward(
        self, state: tf.Tensor, action: tf.Tensor, next_state: tf.Tensor, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns 1, or minus the failure flag with `sutton_barto_reward`: float `[B]`."""
        if self.sutton_barto_reward:
            return -tf.cast(self.terminal(next_state), self.dtype)
        return tf.ones_like(next_state[:, 0])

    def terminal(self, state: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns whether the cart left the track or the pole fell: bool `[B]`."""
        return (tf.abs(state[:, 0]) > MAX_POSITION) | (tf.abs(state[:, 2]) > MAX_ANGLE)

    def render_image(self, state: np.ndarray, render_state: Any = None) -> tuple[Any, np.ndarray]:
        """Draws the track, the cart and the pole: uint8 `[400, 600, 3]`."""
        position, _, angle, _ = state
        canvas = raster.Canvas(4.8, 3.2, 125, origin=(-2.4, -0.8))
        canvas.rectangle((0.0, 0.0), 4.8, 0.01, raster.BLACK)
        canvas.rectangle((position, 0.0), 0.4, 0.24, raster.BLACK)
        pivot = (position, 0.06)
        tip = (position + 2 * HALF_LENGTH * math.sin(angle), 0.06 + 2 * HALF_LENGTH * math.cos(angle))
        canvas.line(pivot, tip, 0.08, raster.ORANGE)
        canvas.disc(pivot, 0.04, raster.BLUE)
        return render_state, canvas.pixels
