"""Rows that reach several steps ahead, made while the environments are stepped: by Python, or in compiled code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from rlsample import checks

BEGINNING = ("observation", "mask", "action")
"""What a row has of its first step."""

END = ("next_observation", "next_mask", "terminated")
"""What a row has of its last step."""


class NStep:
    """Joins the next n steps of each of B environments into one row; fewer where the episode ends.

        reward = r_t + gamma r_{t+1} + ... + gamma^{k-1} r_{t+k-1},  discount = gamma^k,  k = min(n, steps to the end)

    What the row is worth is `reward + discount * value(next_observation)`, without the second term if `terminated`.

    Args:
        num_steps: n, at least 1.
        discount: gamma, in [0, 1].

    Source: Sutton and Barto (2018), Reinforcement learning: an introduction, section 7.1.

    Examples:
        >>> from rlsample.learning.n_step import NStep
        >>> n_step, no = NStep(num_steps=2, discount=0.5), np.array([False])
        >>> step = {name: np.array([0]) for name in ("observation", "mask", "action", "next_observation", "next_mask")}
        >>> step |= {"reward": np.array([1.0]), "terminated": no, "truncated": no, "valid": ~no}
        >>> [n_step.add(step)["reward"].tolist() for _ in range(3)]
        [[], [1.5], [1.5]]
    """

    def __init__(self, num_steps: int = 1, discount: float = 1.0) -> None:
        self.num_steps, self.discount = checks.check_count("num_steps", num_steps), discount
        self._begun: list[dict[str, Any]] = []  # oldest first; `open` says in which environments a row still grows

    def add(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """Takes one step of every environment; returns the rows that it completes, oldest first.

        Args:
            step: the fields of a `Transition`, trees of arrays `[B, ...]`.

        Returns:
            The fields in `BEGINNING` and in `END`, reward and discount (float32): trees of arrays `[M, ...]`.
        """
        valid, done = step["valid"], step["terminated"] | step["truncated"]
        ones = np.ones(len(valid), np.float32)
        beginning = {name: step[name] for name in BEGINNING}
        self._begun.append(beginning | {"reward": 0 * ones, "discount": ones, "open": valid})
        rows: list[dict[str, Any]] = []
        for index, row in enumerate(self._begun):
            grows = row["open"]
            row["reward"] = row["reward"] + np.where(grows, row["discount"] * step["reward"], np.float32(0))
            row["discount"] = np.where(grows, row["discount"] * np.float32(self.discount), row["discount"])
            complete = grows if index + self.num_steps == len(self._begun) else grows & done
            row["open"] = grows & ~complete
            own = {name: row[name] for name in (*BEGINNING, "reward", "discount")}
            rows.append(_where(complete, own | {name: step[name] for name in END}))
        self._begun = self._begun[-self.num_steps + 1 :] if self.num_steps > 1 else []
        return tf.nest.map_structure(lambda *columns: np.concatenate(columns), *rows)

    def snapshot(self) -> dict[str, Any]:
        """The rows begun, trees of arrays `[m, B, ...]`, for `restore`."""
        return tf.nest.map_structure(lambda *columns: np.stack(columns), *self._begun) if self._begun else {}

    def restore(self, rows: Mapping[str, Any]) -> None:
        """Goes on with the rows of a snapshot; with none, as after the end of every episode."""
        count = len(rows["open"]) if rows else 0
        self._begun = [_where(index, dict(rows)) for index in range(count)]


def join_steps(steps: Mapping[str, Any], num_steps: int, discount: float) -> dict[str, Any]:
    """The rows of n steps that `NStep` makes, in compiled code: one for each of the first T of T + n - 1 steps.

    Args:
        steps: trees of tensors `[T + n - 1, B, ...]` by name: reward, terminated, truncated, some of `END`, and others.
        num_steps: n, at least 1.
        discount: gamma, in [0, 1].

    Returns:
        Trees `[T, B, ...]` by the same names but `truncated`, and `discount`.

    Examples:
        >>> from rlsample.learning.n_step import join_steps
        >>> steps = {"reward": tf.constant([[1.0], [1.0], [1.0]]), "next_observation": tf.range(3)[:, None]}
        >>> steps |= {"terminated": tf.constant([[False], [True], [False]]), "truncated": tf.zeros([3, 1], tf.bool)}
        >>> rows = join_steps(steps, num_steps=2, discount=0.5)
        >>> rows["reward"].numpy().ravel(), rows["discount"].numpy().ravel(), rows["next_observation"].numpy().ravel()
        (array([1.5, 1. ], dtype=float32), array([0.25, 0.5 ], dtype=float32), array([1, 1], dtype=int32))
    """
    count = steps["reward"].shape[0] - num_steps + 1
    done = steps["terminated"] | steps["truncated"]

    def from_step(ahead: int) -> dict[str, Any]:
        return tf.nest.map_structure(lambda column: column[ahead : count + ahead], dict(steps))

    rows, grows = from_step(0), ~done[:count]
    del rows["truncated"]
    rows["discount"] = tf.fill(rows["reward"].shape, tf.constant(discount, tf.float32))
    for ahead in range(1, num_steps):
        later = from_step(ahead)
        rows["reward"] += tf.where(grows, rows["discount"] * later["reward"], 0.0)
        rows["discount"] = tf.where(grows, rows["discount"] * discount, rows["discount"])
        for name in (name for name in END if name in rows):
            rows[name] = _later_where(grows, later[name], rows[name])
        grows &= ~done[ahead : count + ahead]
    return rows


def _later_where(flags: tf.Tensor, later: Any, earlier: Any) -> Any:
    """Trees of tensors `[T, B, ...]`, by flags `[T, B]`."""

    def one(new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
        return tf.where(tf.reshape(flags, [*flags.shape, *[1] * (old.shape.rank - 2)]), new, old)

    return tf.nest.map_structure(one, later, earlier)


def _where(places: Any, rows: Any) -> Any:
    """What a tree of arrays has in some places of its first axis."""
    return tf.nest.map_structure(lambda column: column[places], rows)
