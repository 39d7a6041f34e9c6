"""Asterix on a 10 x 10 grid, in the rules of MinAtar."""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple

import tensorflow as tf

from rlsample import ops
from rlsample.in_graph import raster
from rlsample.in_graph.environment import draw_index

from .miniature import DOWN, LANES, LEFT, NONE, RIGHT, SIZE, UP, Played, RampingGame, cell, in_lanes, lane_of, towards

SPAWN_INTERVAL, MOVE_INTERVAL, RAMP_INTERVAL = 10, 5, 100
GOLD_SHARE = 1 / 3


class Passing(NamedTuple):
    """Who passes by, one in each of the eight rows: `[B, 8]`.

    Attributes:
        present: whether there is anybody, bool.
        column: int32.
        right: whether it goes right, bool.
        gold: whether it is gold, and no enemy, bool.

    Examples:
        >>> from envs.asterix import Asterix
        >>> state = Asterix().initial((0, 1), num_envs=2)
        >>> state.passing.present.shape, bool(tf.reduce_any(state.passing.present))  # nobody yet
        (TensorShape([2, 8]), False)
    """

    present: tf.Tensor
    column: tf.Tensor
    right: tf.Tensor
    gold: tf.Tensor


class AsterixState(NamedTuple):
    """All but `passing` and `played` are int32 `[B]`; times count down.

    Attributes:
        row: of the player.
        column: of the player.
        passing: who passes by.
        until_spawn: steps until somebody appears.
        until_move: steps until those who pass by move on.
        until_ramp: steps until it becomes harder.
        spawn_interval: steps from one appearance to the next.
        move_interval: steps from one move to the next.
        ramps: how often it became harder.
        played: what every game remembers.

    Examples:
        >>> from envs.asterix import Asterix
        >>> state = Asterix().initial((0, 1), num_envs=2)
        >>> state.row.numpy(), state.column.numpy(), state.until_spawn.numpy()
        (array([5, 5], dtype=int32), array([5, 5], dtype=int32), array([10, 10], dtype=int32))
    """

    row: tf.Tensor
    column: tf.Tensor
    passing: Passing
    until_spawn: tf.Tensor
    until_move: tf.Tensor
    until_ramp: tf.Tensor
    spawn_interval: tf.Tensor
    move_interval: tf.Tensor
    ramps: tf.Tensor
    played: Played


