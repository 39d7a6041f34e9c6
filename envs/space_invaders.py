"""Space Invaders on a 10 x 10 grid, in the rules of MinAtar."""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from rlsample.in_graph import raster

from .miniature import FIRE, LEFT, NONE, RIGHT, SIZE, Played, RampingGame, in_last_row, towards

COOL_DOWN = 5
MOVE_INTERVAL, LEAST_MOVE_INTERVAL, SHOT_INTERVAL = 12, 6, 10
FLEET = np.zeros((SIZE, SIZE), bool)
FLEET[:4, 2:8] = True


class InvadersState(NamedTuple):
    """Boards are bool `[B, 10, 10]`, numbers int32 `[B]`; times count down.

    Attributes:
        column: of the cannon.
        bullets: on their way up.
        bombs: on their way down.
        aliens: where they are.
        direction: -1 while they go left, 1 right.
        cool_down: steps until the cannon can fire.
        until_move: steps until the aliens move.
        until_bomb: steps until one of them shoots.
        move_interval: steps from one move of a full fleet to the next.
        played: what every game remembers.

    Examples:
        >>> from envs.space_invaders import SpaceInvaders
        >>> state = SpaceInvaders().initial((0, 1), num_envs=2)
        >>> sorted({tuple(part.shape) for part in tf.nest.flatten(state)})
        [(2,), (2, 10, 10)]
    """

    column: tf.Tensor
    bullets: tf.Tensor
    bombs: tf.Tensor
    aliens: tf.Tensor
    direction: tf.Tensor
    cool_down: tf.Tensor
    until_move: tf.Tensor
    until_bomb: tf.Tensor
    move_interval: tf.Tensor
    played: Played


class SpaceInvaders(RampingGame):
    """Shoot down aliens that come nearer, and keep out of the way of their bombs.

    ## Description
    A fleet of 24 goes from side to side and comes down by a row at each border; the fewer are left, the quicker. The
    one nearest to the cannon's column drops bombs. When all are gone another fleet comes, quicker than that before.

    ## Action Space
    `Discrete(4)`: none, left, right, fire; with `minimal_actions=False` MinAtar's `Discrete(6)`. A float action counts
    as its largest entry and has no gradient: the game has no slope (`differentiable` is False).

    ## Observation Space
    `Box` of shape (10, 10, 6), zeros and ones in the channels cannon, aliens, the same while they go left, the same
    while they go right, bullets and bombs.

    ## Starting State
    The cannon in column 5, the fleet in rows 0 to 3 and columns 2 to 7, on its way left.

    ## Rewards
    1 for each alien.

    ## Episode End
    Terminated when a bomb or an alien reaches the cannon, or the fleet turns in the last row. Truncated after 1000
    steps; MinAtar has no limit.

    ## Information
    Empty; all actions are always legal.

    ## Arguments
    `ramping` (True): whether each fleet is quicker; `sticky_action` (0.1): probability that a step repeats the action
    of the step before; `minimal_actions` (True); `dtype`.

    ## References
    Young and Tian (2019), MinAtar: an Atari-inspired testbed for thorough and reproducible reinforcement learning
    experiments.

    ## Version History
    v0: first version.

    Examples:
        >>> from envs.space_invaders import SpaceInvaders
        >>> env = SpaceInvaders()
        >>> step = env.step(env.initial((0, 1), num_envs=8), tf.zeros([8], tf.int32), (0, 2))
        >>> step.observation.shape, env.action_space
        (TensorShape([8, 10, 10, 6]), Discrete(4))
    """

    max_episode_steps = 1000
    buttons = NONE, LEFT, RIGHT, FIRE
    channels = MappingProxyType(
        {
            "cannon": raster.BLUE,
            "aliens": raster.GREEN,
            "aliens on their way left": raster.GREEN,
            "aliens on their way right": raster.GREEN,
            "bullets": raster.BLACK,
            "bombs": raster.ORANGE,
        }
    )

    def initial(self, seed: tf.Tensor, num_envs: int = 1) -> InvadersState:
        """The one starting state."""

        def all_of(number: int) -> tf.Tensor:
            return tf.fill([num_envs], number)

        empty = tf.zeros([num_envs, SIZE, SIZE], tf.bool)
        return InvadersState(
            column=all_of(5),
            bullets=empty,
            bombs=empty,
            aliens=tf.tile(FLEET[np.newaxis], [num_envs, 1, 1]),
            direction=all_of(-1),
            cool_down=all_of(0),
            until_move=all_of(MOVE_INTERVAL),
            until_bomb=all_of(SHOT_INTERVAL),
            move_interval=all_of(MOVE_INTERVAL),
            played=self.begun(num_envs),
        )

    def play(self, state: InvadersState, button: tf.Tensor, seed: tf.Tensor | None) -> InvadersState:
        """The cannon, then bullets and bombs, then the aliens."""
        fires = (button == FIRE) & (state.cool_down == 0)
        cannon = in_last_row(state.column)
        bullets = _down(state.bullets | (cannon & fires[:, None, None]), -1)
        cool_down = tf.where(fires, COOL_DOWN, state.cool_down)
        column = tf.clip_by_value(state.column + towards(button, LEFT, RIGHT), 0, SIZE - 1)
        cannon = in_last_row(column)

        bombs = _down(state.bombs, 1)
        lost = _any(cannon & (bombs | state.aliens))
        moves = state.until_move == 0
        aliens, direction, landed = _advance(state.aliens, state.direction)
        aliens = tf.where(moves[:, None, None], aliens, state.aliens)
        direction = tf.where(moves, direction, state.direction)
        lost |= (moves & landed) | _any(cannon & aliens)
        interval = tf.minimum(_count(state.aliens), state.move_interval)
        shoots = state.until_bomb == 0
        bombs |= _nearest(aliens, column) & shoots[:, None, None]

        hit = aliens & bullets
        aliens, bullets = aliens & ~hit, bullets & ~hit
        cleared = ~_any(aliens)
        quicker = cleared & (state.move_interval > LEAST_MOVE_INTERVAL) & self.ramping
        return InvadersState(
            column=column,
            bullets=bullets,
            bombs=bombs,
            aliens=tf.where(cleared[:, None, None], FLEET, aliens),
            direction=direction,
            cool_down=tf.maximum(cool_down - 1, 0),
            until_move=tf.where(moves, interval, state.until_move) - 1,
            until_bomb=tf.where(shoots, SHOT_INTERVAL, state.until_bomb) - 1,
            move_interval=state.move_interval - tf.cast(quicker, tf.int32),
            played=state.played._replace(earned=tf.cast(_count(hit), self.dtype), lost=lost),
        )

    def channel_cells(self, state: InvadersState) -> tuple[tf.Tensor, ...]:
        """Cannon, aliens, aliens by their direction, bullets and bombs."""
        cannon = in_last_row(state.column)
        left, right = (state.aliens & (state.direction == side)[:, None, None] for side in (-1, 1))
        return cannon, state.aliens, left, right, state.bullets, state.bombs


