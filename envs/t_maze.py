"""TMaze: a sign at the entrance says which way to turn at the far end of a corridor. Solvable only with memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from rlsample import checks
from rlsample.in_graph import raster
from rlsample.in_graph.environment import FunctionalEnv, draw_index

AHEAD, LEFT, RIGHT = range(3)


class TMazeState(NamedTuple):
    """States of B mazes.

    Attributes:
        sign: float `[B, 2]`, one-hot: left or right.
        cell: float `[B, length + 2]`, probability of each cell of the corridor, of the junction, of having turned; a
            corner of the simplex when all actions were hard.

    Examples:
        >>> from envs.t_maze import TMaze
        >>> state = TMaze(length=3).initial((0, 1), num_envs=2)
        >>> print(state.sign.numpy(), state.cell.numpy()[0])
        [[0. 1.]
         [0. 1.]] [1. 0. 0. 0. 0.]
    """

    sign: tf.Tensor
    cell: tf.Tensor


class TMaze(FunctionalEnv):
    """A corridor with a sign at its entrance and a junction at its end; the sign is out of sight there.

    ## Description
    An agent stands at the entrance of a corridor of `length` cells, where a sign shows left or right. Behind the
    corridor is a junction, where a turn to the side that the sign showed is rewarded. All cells between look alike, so
    whoever remembers nothing earns 0.5 at best, whoever remembers the sign 1.

    ## Action Space
    `Discrete(3)`: ahead, left, right. In the corridor a turn leaves the agent where it is, as does going ahead at the
    junction. A relaxed action spreads the probability of the agent over cells; everything is linear in each action, so
    the gradient with respect to a sequence of actions that are drawn independently is exact.

    ## Observation Space
    `Box` of shape (4,): the sign (left, right), both 0 but at the entrance; being in the corridor; at the junction.

    ## Starting State
    The entrance, with a sign drawn evenly.

    ## Rewards
    1 for the right turn at the junction, 0 for the wrong one, -1 / length for each action that moves nothing.

    ## Episode End
    Terminated by a turn at the junction. Truncated after 200 steps.

    ## Information
    Empty; all actions are always legal.

    ## Arguments
    `length` (10): cells of the corridor, the entrance among them; below 200, the last step that is not truncated;
    `dtype`.

    ## References
    Bakker (2001), Reinforcement learning with long short-term memory; Ni et al. (2023), When do transformers shine in
    RL?, arXiv 2307.03864, whose passive variant pays in the same way for going ahead.

    ## Version History
    v0: first version.

    Examples:
        >>> from envs.t_maze import TMaze
        >>> env = TMaze(length=3)
        >>> state, seen = env.initial((0, 1)), []
        >>> for time in range(3):
        ...     seen.append(env.observation(state).numpy()[0])
        ...     state = env.step(state, tf.constant([0]), (0, time)).state
        >>> print(np.array(seen))  # the sign is out of sight after the first step
        [[0. 1. 1. 0.]
         [0. 0. 1. 0.]
         [0. 0. 1. 0.]]
    """

    max_episode_steps = 200

    def __init__(self, length: int = 10, dtype: str = "float32"):
        """See the class."""
        self.length = checks.check_count("length", length)
        if length >= self.max_episode_steps:
            raise checks.invalid(f"length below {self.max_episode_steps}, the time limit", length=length)
        super().__init__(spaces.Discrete(3), spaces.Box(0.0, 1.0, (4,), np.dtype(dtype)), dtype)

    def initial(self, seed: tf.Tensor, num_envs: int = 1) -> TMazeState:
        """Draws signs; see `TMazeState`."""
        entrance = tf.one_hot(tf.zeros([num_envs], tf.int32), self.length + 2, dtype=self.dtype)
        return TMazeState(tf.one_hot(draw_index(2, [num_envs], seed), 2, dtype=self.dtype), entrance)

    def transition(self, state: TMazeState, action: tf.Tensor, seed: tf.Tensor | None = None) -> TMazeState:
        """Moves the probability of each cell by the weight of each action."""
        ahead = self.action_weights(action)[:, AHEAD, tf.newaxis]
        corridor, junction, turned = self._parts(state)
        after = tf.concat([tf.zeros_like(junction), ahead * corridor], 1)
        stays = tf.concat([(1 - ahead) * corridor, ahead * junction], 1)
        return TMazeState(state.sign, tf.concat([after + stays, turned + (1 - ahead) * junction], 1))

    def observation(self, state: TMazeState, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns what is to be seen: float `[B, 4]`."""
        corridor, junction, _ = self._parts(state)
        sign = state.sign * corridor[:, :1]
        return tf.concat([sign, tf.reduce_sum(corridor, 1, keepdims=True), junction], 1)

    def reward(
        self, state: TMazeState, action: tf.Tensor, next_state: TMazeState, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns the weight of the right turn at the junction, minus that of what moves nothing: float `[B]`."""
        weights = self.action_weights(action)
        corridor, junction, _ = self._parts(state)
        turn = junction[:, 0] * tf.reduce_sum(weights[:, LEFT:] * state.sign, 1)
        idle = (1 - weights[:, AHEAD]) * tf.reduce_sum(corridor, 1) + weights[:, AHEAD] * junction[:, 0]
        return turn - idle / self.length

    def terminal(self, state: TMazeState, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns whether the agent has turned: bool `[B]`."""
        return state.cell[:, -1] > 0.5

    def render_image(self, state: TMazeState, render_state: Any = None) -> tuple[Any, np.ndarray]:
        """Draws walls, agent, and in green the sign and the end it means: uint8 `[96, 32 * (length + 1), 3]`."""
        maze = np.zeros((3, self.length + 1))
        maze[1] = state.cell[:-1]
        colours = raster.shades(maze, raster.ORANGE)
        colours[0::2, :-1] = raster.BLACK
        colours[2 * int(np.argmax(state.sign)), [0, -1]] = raster.GREEN
        return render_state, raster.cells(colours)

    def _parts(self, state: TMazeState) -> list[tf.Tensor]:
        """Probabilities of the corridor's cells, the junction and having turned."""
        return tf.split(state.cell, [self.length, 1, 1], 1)
