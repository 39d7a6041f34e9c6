"""Acrobot in TensorFlow: swing the tip of a two-link pendulum above a line."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from rlsample import checks
from rlsample.in_graph import raster
from rlsample.in_graph.environment import FunctionalEnv, check_bounds

# Both links: length 1 m, mass 1 kg, centre of mass in the middle, moment of inertia 1 kg m^2.
LENGTH, MASS, CENTRE, INERTIA, GRAVITY, TIME_STEP = 1.0, 1.0, 0.5, 1.0, 9.8, 0.2
MAX_VELOCITIES = (4 * math.pi, 9 * math.pi)
MODELS = ("book", "nips")


class Acrobot(FunctionalEnv):
    """Acrobot-v1, differentiable.

    ## Description
    Two links hang from a fixed joint; a motor turns the joint between them. The free end is to be swung above a line
    one link above the fixed joint. Agrees with Gymnasium's `Acrobot-v1` step by step, up to float32 rounding.

    ## Action Space
    `Discrete(3)`: torque -1, 0 or 1 N m. A relaxed action applies the torque w2 - w0.

    ## Observation Space
    `Box` of shape (6,): cosine and sine of the first angle, of the second, and the two angular velocities, clipped at
    4 pi and 9 pi rad/s. The state is (angle 1, angle 2, velocity 1, velocity 2); angle 0 points down and the second is
    relative to the first, both in [-pi, pi].

    ## Starting State
    Each of the four numbers uniform in [low, high).

    ## Rewards
    -1 for each step, 0 for the one that reaches the line. Neither has a slope: a gradient with respect to actions
    comes through the states.

    ## Episode End
    Terminated when -cos(angle 1) - cos(angle 1 + angle 2) > 1. Truncated after 500 steps.

    ## Information
    Empty; all actions are always legal.

    ## Arguments
    `book_or_nips` ("book" or "nips"): the equations of the book, or of the paper, which lacks a term; `low`, `high`
    (-0.1, 0.1): bounds of the starting state; `dtype`.

    ## References
    Sutton (1996), Generalization in reinforcement learning: successful examples using sparse coarse coding.
    Sutton and Barto (2018), Reinforcement Learning: An Introduction.

    ## Version History
    v1: first version here; the number is that of Gymnasium's environment with the same limits.

    Examples:
        >>> from envs.acrobot import Acrobot
        >>> env, torque = Acrobot(), tf.Variable([[0.0, 0.0, 1.0]])
        >>> with tf.GradientTape() as tape:
        ...     turning = env.step(env.initial((0, 1)), torque, (0, 2)).observation[:, 5]
        >>> print(tape.gradient(turning, torque).numpy())
        [[-0.333  0.     0.333]]
    """

    max_episode_steps = 500
    metadata = {"render_modes": ["rgb_array"], "render_fps": 15}  # noqa: RUF012

    def __init__(self, book_or_nips: str = "book", low: float = -0.1, high: float = 0.1, dtype: str = "float32"):
        """See the class."""
        if book_or_nips not in MODELS:
            raise checks.unknown("book_or_nips", book_or_nips, MODELS)
        self.book_or_nips = book_or_nips
        self.bounds = check_bounds(low, high)
        limit = np.array([1.0, 1.0, 1.0, 1.0, *MAX_VELOCITIES], dtype)
        super().__init__(spaces.Discrete(3), spaces.Box(-limit, limit, dtype=np.dtype(dtype)), dtype)

    def initial(self, seed: tf.Tensor, num_envs: int = 1) -> tf.Tensor:
        """Draws starting states: float `[B, 4]`."""
        return self._uniform(num_envs, 4, *self.bounds, seed)

    def transition(self, state: tf.Tensor, action: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Advances each state by one fourth-order Runge-Kutta step of 0.2 s: float `[B, 4]`."""
        weights = self.action_weights(action)
        torque = weights[:, 2] - weights[:, 0]
        k1 = self._rates(state, torque)
        k2 = self._rates(state + TIME_STEP / 2 * k1, torque)
        k3 = self._rates(state + TIME_STEP / 2 * k2, torque)
        k4 = self._rates(state + TIME_STEP * k3, torque)
        moved = state + TIME_STEP / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        angles, velocities = moved[:, :2], moved[:, 2:]
        # Whole turns are a constant to the gradient, as in the piecewise map itself.
        angles -= 2 * math.pi * tf.stop_gradient(tf.round(angles / (2 * math.pi)))
        limits = tf.constant(MAX_VELOCITIES, self.dtype)
        return tf.concat([angles, tf.clip_by_value(velocities, -limits, limits)], axis=1)

    def observation(self, state: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns cosines and sines of the angles, and the velocities: float `[B, 6]`."""
        first, second, *velocities = tf.unstack(state, axis=1)
        return tf.stack([tf.cos(first), tf.sin(first), tf.cos(second), tf.sin(second), *velocities], axis=1)

    def reward(
        self, state: tf.Tensor, action: tf.Tensor, next_state: tf.Tensor, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns -1, or 0 at the goal: float `[B]`."""
        return tf.cast(self.terminal(next_state), self.dtype) - 1.0

    def terminal(self, state: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns whether the tip is above the line: bool `[B]`."""
        return -tf.cos(state[:, 0]) - tf.cos(state[:, 0] + state[:, 1]) > 1.0

    def _rates(self, state: tf.Tensor, torque: tf.Tensor) -> tf.Tensor:
        """Time derivative of the state: float `[B, 4]`."""
        first, second, velocity1, velocity2 = tf.unstack(state, axis=1)
        cos, sin = tf.cos(second), tf.sin(second)
        inertia1 = MASS * (2 * CENTRE**2 + LENGTH**2 + 2 * LENGTH * CENTRE * cos) + 2 * INERTIA
        coupling = MASS * (CENTRE**2 + LENGTH * CENTRE * cos) + INERTIA
        weight2 = MASS * CENTRE * GRAVITY * tf.sin(first + second)
        coriolis = MASS * LENGTH * CENTRE * sin
        load1 = -coriolis * velocity2 * (velocity2 + 2 * velocity1)
        load1 += MASS * (CENTRE + LENGTH) * GRAVITY * tf.sin(first) + weight2
        drive = torque + coupling / inertia1 * load1 - weight2
        if self.book_or_nips == "book":
            drive -= coriolis * tf.square(velocity1)
        acceleration2 = drive / (MASS * CENTRE**2 + INERTIA - tf.square(coupling) / inertia1)
        acceleration1 = -(coupling * acceleration2 + load1) / inertia1
        return tf.stack([velocity1, velocity2, acceleration1, acceleration2], axis=1)

    def render_image(self, state: np.ndarray, render_state: Any = None) -> tuple[Any, np.ndarray]:
        """Draws the goal line, the links and the joints: uint8 `[484, 484, 3]`."""
        first, both = state[0], state[0] + state[1]
        elbow = (math.sin(first), -math.cos(first))
        tip = (elbow[0] + math.sin(both), elbow[1] - math.cos(both))
        canvas = raster.Canvas(4.4, 4.4, 110, origin=(-2.2, -2.2))
        canvas.line((-2.2, 1.0), (2.2, 1.0), 0.01, raster.BLACK)
        for start, end in (((0.0, 0.0), elbow), (elbow, tip)):
            canvas.line(start, end, 0.2, raster.BLUE)
            canvas.disc(start, 0.1, raster.ORANGE)
        return render_state, canvas.pixels