def _any(board: tf.Tensor) -> tf.Tensor:
    return tf.reduce_any(board, [1, 2])


def _count(board: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(board, tf.int32), [1, 2])


def _down(board: tf.Tensor, rows: int) -> tf.Tensor:
    """Moves a board by one row, down or up; what leaves it is gone."""
    return (
        tf.pad(board[:, :-1], [[0, 0], [1, 0], [0, 0]]) if rows > 0 else tf.pad(board[:, 1:], [[0, 0], [0, 1], [0, 0]])
    )


def _advance(aliens: tf.Tensor, direction: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """One move: sideways, or at the border down and back; with it, whether aliens turned in the last row."""
    left = direction < 0
    turns = tf.where(left, tf.reduce_any(aliens[:, :, 0], 1), tf.reduce_any(aliens[:, :, -1], 1))
    landed = turns & tf.reduce_any(aliens[:, -1], 1)
    aside = tf.where(left[:, None, None], tf.roll(aliens, -1, 2), tf.roll(aliens, 1, 2))
    moved = tf.where(turns[:, None, None], tf.roll(aliens, 1, 1), aside)
    return moved, tf.where(turns, -direction, direction), landed


def _nearest(aliens: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
    """Marks the lowest alien of the nearest column that has any, the left one of two: bool `[B, 10, 10]`."""
    inhabited = tf.reduce_any(aliens, 1)
    distance = tf.abs(tf.range(SIZE) - column[:, None])
    nearest = tf.argmin(tf.where(inhabited, distance, SIZE), 1, output_type=tf.int32)
    of_column = aliens & (tf.range(SIZE) == nearest[:, None])[:, None, :]
    lowest = tf.reduce_max(tf.where(tf.reduce_any(of_column, 2), tf.range(SIZE), -1), 1)
    return of_column & (tf.range(SIZE) == lowest[:, None])[:, :, None]
