"""What the games on a 10 x 10 grid share, in the rules of MinAtar: buttons that stick, cells, and pictures."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from rlsample import checks, ops
from rlsample.in_graph import actions, raster
from rlsample.in_graph.environment import FunctionalEnv, select

SIZE = 10
LANES = SIZE - 2  # the rows between the first and the last
NONE, LEFT, UP, RIGHT, DOWN, FIRE = range(6)
STICKINESS = 1_000_003
"""Folded into the seed of a step: what sticks is not drawn from the numbers that the game draws from."""


class Played(NamedTuple):
    """What every game remembers beside its board.

    Attributes:
        button: what was pressed last, which a sticky step repeats, int32 `[B]`.
        earned: reward of the step that led here, float `[B]`.
        lost: whether the game is over, bool `[B]`.

    Examples:
        >>> from envs.freeway import Freeway
        >>> played = Freeway().initial((0, 1), num_envs=2).played
        >>> played.earned.numpy(), played.lost.numpy()
        (array([0., 0.], dtype=float32), array([False, False]))
    """

    button: tf.Tensor
    earned: tf.Tensor
    lost: tf.Tensor


class MiniatureGame(FunctionalEnv):
    """Base of those games. A subclass sets `buttons` and `channels`, and writes `initial`, `play` and `channel_cells`.

    Attributes:
        buttons: those that do something, the minimal set of actions.
        channels: what the last axis of observations shows, and its colour in pictures; earlier ones lie above.

    Args:
        sticky_action: probability that a step repeats the button of the step before.
        minimal_actions: whether the actions are `buttons` alone, or MinAtar's six: none, left, up, right, down, fire.
        dtype: as of `FunctionalEnv`.

    Raises:
        ValueError: a probability outside [0, 1].

    Examples:
        >>> from envs.freeway import Freeway
        >>> Freeway().action_space, Freeway(minimal_actions=False).action_space, list(Freeway.channels)
        (Discrete(3), Discrete(6), ['chicken', 'cars', 'speed 1', 'speed 2', 'speed 3', 'speed 4', 'speed 5'])
    """

    buttons: tuple[int, ...]
    channels: Mapping[str, raster.Colour]
    differentiable = False

    def __init__(self, sticky_action: float = 0.1, minimal_actions: bool = True, dtype: str = "float32"):
        """See the class."""
        if not 0 <= sticky_action <= 1:
            raise checks.invalid("sticky_action to be a probability", sticky_action=sticky_action)
        self.sticky_action = sticky_action
        self.meaning = self.buttons if minimal_actions else (NONE, LEFT, UP, RIGHT, DOWN, FIRE)
        box = spaces.Box(0.0, 1.0, (SIZE, SIZE, len(self.channels)), np.dtype(dtype))
        super().__init__(spaces.Discrete(len(self.meaning)), box, dtype)

    @abc.abstractmethod
    def play(self, state: Any, button: tf.Tensor, seed: tf.Tensor | None) -> Any:
        """The state after a step, from one that is not lost: `button` int32 `[B]`; sets `earned` and `lost`."""

    @abc.abstractmethod
    def channel_cells(self, state: Any) -> tuple[tf.Tensor, ...]:
        """What is where: bool `[B, 10, 10]` for each of `channels`."""

    def begun(self, num_envs: int) -> Played:
        """Of a game that begins."""
        nothing = tf.zeros([num_envs], tf.int32)
        return Played(nothing, tf.cast(nothing, self.dtype), tf.cast(nothing, tf.bool))

    def transition(self, state: Any, action: tf.Tensor, seed: tf.Tensor | None = None) -> Any:
        """Plays one step; a lost game stays as it is, and earns nothing."""
        button = self._button(state.played.button, action, seed)
        following = self.play(state, button, seed)
        following = following._replace(played=following.played._replace(button=button))
        ended = state._replace(played=state.played._replace(earned=tf.zeros_like(state.played.earned)))
        return select(state.played.lost, ended, following)

    def observation(self, state: Any, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the channels, zeros and ones: float `[B, 10, 10, C]`."""
        return tf.cast(tf.stack(self.channel_cells(state), axis=-1), self.dtype)

    def reward(self, state: Any, action: tf.Tensor, next_state: Any, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns what the step earned: float `[B]`."""
        return next_state.played.earned

    def terminal(self, state: Any, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns whether the game is lost: bool `[B]`."""
        return state.played.lost

    def render_image(self, state: Any, render_state: Any = None) -> tuple[Any, np.ndarray]:
        """Draws the channels: uint8 `[320, 320, 3]`."""
        board = self.observation(tf.nest.map_structure(lambda leaf: tf.constant(leaf)[tf.newaxis], state))[0].numpy()
        colours = np.full((SIZE, SIZE, 3), 255, np.uint8)
        for layer, colour in reversed(list(enumerate(self.channels.values()))):
            colours[board[..., layer] > 0] = colour
        return render_state, raster.cells(colours)

    def _button(self, last: tf.Tensor, action: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        """The button of an action, after stickiness: int32 `[B]`."""
        action = actions.check_shape(action, self.factors)
        if action.dtype.is_floating:
            action = tf.argmax(self.action_weights(action), axis=-1, output_type=tf.int32)
        inside = tf.clip_by_value(tf.cast(action, tf.int32), 0, len(self.meaning) - 1)  # what is not makes no reward
        button = tf.gather(tf.constant(self.meaning), inside)
        if not self.sticky_action:
            return button
        sticks = ops.uniform(last.shape, ops.fold_in(seed, STICKINESS)) < self.sticky_action
        return tf.where(sticks, last, button)


class RampingGame(MiniatureGame):
    """Base of the games that become harder with time, if they are to.

    Args:
        ramping: whether they do.
        sticky_action: as of `MiniatureGame`, like all others.

    Examples:
        >>> from envs.asterix import Asterix
        >>> Asterix().ramping, Asterix(ramping=False).ramping
        (True, False)
    """

    def __init__(
        self, ramping: bool = True, sticky_action: float = 0.1, minimal_actions: bool = True, dtype: str = "float32"
    ):
        """See the class."""
        self.ramping = ramping
        super().__init__(sticky_action, minimal_actions, dtype)


def cell(row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
    """Marks one cell of each board: int32 `[B]` twice -> bool `[B, 10, 10]`, all False where it lies outside.

    Examples:
        >>> from envs.miniature import cell
        >>> marks = cell(tf.constant([2, 10]), tf.constant([3, 3]))
        >>> marks.shape, tf.where(marks).numpy().tolist()  # row 10 lies outside
        (TensorShape([2, 10, 10]), [[0, 2, 3]])
    """
    in_row, in_column = (tf.range(SIZE) == index[:, tf.newaxis] for index in (row, column))
    return in_row[:, :, tf.newaxis] & in_column[:, tf.newaxis, :]


def in_last_row(column: tf.Tensor) -> tf.Tensor:
    """Marks a cell of the last row: int32 `[B]` -> bool `[B, 10, 10]`.

    Examples:
        >>> from envs.miniature import in_last_row
        >>> tf.where(in_last_row(tf.constant([2]))).numpy()
        array([[0, 9, 2]])
    """
    return cell(tf.fill(column.shape, SIZE - 1), column)


def in_lanes(column: tf.Tensor) -> tf.Tensor:
    """Marks a cell of each lane: int32 `[B, 8]` -> bool `[B, 10, 10]`, none where it lies outside.

    Examples:
        >>> from envs.miniature import in_lanes
        >>> tf.where(in_lanes(tf.constant([[4, -1, -1, -1, -1, -1, 10, 0]]))).numpy()
        array([[0, 1, 4],
               [0, 8, 0]])
    """
    return tf.pad(column[..., tf.newaxis] == tf.range(SIZE), [[0, 0], [1, 1], [0, 0]])


def lane_of(row: tf.Tensor) -> tf.Tensor:
    """Which lane a row is: int32 `[B]` -> bool `[B, 8]`, none for the first and the last row.

    Examples:
        >>> from envs.miniature import lane_of
        >>> tf.where(lane_of(tf.constant([0, 1, 8, 9]))).numpy()
        array([[1, 0],
               [2, 7]])
    """
    return tf.range(1, LANES + 1) == row[:, tf.newaxis]


def towards(button: tf.Tensor, less: int, more: int) -> tf.Tensor:
    """-1 where the button is `less`, 1 where it is `more`, else 0: int32 `[B]`.

    Examples:
        >>> from envs.miniature import LEFT, NONE, RIGHT, towards
        >>> towards(tf.constant([LEFT, NONE, RIGHT]), less=LEFT, more=RIGHT).numpy()
        array([-1,  0,  1], dtype=int32)
    """
    return tf.cast(button == more, tf.int32) - tf.cast(button == less, tf.int32)
