"""A replay from which sequences are drawn: steps of one environment that follow on each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from rlsample import checks
from rlsample.learning.replay import Replay


class SequenceReplay(Replay):
    """A `Replay` of steps of several environments, each with a lane of its own, that draws whole sequences.

    Every sequence of so many steps of an environment that is there is as likely as every other.

    Args:
        capacity: rows kept, rounded up to as many for each environment.
        lanes: how many environments there are.
        length: W, steps of a sequence.
        masks: as of `Replay`.
        first: names of columns of which only the first row of a sequence is drawn.

    Examples:
        >>> from rlsample.learning.sequence_replay import SequenceReplay
        >>> replay = SequenceReplay(capacity=100, lanes=2, length=3)
        >>> for step in range(5):
        ...     places = replay.add({"step": np.array([step, 10 + step]), "lane": np.array([0, 1])})
        >>> replay.sample(np.random.default_rng(0), (4,))["step"]
        array([[12, 13, 14],
               [10, 11, 12],
               [10, 11, 12],
               [ 1,  2,  3]])
    """

    def __init__(
        self, capacity: int, lanes: int, length: int, masks: Sequence[str] = (), first: Sequence[str] = ()
    ) -> None:
        self.each = -(-checks.check_count("capacity", capacity) // checks.check_count("lanes", lanes))
        super().__init__(self.each * lanes, masks)
        self.length = checks.check_count("length", length)
        if length > self.each:
            raise checks.invalid(f"a sequence of at most the {self.each} steps of a lane", length=length)
        self._first = tuple(first)
        self._next_of, self._size_of = np.zeros(lanes, np.int64), np.zeros(lanes, np.int64)

    def __len__(self) -> int:
        return int(self._size_of.sum())

    def add(self, rows: Mapping[str, Any]) -> np.ndarray:
        """Appends rows `[B, ...]`, at most one to each lane; `lane`, int `[B]`, says to which. Returns their places."""
        lanes = rows["lane"]
        places = lanes * self.each + self._next_of[lanes]
        self._put(places, {name: column for name, column in rows.items() if name != "lane"})
        self._next_of[lanes] = (self._next_of[lanes] + 1) % self.each
        self._size_of[lanes] = np.minimum(self._size_of[lanes] + 1, self.each)
        return places

    def sample(self, generator: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        """Draws sequences with replacement: trees of arrays `[*shape, W, ...]`, or `[*shape, ...]` of the first row.

        Raises:
            ValueError: no lane holds a sequence.
        """
        counts = np.maximum(self._size_of - self.length + 1, 0)
        ends = np.cumsum(counts)
        if not ends[-1]:
            raise checks.invalid(f"a replay that holds {self.length} steps of an environment", most=self._size_of.max())
        drawn = generator.integers(ends[-1], size=shape)
        lanes = np.searchsorted(ends, drawn, side="right")
        oldest = np.where(self._size_of < self.each, 0, self._next_of)
        begins = oldest[lanes] + drawn - (ends - counts)[lanes]
        places = lanes[..., None] * self.each + (begins[..., None] + np.arange(self.length)) % self.each
        firsts = {name: self._columns[name][places[..., 0]] for name in self._first}
        others = {name: column for name, column in self._columns.items() if name not in self._first}
        return tf.nest.map_structure(lambda column: column[places], others) | self._masks.at(places) | firsts

    def snapshot(self) -> tuple[dict[str, Any], int]:
        """The rows there are, lane by lane, and how each lane stands: what `restore` takes."""
        places = self._filled()
        rows = tf.nest.map_structure(lambda column: column[places], self._columns)
        own = {"lane_next": self._next_of.copy(), "lane_size": self._size_of.copy()}
        return rows | self._masks.at(places) | own, 0

    def restore(self, rows: Mapping[str, Any], place: int) -> None:
        """See `Replay.restore`."""
        super().restore({}, 0)
        self._next_of, self._size_of = rows["lane_next"].copy(), rows["lane_size"].copy()
        own = {name: column for name, column in rows.items() if name not in ("lane_next", "lane_size")}
        if len(self):
            self._put(self._filled(), {name: np.ones((len(self), 1), bool) for name in self._mask_names} | own)

    def _filled(self) -> np.ndarray:
        return np.concatenate([lane * self.each + np.arange(size) for lane, size in enumerate(self._size_of)])

    def _put(self, places: np.ndarray, rows: Mapping[str, Any]) -> None:
        # A place that was never filled has, like any other, a mask to give up: that of everything.
        self._write(places, rows, self.capacity)
