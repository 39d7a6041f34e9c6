"""Breakout on a 10 x 10 grid, in the rules of MinAtar."""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple

import tensorflow as tf

from rlsample.in_graph import raster
from rlsample.in_graph.environment import draw_index

from .miniature import LEFT, NONE, RIGHT, SIZE, MiniatureGame, Played, cell, in_last_row, towards

BRICK_ROWS = (1, 2, 3)


class BreakoutState(NamedTuple):
    """Positions and directions are int32 `[B]`; the rest bool.

    Attributes:
        paddle: column of the paddle.
        ball: row and column of the ball, int32 `[B, 2]`.
        trail: where the ball was before, int32 `[B, 2]`.
        direction: -1 or 1 for each of row and column, int32 `[B, 2]`.
        bricks: bool `[B, 3, 10]`.
        passing: whether the ball is still inside the wall after breaking a brick, bool `[B]`.
        played: what every game remembers.

    Examples:
        >>> from envs.breakout import Breakout
        >>> state = Breakout().initial((0, 1), num_envs=2)
        >>> state.paddle.numpy(), state.bricks.shape, state.ball.numpy().tolist()
        (array([4, 4], dtype=int32), TensorShape([2, 3, 10]), [[3, 9], [3, 9]])
    """

    paddle: tf.Tensor
    ball: tf.Tensor
    trail: tf.Tensor
    direction: tf.Tensor
    bricks: tf.Tensor
    passing: tf.Tensor
    played: Played


class Breakout(MiniatureGame):
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

    Examples:
        >>> from envs.breakout import Breakout
        >>> env = Breakout()
        >>> step = env.step(env.initial((0, 1), num_envs=8), tf.zeros([8], tf.int32), (0, 2))
        >>> step.observation.shape, env.differentiable
        (TensorShape([8, 10, 10, 4]), False)
    """

    max_episode_steps = 1000
    buttons = NONE, LEFT, RIGHT
    channels = MappingProxyType(
        {"paddle": raster.BLUE, "ball": raster.BLACK, "trail": raster.GREY, "bricks": raster.ORANGE}
    )

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
            played=self.begun(num_envs),
        )

    def play(self, state: BreakoutState, button: tf.Tensor, seed: tf.Tensor | None) -> BreakoutState:
        """Moves the paddle, then the ball."""
        paddle = tf.clip_by_value(state.paddle + towards(button, LEFT, RIGHT), 0, SIZE - 1)
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

        hit = state.bricks & cell(row, column)[:, BRICK_ROWS[0] : BRICK_ROWS[-1] + 1]
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
        return BreakoutState(
            paddle=paddle,
            ball=tf.stack([tf.where(bounced, old_row, row), column], axis=1),
            trail=state.ball,
            direction=tf.stack([row_step, column_step], axis=1),
            bricks=bricks,
            passing=inside,
            played=state.played._replace(earned=tf.cast(broken, self.dtype), lost=at_bottom & ~caught),
        )

    def channel_cells(self, state: BreakoutState) -> tuple[tf.Tensor, ...]:
        """Paddle, ball, where the ball was, and bricks."""
        paddle = in_last_row(state.paddle)
        ball, trail = (cell(place[:, 0], place[:, 1]) for place in (state.ball, state.trail))
        bricks = tf.pad(state.bricks, [[0, 0], [BRICK_ROWS[0], SIZE - 1 - BRICK_ROWS[-1]], [0, 0]])
        return paddle, ball, trail, bricks
