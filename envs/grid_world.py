"""GridWorld: walk around walls to a goal, with a mask of the moves that are possible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from rlsample import checks
from rlsample.in_graph import raster
from rlsample.in_graph.environment import FunctionalEnv, draw_index

FOUR_ROOMS = (
    "S...#...",
    "....#...",
    "........",
    "....#...",
    "##.##.##",
    "....#...",
    "........",
    "....#..G",
)
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # up, right, down, left as (row, column)
STEP_COST = 0.01


class GridWorld(FunctionalEnv):
    """A maze whose state is a distribution over cells, so that relaxed moves have an exact gradient.

    ## Description
    An agent walks on a grid with walls to a goal. The state gives the probability of each cell: a corner of the simplex
    when all moves were hard. A relaxed move spreads it over the cells that the moves lead to, which makes everything
    linear in each move: the gradient with respect to a sequence of moves that are drawn independently is exact.

    ## Action Space
    `Discrete(4)`: up, right, down, left. A move against a wall or the border leaves the agent where it is.

    ## Observation Space
    `Box` of shape (rows * columns,): the probability of each cell, row by row; one-hot when all moves were hard.

    ## Starting State
    One of the cells marked S, uniformly; any floor cell if none is marked.

    ## Rewards
    The probability of the goal, minus 0.01, at each step: 0.99 for the step onto the goal and -0.01 otherwise.

    ## Episode End
    Terminated when the goal has probability above 1/2. Truncated after 100 steps.

    ## Information
    `action_mask`: int8 of shape (4,), 1 for the moves that no wall and no border stops. In the graph, where the state
    may be spread over cells, a move is legal if the cells that it leads out of have a total probability above 1/5.

    ## Arguments
    `layout`: rows of equal length made of `#` wall, `.` floor, `S` start, `G` goal (exactly one); default four rooms of
    8 x 8 cells. `dtype`.

    ## References
    Sutton, Precup and Singh (1999), Between MDPs and semi-MDPs: a framework for temporal abstraction, for four rooms.

    ## Version History
    v0: first version.

    Examples:
        >>> from envs.grid_world import GridWorld
        >>> env, move = GridWorld(["S.G"]), tf.Variable([[0.0, 1.0, 0.0, 0.0]])  # to the right
        >>> with tf.GradientTape() as tape:
        ...     step = env.step(env.initial((0, 1)), move, (0, 2))
        ...     reward = env.step(step.state, tf.constant([1]), (0, 3)).reward
        >>> print(tape.gradient(reward, move).numpy())  # of the first move, by what the second one finds
        [[0. 1. 0. 0.]]
    """

    max_episode_steps = 100

    def __init__(self, layout: Sequence[str] = FOUR_ROOMS, dtype: str = "float32"):
        """See the class."""
        grid = _parse(layout)
        self.shape = grid.shape
        self.walls: np.ndarray = np.equal(grid, "#")
        self.starts = np.flatnonzero(grid == "S" if (grid == "S").any() else grid == ".")
        self.goal = int(np.flatnonzero(grid == "G")[0])
        self.open = np.stack([_open_cells(self.walls, move) for move in MOVES])  # bool [4, rows, columns]
        if not np.all(self.walls | self.open.any(axis=0)):
            raise checks.invalid("a layout in which no floor cell is walled in on all sides", layout=layout)
        super().__init__(spaces.Discrete(4), spaces.Box(0.0, 1.0, (grid.size,), np.dtype(dtype)), dtype)

    def initial(self, seed: tf.Tensor, num_envs: int = 1) -> tf.Tensor:
        """Draws starting cells: one-hot float `[B, cells]`."""
        cell = tf.gather(tf.constant(self.starts), draw_index(len(self.starts), [num_envs], seed))
        return tf.one_hot(cell, self.walls.size, dtype=self.dtype)

    def transition(self, state: tf.Tensor, action: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Moves the probability of each cell by the weight of each move: float `[B, cells]`."""
        weights = self.action_weights(action)
        columns, cells = self.shape[1], self.walls.size
        padded = tf.pad(state, [[0, 0], [columns, columns]])
        moved = tf.zeros_like(state)
        for k, (down, right) in enumerate(MOVES):
            # Slices of the padded row fuse with the arithmetic, which a roll does not.
            # No move crosses the border, so none wraps around to the next row.
            source = columns - (down * columns + right)
            leaves = np.pad(self.open[k].reshape(-1), columns).astype(state.dtype.as_numpy_dtype)
            stays = 1 - leaves[columns:-columns]
            arriving = padded[:, source : source + cells] * leaves[source : source + cells]
            moved += weights[:, k, tf.newaxis] * (state * stays + arriving)
        return moved

    def observation(self, state: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the state itself: float `[B, cells]`."""
        return state

    def reward(
        self, state: tf.Tensor, action: tf.Tensor, next_state: tf.Tensor, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns the probability of the goal minus the cost of a step: float `[B]`."""
        return next_state[:, self.goal] - STEP_COST

    def terminal(self, state: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns whether the agent is at the goal: bool `[B]`."""
        return state[:, self.goal] > 0.5

    def action_mask(self, state: tf.Tensor) -> tf.Tensor:
        """Returns the moves that nothing stops in cells of total probability above 1/5: bool `[B, 4]`.

        Where all moves so far were hard, that is one cell.
        """
        open_from = tf.constant(self.open.reshape(len(MOVES), -1).T, self.dtype)
        # Out of every cell leads one of the four moves, so one of them has a total of at least 1/4, up to rounding.
        return state @ open_from > 0.2

    def render_image(self, state: np.ndarray, render_state: Any = None) -> tuple[Any, np.ndarray]:
        """Draws walls, goal and agent: uint8 `[32 * rows, 32 * columns, 3]`."""
        colours = raster.shades(np.reshape(state, self.shape), raster.ORANGE)
        colours[self.walls] = raster.BLACK
        if state[self.goal] <= 0:
            colours[np.unravel_index(self.goal, self.shape)] = raster.GREEN
        return render_state, raster.cells(colours)


def _parse(layout: Sequence[str]) -> np.ndarray:
    """Returns the layout as characters `[rows, columns]`; raises ValueError if it is not one."""
    rows = [list(row) for row in layout]
    if not rows or {len(row) for row in rows} != {len(rows[0])} or not set().union(*rows) <= set("#.SG"):
        raise checks.invalid("a layout of equally long rows made of '#', '.', 'S' and 'G'", layout=layout)
    grid = np.array(rows)
    if (grid == "G").sum() != 1 or not np.isin(grid, ["S", "."]).any():
        raise checks.invalid("a layout with one 'G' and somewhere to start", layout=layout)
    return grid


def _open_cells(walls: np.ndarray, move: tuple[int, int]) -> np.ndarray:
    """Returns whether a move from each cell meets neither wall nor border: bool `[rows, columns]`."""
    padded = np.pad(walls, 1, constant_values=True)
    ahead = np.roll(padded, (-move[0], -move[1]), axis=(0, 1))[1:-1, 1:-1]
    return ~ahead & ~walls
