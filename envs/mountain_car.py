"""MountainCar in TensorFlow: rock a weak car out of a valley."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from rlsample.in_graph import raster
from rlsample.in_graph.environment import FunctionalEnv, check_bounds

MIN_POSITION, MAX_POSITION, GOAL_POSITION, MAX_SPEED = -1.2, 0.6, 0.5, 0.07
FORCE, GRAVITY = 0.001, 0.0025


class MountainCar(FunctionalEnv):
    """MountainCar-v0, differentiable.

    ## Description
    A car in a valley is too weak to climb the right hill at once; it must gather momentum on the left one. Agrees with
    Gymnasium's `MountainCar-v0` step by step, up to float32 rounding.

    ## Action Space
    `Discrete(3)`: accelerate to the left, not at all, to the right, by 0.001. A relaxed action accelerates by
    0.001 (w2 - w0).

    ## Observation Space
    `Box` of shape (2,): position in [-1.2, 0.6] and velocity in [-0.07, 0.07]. The state is the same two numbers.

    ## Starting State
    The position uniform in [low, high), the velocity 0.

    ## Rewards
    -1 for each step. It has no slope: a gradient with respect to actions comes through the states, and stops where the
    speed limit or the left wall clips them.

    ## Episode End
    Terminated at position >= 0.5 with velocity >= `goal_velocity`. Truncated after 200 steps.

    ## Information
    Empty; all actions are always legal.

    ## Arguments
    `goal_velocity` (0); `low`, `high` (-0.6, -0.4): bounds of the starting position; `dtype`.

    ## References
    Moore (1990), Efficient memory-based learning for robot control.

    ## Version History
    v0: first version here; the number is that of Gymnasium's environment with the same limits.

    Examples:
        >>> from envs.mountain_car import MountainCar
        >>> env = MountainCar()
        >>> state = env.initial((0, 1), num_envs=3)
        >>> step = env.step(state, tf.constant([0, 1, 2]), (0, 2))
        >>> step.reward.numpy(), step.terminated.numpy()
        (array([-1., -1., -1.], dtype=float32), array([False, False, False]))
    """

    max_episode_steps = 200
    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012

    def __init__(self, goal_velocity: float = 0.0, low: float = -0.6, high: float = -0.4, dtype: str = "float32"):
        """See the class."""
        self.goal_velocity = goal_velocity
        self.bounds = check_bounds(low, high)
        lowest = np.array([MIN_POSITION, -MAX_SPEED], dtype)
        highest = np.array([MAX_POSITION, MAX_SPEED], dtype)
        super().__init__(spaces.Discrete(3), spaces.Box(lowest, highest, dtype=np.dtype(dtype)), dtype)

    def initial(self, seed: tf.Tensor, num_envs: int = 1) -> tf.Tensor:
        """Draws starting states: float `[B, 2]`."""
        position = self._uniform(num_envs, 1, *self.bounds, seed)
        return tf.concat([position, tf.zeros_like(position)], axis=1)

    def transition(self, state: tf.Tensor, action: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Advances each state by one step; the left wall stops the car: float `[B, 2]`."""
        position, velocity = tf.unstack(state, axis=1)
        weights = self.action_weights(action)
        velocity += FORCE * (weights[:, 2] - weights[:, 0]) - GRAVITY * tf.cos(3 * position)
        velocity = tf.clip_by_value(velocity, -MAX_SPEED, MAX_SPEED)
        position = tf.clip_by_value(position + velocity, MIN_POSITION, MAX_POSITION)
        velocity = tf.where((position <= MIN_POSITION) & (velocity < 0), tf.zeros_like(velocity), velocity)
        return tf.stack([position, velocity], axis=1)

    def observation(self, state: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the state itself: float `[B, 2]`."""
        return state

    def reward(
        self, state: tf.Tensor, action: tf.Tensor, next_state: tf.Tensor, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns -1: float `[B]`."""
        return -tf.ones_like(next_state[:, 0])

    def terminal(self, state: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns whether the car reached the flag fast enough: bool `[B]`."""
        return (state[:, 0] >= GOAL_POSITION) & (state[:, 1] >= self.goal_velocity)

    def render_image(self, state: np.ndarray, render_state: Any = None) -> tuple[Any, np.ndarray]:
        """Draws the hills, the flag and the car: uint8 `[400, 600, 3]`."""

        def height(position: Any) -> Any:
            return 0.45 * np.sin(3 * position) + 0.55

        canvas = raster.Canvas(1.8, 1.2, 1000 / 3, origin=(MIN_POSITION, 0.0))
        track = np.linspace(MIN_POSITION, MAX_POSITION, 200)
        canvas.curve(track, height(track), 0.015, raster.BLACK)
        flag = (GOAL_POSITION, float(height(GOAL_POSITION)))
        canvas.line(flag, (flag[0], flag[1] + 0.15), 0.01, raster.GREEN)
        canvas.rectangle((flag[0] + 0.04, flag[1] + 0.13), 0.07, 0.05, raster.GREEN)
        position = float(state[0])
        slope = math.atan(1.35 * math.cos(3 * position))
        along = (0.05 * math.cos(slope), 0.05 * math.sin(slope))
        centre = (position - 0.04 * math.sin(slope), float(height(position)) + 0.04 * math.cos(slope))
        rear, front = (centre[0] - along[0], centre[1] - along[1]), (centre[0] + along[0], centre[1] + along[1])
        canvas.line(rear, front, 0.06, raster.ORANGE)
        return render_state, canvas.pixels
