"""Breakout on a 10 x 10 grid, in the rules of MinAtar."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from rlsample import checks, ops
from rlsample.in_graph import actions, raster
from rlsample.in_graph.environment import FunctionalEnv, draw_index, select

SIZE = 10
BRICK_ROWS = (1, 2, 3)
LEFT_RIGHT = {True: (1, 2), False: (1, 3)}  # the actions that move, in the minimal set and in the full one


class BreakoutState(NamedTuple):
    """Positions and directions are int32 `[B]`; the rest bool.

    Attributes:
        paddle: column of the paddle.
        ball: row and column of the ball, int32 `[B, 2]`.
        trail: where the ball was before, int32 `[B, 2]`.
        direction: -1 or 1 for each of row and column, int32 `[B, 2]`.
        bricks: bool `[B, 3, 10]`.
        passing: whether the ball is still inside the wall after breaking a brick, bool `[B]`.
        last_action: 0 stay, -1 left, 1 right: what a sticky step repeats, int32 `[B]`.
        lost: whether the ball went past the paddle, bool `[B]`.
    """

    paddle: tf.Tensor
    ball: tf.Tensor
    trail: tf.Tensor
    direction: tf.Tensor
    bricks: tf.Tensor
    passing: tf.Tensor
    last_action: tf.Tensor
    lost: tf.Tensor


class Breakout(FunctionalEnv):
    """Break a wall with a ball that bounces off a paddle.

    ## Description
    A ball moves one cell per step along a diagonal, off the side walls, the ceiling, the bricks and a paddle of one
    cell at the bottom. A brick that is hit disappears; while the ball stays among bricks it breaks no second one. When
    the ball comes to the bottom row and no brick is left, a new wall is built.

    ## Action Space
    `Discrete(3)`: stay, left, right; with `minimal_actions=False` MinAtar's `Discrete(6)`: stay, left, up, right, down,
    fire, of which only left and right do anything. A float action counts as its largest entry and has no gradient:
    the game has no slope (`differentiable` is False).

    ## Observation Space
    `Box` of shape (10, 10, 4), zeros and ones in the channels paddle, ball, trail (where the ball was) and bricks.

    ## Starting State
    Paddle in column 4, three full rows of bricks, the ball in row 3 at the left border on its way down right or at the
    right border on its way down left.

    ## Rewards
    1 for each brick.

    ## Episode End
    Terminated when the ball reaches the bottom row beside the paddle. Truncated after 1000 steps; MinAtar has no
    limit.

    ## Information
    Empty; all actions are always legal.

    ## Arguments
    `sticky_action` (0.1): probability that a step repeats the action of the step before; `minimal_actions` (True);
    `dtype`.

    ## References
    Young and Tian (2019), MinAtar: an Atari-inspired testbed for thorough and reproducible reinforcement learning
    experiments.

    ## Version History
    v0: first version.
    """

    max_episode_steps = 1000
    differentiable = False

    def __init__(self, sticky_action: float = 0.1, minimal_actions: bool = True, dtype: str = "float32"):
        """See the class."""
        if not 0 <= sticky_action <= 1:
            raise checks.invalid("sticky_action to be a probability", sticky_action=sticky_action)
        self.sticky_action = sticky_action
        self.left, self.right = LEFT_RIGHT[minimal_actions]
        box = spaces.Box(0.0, 1.0, (SIZE, SIZE, 4), np.dtype(dtype))
        super().__init__(spaces.Discrete(3 if minimal_actions else 6), box, dtype)

    def initial(self, seed: tf.Tensor, num_envs: int = 1) -> BreakoutState:
        """Draws the side that the ball starts from."""
        from_right = draw_index(2, [num_envs], seed)
        ball = tf.stack([tf.fill([num_envs], 3), (SIZE - 1) * from_right], axis=1)
        return BreakoutState(
            paddle=tf.fill([num_envs], 4),
            ball=ball,
            trail=ball,
            direction=tf.stack([tf.ones([num_envs], tf.int32), 1 - 2 * from_right], axis=1),
            bricks=tf.ones([num_envs, len(BRICK_ROWS), SIZE], tf.bool),
            passing=tf.zeros([num_envs], tf.bool),
            last_action=tf.zeros([num_envs], tf.int32),
            lost=tf.zeros([num_envs], tf.bool),
        )

    def transition(self, state: BreakoutState, action: tf.Tensor, seed: tf.Tensor | None = None) -> BreakoutState:
        """Moves the paddle, then the ball; a lost game stays as it is."""
        move = self._move(state, action, seed)
        paddle = tf.clip_by_value(state.paddle + move, 0, SIZE - 1)
        (old_row, old_column), (row_step, column_step) = (
            tf.unstack(state.ball, axis=1),
            tf.unstack(state.direction, axis=1),
        )
        row, column = old_row + row_step, old_column + column_step
        at_side = (column < 0) | (column >= SIZE)
        column = tf.clip_by_value(column, 0, SIZE - 1)
        column_step = tf.where(at_side, -column_step, column_step)
        at_ceiling = row < 0
        row = tf.maximum(row, 0)

        hit = state.bricks & _marks(row - BRICK_ROWS[0], column, len(BRICK_ROWS))
        inside = tf.reduce_any(hit, axis=[1, 2])
        broken = inside & ~state.passing
        bricks = state.bricks & ~(hit & broken[:, tf.newaxis, tf.newaxis])

        at_bottom = row == SIZE - 1
        rebuilt = at_bottom & ~tf.reduce_any(bricks, axis=[1, 2])
        bricks |= rebuilt[:, tf.newaxis, tf.newaxis]
        # A paddle under the ball sends it up; one where it was going to land also sends it back sideways.
        below, ahead = at_bottom & (old_column == paddle), at_bottom & (column == paddle)
        column_step = tf.where(ahead & ~below, -column_step, column_step)
        caught = below | ahead

        bounced = broken | caught
        row_step = tf.where(at_ceiling | bounced, -row_step, row_step)
        following = BreakoutState(
            paddle=paddle,
            ball=tf.stack([tf.where(bounced, old_row, row), column], axis=1),
            trail=state.ball,
            direction=tf.stack([row_step, column_step], axis=1),
            bricks=bricks,
            passing=inside,
            last_action=move,
            lost=at_bottom & ~caught,
        )
        return select(state.lost, state, following)

    def observation(self, state: BreakoutState, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the four channels: float `[B, 10, 10, 4]`."""
        paddle = _marks(tf.fill(state.paddle.shape, SIZE - 1), state.paddle, SIZE)
        ball, trail = (_marks(cell[:, 0], cell[:, 1], SIZE) for cell in (state.ball, state.trail))
        bricks = tf.pad(state.bricks, [[0, 0], [BRICK_ROWS[0], SIZE - 1 - BRICK_ROWS[-1]], [0, 0]])
        return tf.cast(tf.stack([paddle, ball, trail, bricks], axis=-1), self.dtype)

    def reward(
        self, state: BreakoutState, action: tf.Tensor, next_state: BreakoutState, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns the number of bricks broken, 0 or 1: float `[B]`."""
        broken = tf.reduce_any(state.bricks & ~next_state.bricks, axis=[1, 2])
        return tf.cast(broken, self.dtype)

    def terminal(self, state: BreakoutState, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns whether the ball was lost: bool `[B]`."""
        return state.lost

    def render_image(self, state: BreakoutState, render_state: Any = None) -> tuple[Any, np.ndarray]:
        """Draws bricks, trail, ball and paddle: uint8 `[320, 320, 3]`."""
        colours = np.full((SIZE, SIZE, 3), 255, np.uint8)
        colours[BRICK_ROWS[0] : BRICK_ROWS[-1] + 1][state.bricks] = raster.ORANGE
        colours[tuple(state.trail)] = raster.GREY
        colours[tuple(state.ball)] = raster.BLACK
        colours[SIZE - 1, state.paddle] = raster.BLUE
        return render_state, raster.cells(colours)

    def _move(self, state: BreakoutState, action: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        """Returns the step of the paddle, -1, 0 or 1, after stickiness: int32 `[B]`."""
        action = actions.check_shape(action, self.factors)
        if action.dtype.is_floating:
            action = tf.argmax(self.action_weights(action), axis=-1, output_type=tf.int32)
        move = tf.cast(action == self.right, tf.int32) - tf.cast(action == self.left, tf.int32)
        if not self.sticky_action:
            return move
        sticks = ops.uniform(state.paddle.shape, seed) < self.sticky_action
        return tf.where(sticks, state.last_action, move)


def _marks(row: tf.Tensor, column: tf.Tensor, height: int) -> tf.Tensor:
    """Marks one cell of a grid in each row of a batch: bool `[B, height, 10]`, all False if it lies outside."""
    in_row = tf.range(height) == row[:, tf.newaxis]
    in_column = tf.range(SIZE) == column[:, tf.newaxis]
    return in_row[:, :, tf.newaxis] & in_column[:, tf.newaxis, :]
