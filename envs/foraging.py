"""Foraging: agents of several levels walk to food, and gather it together if it is too heavy for one."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from rlsample import checks, ops
from rlsample.in_graph import raster
from rlsample.in_graph.environment import draw_index
from rlsample.in_graph.several_agents import AgentSpaces, SeveralAgentsEnv, numbered_agents

MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))  # north, south, west, east as (row, column); actions 1 to 4
LOAD = 1 + len(MOVES)
STRONG_ENOUGH = 3
"""No food is heavier than so many agents, the weakest ones, can gather; as in lbforaging."""
MAX_AGENTS = 5
"""The chance that enough agents load is a sum over all sets of them."""


class Field(NamedTuple):
    """Where everything is.

    Attributes:
        place: float `[B, N, cells]`, the probability of each cell for each agent; one-hot when all moves were hard.
        level: float `[B, N]`, of the agents.
        food: float `[B, F, cells]`, one-hot cells of the food, in their order.
        food_level: float `[B, F]`.
        left: float `[B, F]`, the probability that it is still there.

    Examples:
        >>> from envs.foraging import Foraging
        >>> field = Foraging(rows=5, columns=5, agents=2, foods=2).initial((0, 1), num_envs=3)
        >>> field.place.shape, field.food.shape, field.left.numpy()[0]
        (TensorShape([3, 2, 25]), TensorShape([3, 2, 25]), array([1., 1.], dtype=float32))
    """

    place: tf.Tensor
    level: tf.Tensor
    food: tf.Tensor
    food_level: tf.Tensor
    left: tf.Tensor


class Foraging(SeveralAgentsEnv):
    """Level-based foraging, small, with a state of probabilities, so that relaxed actions have a gradient.

    ## Description
    Agents and food lie on a grid without walls. Food is gathered when agents beside it, whose levels sum to its own at
    least, load in the same step. Who wants a cell that another one wants too, be it to stay there, stays where it is.
    These are lbforaging's rules; who stands beside two pieces of food, where there was no room to lay them apart, helps
    with both. The state gives the probability of each cell and of each piece of food; when all
    actions were hard these are 0 and 1. A relaxed action spreads them as if the agents drew independently: one step is
    linear in each agent's action.

    ## Action Space
    A `Dict` of `Discrete(6)` for each of `agent_0`, `agent_1`, ...: none, north, south, west, east, load. A move into
    food or over the border leaves the agent where it is.

    ## Observation Space
    `Box` of shape (agents, 3 * foods + 3 * agents): row, column and level of each piece of food that is left, cell by
    cell from the top, then -1, -1, 0 for each that is gone, then row, column and level of the agent itself and of the
    others. Of probabilities it is the mean.

    ## Starting State
    Agents and food in different cells, drawn uniformly; levels of agents drawn from 1 to `max_level`. Where there is
    room, food does not lie at the border, nor so near to other food that an agent could stand beside both.

    ## Rewards
    The level of the food gathered over that of all food in the episode, shared: a return of 1 is everything.

    ## Episode End
    Terminated when no food has a probability above 1/2. Truncated after 50 steps.

    ## Information
    `action_mask`: which moves nothing stops, and whether there is food to load beside the agent.

    ## Arguments
    `rows` (5); `columns` (5); `agents` (2), 5 at most; `foods` (2); `max_level` (2); `cooperative` (True): every piece
    of food needs all agents, or of more than three the levels of the three weakest together; otherwise its level is
    drawn from 1 to that; `dtype`.

    ## References
    Christianos, Schäfer and Albrecht (2020), arXiv 2006.07169; Papoudakis et al. (2021), arXiv 2006.07869.

    ## Version History
    v0: first version.

    Examples:
        >>> from envs.foraging import Foraging
        >>> env = Foraging()
        >>> state = env.initial((0, 1), num_envs=8)
        >>> step = env.step(state, tf.zeros([8, 2], tf.int32), (0, 2))  # nobody moves
        >>> step.observation.shape, env.action_mask(state).shape, float(tf.reduce_sum(step.reward))
        (TensorShape([8, 2, 12]), TensorShape([8, 2, 6]), 0.0)
    """

    max_episode_steps = 50

    def __init__(
        self,
        rows: int = 5,
        columns: int = 5,
        agents: int = 2,
        foods: int = 2,
        max_level: int = 2,
        cooperative: bool = True,
        dtype: str = "float32",
    ):
        """See the class."""
        self.shape = checks.check_count("rows", rows, minimum=2), checks.check_count("columns", columns, minimum=2)
        self.foods, self.max_level = checks.check_count("foods", foods), checks.check_count("max_level", max_level)
        if checks.check_count("agents", agents) > MAX_AGENTS:
            raise checks.invalid(f"at most {MAX_AGENTS} agents", agents=agents)
        if agents + foods > rows * columns:
            rule = f"a cell for each agent and each piece of food, {agents + foods} at least"
            raise checks.invalid(rule, cells=rows * columns)
        if not isinstance(cooperative, bool):
            raise checks.invalid("cooperative to be True or False", cooperative=cooperative)
        self.cooperative = cooperative
        highest = float(max(rows - 1, columns - 1, max_level * min(agents, STRONG_ENOUGH)))
        super().__init__(numbered_agents(agents, AgentSpaces(LOAD + 1, 3 * (foods + agents), -1.0, highest)), dtype)
        border, distance = _cells(self.shape)
        self.border, self.edge = border.astype(dtype), border.any(0).astype(dtype)
        self.neighbours = (distance == 1).astype(dtype)
        self.crowding = (distance <= 2).astype(dtype)  # From there an agent could stand beside both.
        self.groups = np.array(list(itertools.product((0.0, 1.0), repeat=agents)), dtype)  # every set of agents
        self.coordinates = np.indices(self.shape).reshape(2, -1).T.astype(dtype)  # [cells, 2]

    def initial(self, seed: tf.Tensor, num_envs: int = 1) -> Field:
        """Draws cells and levels."""
        places, food_places, levels, food_levels = tf.unstack(ops.split(seed, 4))
        cells, agents = self.shape[0] * self.shape[1], len(self.agents)
        taken = tf.math.top_k(ops.uniform([num_envs, cells], places), agents).indices
        place = tf.one_hot(taken, cells, dtype=self.dtype)
        food = self._food(tf.reduce_sum(place, 1), food_places)
        level = 1 + tf.cast(draw_index(self.max_level, [num_envs, agents], levels), self.dtype)
        most = tf.reduce_sum(tf.sort(level, -1)[:, :STRONG_ENOUGH], -1, keepdims=True)
        drawn = 1 + tf.cast(draw_index(most, [num_envs, self.foods], food_levels), self.dtype)
        food_level = tf.broadcast_to(most, drawn.shape) if self.cooperative else drawn
        return Field(place, level, food, food_level, tf.ones_like(drawn))

    def transition(self, state: Field, action: tf.Tensor, seed: tf.Tensor | None = None) -> Field:
        """Loads from where the agents stand, and moves them."""
        weights = self.agent_weights(action)
        occupied = self._occupied(state)[:, tf.newaxis]  # [B, 1, cells]
        stay = weights[:, :, 0] + weights[:, :, LOAD]
        wanted, moves = stay[..., tf.newaxis] * state.place, []
        for border, move, weight in zip(self.border, MOVES, tf.unstack(weights[:, :, 1:LOAD], axis=2), strict=True):
            moving = weight[..., tf.newaxis] * state.place
            leaving = moving * (1 - border - self._ahead(occupied, move))
            moves.append((move, leaving))
            wanted += moving - leaving + self._shifted(leaving, move)
        alone = _product_of_others(1 - wanted)  # [B, N, cells], the probability that no other agent wants it
        place = wanted
        for move, leaving in moves:
            stopped = leaving * (1 - self._ahead(alone, move))
            place += stopped - self._shifted(stopped, move)
        loading = weights[:, :, LOAD, tf.newaxis] * self._beside(state)  # [B, N, F]
        return state._replace(place=place, left=state.left * (1 - self._gathered(state, loading)))

    def observation(self, state: Field, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns what each agent sees: float `[B, N, D]`."""
        food = tf.concat([state.food @ self.coordinates, state.food_level[..., tf.newaxis]], -1)
        agents = tf.concat([state.place @ self.coordinates, state.level[..., tf.newaxis]], -1)
        batch, number = state.level.shape
        seen = tf.reshape(_what_is_left(food, state.left), [batch, 3 * self.foods])
        rows = []
        for index in range(number):
            order = [index, *(other for other in range(number) if other != index)]
            rows.append(tf.concat([seen, tf.reshape(tf.gather(agents, order, axis=1), [batch, 3 * number])], -1))
        return tf.stack(rows, 1)

    def reward(self, state: Field, action: tf.Tensor, next_state: Field, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the share of all food, by level, that was gathered: float `[B]`."""
        gathered = tf.reduce_sum((state.left - next_state.left) * state.food_level, -1)
        return gathered / tf.reduce_sum(state.food_level, -1)

    def terminal(self, state: Field, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns whether all food is gone: bool `[B]`."""
        return tf.reduce_all(state.left < 0.5, -1)

    def action_mask(self, state: Field) -> tf.Tensor:
        """Returns the moves that nothing stops, with loading where there is food: bool `[B, N, 6]`.

        Standing still is always legal.
        """
        occupied = self._occupied(state)
        legal = [tf.ones_like(state.level, tf.bool)]
        for border, move in zip(self.border, MOVES, strict=True):
            free = 1 - border - self._ahead(occupied, move)
            legal.append(tf.linalg.matvec(state.place, free) > 0.5)
        food = tf.reduce_sum(self._beside(state) * state.left[:, tf.newaxis], -1)
        return tf.stack([*legal, food > 0.5], -1)

    def render_image(self, state: Field, render_state: Any = None) -> tuple[Any, np.ndarray]:
        """Draws agents in orange and food in green, darker for higher levels: uint8 `[32 * rows, 32 * columns, 3]`."""
        most = self.max_level * len(self.agents)
        agents = np.clip((np.asarray(state.place) * np.asarray(state.level)[:, None]).sum(0) / self.max_level, 0, 1)
        food = (np.asarray(state.food) * (np.asarray(state.food_level) * np.asarray(state.left))[:, None]).sum(0) / most
        colours = raster.shades(agents.reshape(self.shape), raster.ORANGE)
        green = raster.shades(food.reshape(self.shape), raster.GREEN)
        return render_state, raster.cells(np.where((food > 0).reshape(self.shape)[..., None], green, colours))

    def _food(self, agents: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Draws cells for food, one piece after the other, where no agent is: one-hot `[B, F, cells]`, in order."""
        noise = tf.cast(ops.uniform([agents.shape[0], self.foods, agents.shape[1]], seed), self.dtype)
        laid, cells = tf.zeros_like(agents), []
        for drawn in tf.unstack(noise, axis=1):
            score = drawn - self.edge - 2 * tf.minimum(laid @ self.crowding, 1) - 4 * (agents + laid)
            cells.append(tf.argmax(score, -1, output_type=tf.int32))
            laid += tf.one_hot(cells[-1], agents.shape[1], dtype=self.dtype)
        return tf.one_hot(tf.sort(tf.stack(cells, 1), -1), agents.shape[1], dtype=self.dtype)

    def _shifted(self, values: tf.Tensor, move: tuple[int, int]) -> tf.Tensor:
        """Values of cells, moved by at most a row or a column, with zeros behind them: `[..., cells]`."""
        (height, width), around = self.shape, [[0, 0]] * (values.shape.rank - 1) + [[1, 1]] * 2
        padded = tf.pad(tf.reshape(values, [*values.shape[:-1], height, width]), around)
        top, left = 1 - move[0], 1 - move[1]
        return tf.reshape(padded[..., top : top + height, left : left + width], values.shape)

    def _ahead(self, values: tf.Tensor, move: tuple[int, int]) -> tf.Tensor:
        """The value of the cell that a move leads to, 0 over the border: `[..., cells]`."""
        return self._shifted(values, (-move[0], -move[1]))

    def _occupied(self, state: Field) -> tf.Tensor:
        """The probability of food in each cell: float `[B, cells]`."""
        return tf.reduce_sum(state.food * state.left[..., tf.newaxis], 1)

    def _beside(self, state: Field) -> tf.Tensor:
        """The probability that each agent stands beside each piece of food: float `[B, N, F]`."""
        near = state.food @ tf.constant(self.neighbours, self.dtype)
        return tf.linalg.matmul(state.place, near, transpose_b=True)

    def _gathered(self, state: Field, loading: tf.Tensor) -> tf.Tensor:
        """The probability that those who load, independently with `[B, N, F]`, are strong enough: float `[B, F]`.

        sum over sets of agents of [their levels reach the food's] prod_in q prod_out (1 - q)
        """
        groups = tf.constant(self.groups)[tf.newaxis, :, :, tf.newaxis]  # [1, sets, N, 1]
        chance = tf.reduce_prod(groups * loading[:, tf.newaxis] + (1 - groups) * (1 - loading[:, tf.newaxis]), 2)
        strength = tf.linalg.matmul(state.level, tf.constant(self.groups), transpose_b=True)  # [B, sets]
        enough = strength[..., tf.newaxis] >= state.food_level[:, tf.newaxis]
        return tf.reduce_sum(tf.where(enough, chance, tf.zeros_like(chance)), 1)


def _cells(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """From where each move leads over the border, bool `[moves, cells]`; steps between cells, `[cells, cells]`."""
    places = np.indices(shape).reshape(2, -1)
    limits = np.array(shape)[:, np.newaxis]
    moved = [places + np.array(move)[:, np.newaxis] for move in MOVES]
    border = [((each < 0) | (each >= limits)).any(0) for each in moved]
    distance = np.abs(places[:, :, np.newaxis] - places[:, np.newaxis]).sum(0)
    return np.stack(border), distance


def _what_is_left(food: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
    """The food that is left, one piece after the other, and -1, -1, 0 for what is gone: the mean, `[B, F, 3]`."""
    gone = tf.constant([-1.0, -1.0, 0.0], food.dtype)
    seen = tf.broadcast_to(gone, food.shape)
    before = tf.one_hot(tf.zeros_like(left[:, 0], tf.int32), left.shape[1], dtype=food.dtype)
    for piece, chance in zip(tf.unstack(food, axis=1), tf.unstack(left, axis=1), strict=True):
        there = before * chance[:, tf.newaxis]  # [B, F], the probability that so many before it are left, and it is.
        seen += there[..., tf.newaxis] * (piece - gone)[:, tf.newaxis]
        before += tf.pad(there[:, :-1], [[0, 0], [1, 0]]) - there
    return seen


def _product_of_others(values: tf.Tensor) -> tf.Tensor:
    """For each agent the product over all others: `[B, N, ...]` -> `[B, N, ...]`."""
    each = tf.unstack(values, axis=1)
    ones = tf.ones_like(each[0])
    return tf.stack([math.prod(each[:index] + each[index + 1 :], start=ones) for index in range(len(each))], 1)
