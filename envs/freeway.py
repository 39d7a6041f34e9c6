"""Freeway on a 10 x 10 grid, in the rules of MinAtar."""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple

import tensorflow as tf

from rlsample import ops
from rlsample.in_graph import raster
from rlsample.in_graph.environment import draw_index

from .miniature import DOWN, LANES, NONE, SIZE, UP, MiniatureGame, Played, cell, in_lanes, lane_of, towards

SPEEDS = 5
COLUMN = 4  # of the chicken
WAIT = 3  # steps from one of its moves to the next


class FreewayState(NamedTuple):
    """All int32 but `played`.

    Attributes:
        row: of the chicken, `[B]`.
        wait: steps until it can move, `[B]`.
        column: of the car of each lane, `[B, 8]`.
        until_move: steps until each car moves, `[B, 8]`.
        speed: steps between its moves, negative where it goes left, `[B, 8]`.
        played: what every game remembers.

    Examples:
        >>> from envs.freeway import Freeway
        >>> state = Freeway().initial((0, 1), num_envs=2)
        >>> state.row.numpy(), state.speed.shape
        (array([9, 9], dtype=int32), TensorShape([2, 8]))
    """

    row: tf.Tensor
    wait: tf.Tensor
    column: tf.Tensor
    until_move: tf.Tensor
    speed: tf.Tensor
    played: Played


class Freeway(MiniatureGame):
    """Bring a chicken across eight lanes, as often as time allows.

    ## Description
    In each lane a car goes left or right and comes in again on the other side. A chicken that is hit is back at the
    start. When it arrives it is there too, and the speeds of all cars are drawn anew.

    ## Action Space
    `Discrete(3)`: none, up, down; with `minimal_actions=False` MinAtar's `Discrete(6)`. The chicken moves in one of
    three steps at most. A float action counts as its largest entry and has no gradient: the game has no slope
    (`differentiable` is False).

    ## Observation Space
    `Box` of shape (10, 10, 7), zeros and ones in the channels chicken, cars, and, behind each car, its speed: 1 to 5
    steps between its moves.

    ## Starting State
    The chicken in row 9 and column 4, the cars at the left border, their speeds drawn.

    ## Rewards
    1 for each arrival.

    ## Episode End
    Truncated after 2500 steps, which MinAtar calls the end of the game.

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
        >>> from envs.freeway import Freeway
        >>> env = Freeway()
        >>> step = env.step(env.initial((0, 1), num_envs=8), tf.zeros([8], tf.int32), (0, 2))
        >>> step.observation.shape, env.action_space
        (TensorShape([8, 10, 10, 7]), Discrete(3))
    """

    max_episode_steps = 2500
    buttons = NONE, UP, DOWN
    channels = MappingProxyType(
        {
            "chicken": raster.BLUE,
            "cars": raster.BLACK,
            **{f"speed {each}": (255, 190 - 30 * each, 100) for each in range(1, SPEEDS + 1)},
        }
    )

    def initial(self, seed: tf.Tensor, num_envs: int = 1) -> FreewayState:
        """Draws the cars."""
        speed = self.speeds(seed, num_envs)
        row, wait = tf.fill([num_envs], SIZE - 1), tf.fill([num_envs], WAIT)
        return FreewayState(row, wait, tf.zeros_like(speed), tf.abs(speed), speed, self.begun(num_envs))

    def speeds(self, seed: tf.Tensor | None, num_envs: int) -> tf.Tensor:
        """Draws the speeds of all cars: int32 `[B, 8]`, -5 to -1 and 1 to 5."""
        index = draw_index(2 * SPEEDS, [num_envs, LANES], ops.fold_in(seed, 0))
        return index - SPEEDS + tf.cast(index >= SPEEDS, tf.int32)

    def play(self, state: FreewayState, button: tf.Tensor, seed: tf.Tensor | None) -> FreewayState:
        """Moves the chicken, then the cars."""
        step = towards(button, UP, DOWN)
        goes = (step != 0) & (state.wait == 0)
        row = tf.where(goes, tf.clip_by_value(state.row + step, 0, SIZE - 1), state.row)
        wait = tf.where(goes, WAIT, state.wait)
        arrived = row == 0
        anew = self.speeds(seed, row.shape[0])
        speed = tf.where(arrived[:, tf.newaxis], anew, state.speed)
        until_move = tf.where(arrived[:, tf.newaxis], tf.abs(anew), state.until_move)
        row = tf.where(arrived, SIZE - 1, row)

        moves = until_move == 0
        column = tf.math.floormod(state.column + tf.where(moves, tf.sign(speed), 0), SIZE)
        hit = lane_of(row) & ((state.column == COLUMN) | (column == COLUMN))
        return FreewayState(
            row=tf.where(tf.reduce_any(hit, 1), SIZE - 1, row),
            wait=tf.maximum(wait - 1, 0),
            column=column,
            until_move=tf.where(moves, tf.abs(speed), until_move - 1),
            speed=speed,
            played=state.played._replace(earned=tf.cast(arrived, self.dtype)),
        )

    def channel_cells(self, state: FreewayState) -> tuple[tf.Tensor, ...]:
        """Chicken, cars, and the cell behind each car in the channel of its speed."""
        behind = tf.math.floormod(state.column - tf.sign(state.speed), SIZE)
        cars, trail = in_lanes(state.column), in_lanes(behind)
        pace = tf.pad(tf.abs(state.speed), [[0, 0], [1, 1]])[:, :, tf.newaxis]
        speeds = (trail & (pace == each) for each in range(1, SPEEDS + 1))
        return cell(state.row, tf.fill(state.row.shape, COLUMN)), cars, *speeds