class Asterix(RampingGame):
    """Gather the gold that passes by, and keep out of everybody else's way.

    ## Description
    Gold and enemies enter from the sides, one at most in each row but the first and the last, and cross the board.
    Gold that the player meets is taken; an enemy ends the game. All become quicker and more frequent with time.

    ## Action Space
    `Discrete(5)`: none, left, up, right, down; with `minimal_actions=False` MinAtar's `Discrete(6)`. A float action
    counts as its largest entry and has no gradient: the game has no slope (`differentiable` is False).

    ## Observation Space
    `Box` of shape (10, 10, 4), zeros and ones in the channels player, enemies, trail (the cell behind each passer-by)
    and gold.

    ## Starting State
    The player in row 5 and column 5, nobody else.

    ## Rewards
    1 for each piece of gold.

    ## Episode End
    Terminated when the player meets an enemy. Truncated after 1000 steps; MinAtar has no limit.

    ## Information
    Empty; all actions are always legal.

    ## Arguments
    `ramping` (True): whether it becomes harder with time; `sticky_action` (0.1): probability that a step repeats the
    action of the step before; `minimal_actions` (True); `dtype`.

    ## References
    Young and Tian (2019), MinAtar: an Atari-inspired testbed for thorough and reproducible reinforcement learning
    experiments.

    ## Version History
    v0: first version.

    Examples:
        >>> from envs.asterix import Asterix
        >>> env = Asterix()
        >>> step = env.step(env.initial((0, 1), num_envs=8), tf.zeros([8], tf.int32), (0, 2))
        >>> step.observation.shape, env.action_space
        (TensorShape([8, 10, 10, 4]), Discrete(5))
    """

    max_episode_steps = 1000
    buttons = NONE, LEFT, UP, RIGHT, DOWN
    channels = MappingProxyType(
        {"player": raster.BLUE, "enemies": raster.BLACK, "trail": raster.GREY, "gold": raster.ORANGE}
    )

    def initial(self, seed: tf.Tensor, num_envs: int = 1) -> AsterixState:
        """The one starting state."""

        def all_of(number: int) -> tf.Tensor:
            return tf.fill([num_envs], number)

        nobody = tf.zeros([num_envs, LANES], tf.bool)
        passing = Passing(nobody, tf.zeros_like(nobody, tf.int32), nobody, nobody)
        return AsterixState(
            row=all_of(5),
            column=all_of(5),
            passing=passing,
            until_spawn=all_of(SPAWN_INTERVAL),
            until_move=all_of(MOVE_INTERVAL),
            until_ramp=all_of(RAMP_INTERVAL),
            spawn_interval=all_of(SPAWN_INTERVAL),
            move_interval=all_of(MOVE_INTERVAL),
            ramps=all_of(0),
            played=self.begun(num_envs),
        )

    def play(self, state: AsterixState, button: tf.Tensor, seed: tf.Tensor | None) -> AsterixState:
        """Somebody appears; the player moves, then those who pass by."""
        spawns = state.until_spawn == 0
        passing = self.appeared(state.passing, spawns, seed)
        row = tf.clip_by_value(state.row + towards(button, UP, DOWN), 1, SIZE - 2)
        column = tf.clip_by_value(state.column + towards(button, LEFT, RIGHT), 0, SIZE - 1)
        passing, first_gold, first_enemy = _meet(passing, row, column)
        moves = state.until_move == 0
        passing = _moved(passing, moves)
        passing, second_gold, second_enemy = _meet(passing, row, column)
        following = state._replace(
            row=row,
            column=column,
            passing=passing,
            until_spawn=tf.where(spawns, state.spawn_interval, state.until_spawn) - 1,
            until_move=tf.where(moves, state.move_interval, state.until_move) - 1,
            played=state.played._replace(
                earned=tf.cast(first_gold, self.dtype) + tf.cast(second_gold, self.dtype),
                lost=first_enemy | second_enemy,
            ),
        )
        return _harder(following) if self.ramping else following

    def appeared(self, passing: Passing, spawns: tf.Tensor, seed: tf.Tensor | None) -> Passing:
        """Where `spawns` (bool `[B]`) holds, somebody enters a free row, if there is one."""
        rows, sides, kinds = tf.unstack(ops.split(seed, 3))
        num_envs = spawns.shape[0]
        free = tf.cast(~passing.present, tf.int32)
        nth = draw_index(tf.reduce_sum(free, 1), [num_envs], rows)
        here = (tf.cumsum(free, 1, exclusive=True) == nth[:, tf.newaxis]) & ~passing.present & spawns[:, tf.newaxis]
        right = ops.uniform([num_envs, 1], sides) < 1 / 2
        gold = ops.uniform([num_envs, 1], kinds) < GOLD_SHARE
        return Passing(
            passing.present | here,
            tf.where(here, tf.where(right, 0, SIZE - 1), passing.column),
            tf.where(here, right, passing.right),
            tf.where(here, gold, passing.gold),
        )

    def channel_cells(self, state: AsterixState) -> tuple[tf.Tensor, ...]:
        """Player, enemies, the cell behind each passer-by, and gold."""
        present, column, right, gold = state.passing
        behind = column - tf.where(right, 1, -1)
        there, trail = (in_lanes(tf.where(present, place, -1)) for place in (column, behind))
        gilded = tf.pad(gold, [[0, 0], [1, 1]])[:, :, tf.newaxis]
        return cell(state.row, state.column), there & ~gilded, trail, there & gilded


def _meet(passing: Passing, row: tf.Tensor, column: tf.Tensor) -> tuple[Passing, tf.Tensor, tf.Tensor]:
    """Who is left, and whether the player met gold or an enemy, bool `[B]` each. An enemy stays."""
    met = passing.present & lane_of(row) & (passing.column == column[:, tf.newaxis])
    gold = met & passing.gold
    left = passing._replace(present=passing.present & ~gold)
    return left, tf.reduce_any(gold, 1), tf.reduce_any(met & ~gold, 1)


def _moved(passing: Passing, moves: tf.Tensor) -> Passing:
    """Where `moves` (bool `[B]`) holds, all go on by one column, and out at the border."""
    column = passing.column + tf.where(moves[:, tf.newaxis], tf.where(passing.right, 1, -1), 0)
    return passing._replace(column=column, present=passing.present & (column >= 0) & (column < SIZE))


def _harder(state: AsterixState) -> AsterixState:
    """Once in 102 steps appearances become quicker, and every other time moves, until nothing can be quicker."""
    can = (state.spawn_interval > 1) | (state.move_interval > 1)
    now = can & (state.until_ramp < 0)
    quicker = now & (state.move_interval > 1) & (state.ramps % 2 == 1)
    return state._replace(
        move_interval=state.move_interval - tf.cast(quicker, tf.int32),
        spawn_interval=state.spawn_interval - tf.cast(now & (state.spawn_interval > 1), tf.int32),
        ramps=state.ramps + tf.cast(now, tf.int32),
        until_ramp=tf.where(now, RAMP_INTERVAL, state.until_ramp - tf.cast(can, tf.int32)),
    )
