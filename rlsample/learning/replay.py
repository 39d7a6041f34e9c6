"""A ring of past transitions to learn from."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rlsample import checks
from rlsample.learning.mask_columns import MaskColumns

MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
"""Where Linux tells what a container may use at most."""


BYTES_PER_CALL = 2**28
"""Batches of images for a whole round of updates would take gigabytes."""


class Replay:
    """Keeps the last `capacity` rows of named trees of arrays, and draws minibatches of them with replacement.

    The arrays are laid out when the first rows arrive, and sit in host memory: `capacity` rows each, in their dtypes.

    Args:
        capacity: rows kept, at least 1.
        masks: names of columns of masks, drawn as `mask_columns.MaskColumns` has them: as bits, and not at all while
            everything is legal.

    Examples:
        >>> from rlsample.learning.replay import Replay
        >>> replay = Replay(capacity=100)
        >>> places = replay.add({"observation": np.zeros([8, 4], np.float32), "reward": np.arange(8.0)})
        >>> batch = replay.sample(np.random.default_rng(0), (32,))
        >>> len(replay), batch["observation"].shape, batch["reward"].shape
        (8, (32, 4), (32,))
    """

    def __init__(self, capacity: int, masks: Sequence[str] = ()) -> None:
        self.capacity = checks.check_count("capacity", capacity)
        self._mask_names, self._masks = tuple(masks), MaskColumns(capacity, masks)
        self._columns: dict[str, Any] = {}
        self._next = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def snapshot(self) -> tuple[dict[str, Any], int]:
        """The rows there are, in their places, and the place of the next: what `restore` takes."""
        rows = tf.nest.map_structure(lambda column: column[: self._size].copy(), self._columns)
        return rows | self._masks.at(np.arange(self._size)), self._next

    def restore(self, rows: Mapping[str, Any], place: int) -> None:
        """Holds the rows of a snapshot and nothing else."""
        self._columns, self._next, self._size = {}, 0, 0
        self._masks = MaskColumns(self.capacity, self._mask_names)
        if rows:
            count = len(tf.nest.flatten(rows)[0])
            self.add({name: np.ones((count, 1), bool) for name in self._mask_names} | dict(rows))
            self._next = place

    def add(self, rows: Mapping[str, Any]) -> np.ndarray:
        """Appends rows, trees of arrays `[B, ...]`, the oldest making room; returns their places, int64 `[B]`.

        `B` is from 0 to `capacity`.
        """
        count = len(tf.nest.flatten(rows)[0])
        if count > self.capacity:
            raise checks.invalid(f"at most capacity={self.capacity} rows at once", rows=count)
        places = (self._next + np.arange(count)) % self.capacity
        self._write(places, rows, self._size)
        self._next = (self._next + count) % self.capacity
        self._size = min(self._size + count, self.capacity)
        return places

    def _write(self, places: np.ndarray, rows: Mapping[str, Any], size: int) -> None:
        """Puts rows into places, of which the first `size` of all have held others."""
        if not self._columns:
            self._columns = tf.nest.map_structure(
                lambda value: np.zeros((self.capacity, *value.shape[1:]), value.dtype),
                {name: column for name, column in rows.items() if name not in self._mask_names},
            )
        kept = {name: rows[name] for name in self._columns}
        for column, new in zip(tf.nest.flatten(self._columns), tf.nest.flatten(kept), strict=True):
            column[places] = new
        if len(places):
            self._masks.set(places, rows, size)

    def sample(self, generator: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        """Draws rows uniformly with replacement: trees of arrays `[*shape, ...]`.

        Raises:
            ValueError: nothing has been added yet.
        """
        self._check_filled()
        return self.at(generator.integers(self._size, size=shape))

    def at(self, places: np.ndarray) -> dict[str, Any]:
        """The rows in places `[...]`: trees of arrays `[..., *the row's]`."""
        return tf.nest.map_structure(lambda column: column[places], self._columns) | self._masks.at(places)

    def _check_filled(self) -> None:
        if not self._size:
            raise checks.invalid("a replay that holds rows", size=0)


def size_in_words(capacity: int, specs: Any) -> str:
    """What a replay takes: its rows and its bytes.

    Examples:
        >>> from rlsample.learning.replay import size_in_words
        >>> size_in_words(100_000, {"image": tf.TensorSpec([84, 84, 4], tf.uint8), "reward": tf.TensorSpec([])})
        '100,000 transitions, 2.82 GB'
    """
    return f"{capacity:,} transitions, {_gigabytes(_bytes(capacity, specs))}"


def check_memory(capacity: int, specs: Any) -> None:
    """Raises ValueError for a replay that is larger than the memory of this machine.

    Args:
        capacity: rows it holds.
        specs: a structure of `tf.TensorSpec`, each of one row.

    Examples:
        >>> from rlsample.learning.replay import check_memory
        >>> check_memory(10**12, tf.TensorSpec([84, 84, 4], tf.uint8))
        Traceback (most recent call last):
            ...
        ValueError: Expected a replay of at most the ... GB of memory there are. Received: capacity=1000000000000, ...
    """
    needed, there = _bytes(capacity, specs), memory_there_is()
    if needed > there:
        hint = f"Keep at most {capacity * there // needed:,} transitions, or observe less."
        rule = f"a replay of at most the {_gigabytes(there)} of memory there are"
        raise checks.invalid(rule, capacity=capacity, size=_gigabytes(needed), hint=hint)


def batches_per_call(wanted: int, batch_size: int, specs: Any) -> int:
    """How many batches to hand to a compiled program at once: those wanted, or fewer where rows are large.

    Args:
        wanted: how many, at most.
        batch_size: rows of each.
        specs: a structure of `tf.TensorSpec`, each of one row.

    Examples:
        >>> from rlsample.learning.replay import batches_per_call
        >>> specs = tf.TensorSpec([4]), tf.TensorSpec([84, 84, 4], tf.uint8)
        >>> [batches_per_call(64, 256, each) for each in specs]
        [64, 37]
    """
    return max(1, min(wanted, BYTES_PER_CALL // _bytes(batch_size, specs)))


def memory_there_is() -> int:
    """Bytes of memory that this machine has, or that this container may use.

    Examples:
        >>> from rlsample.learning.replay import memory_there_is
        >>> memory_there_is() > 10**8
        True
    """
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = MEMORY_LIMIT.read_text().strip() if MEMORY_LIMIT.is_file() else "max"
    return min(physical, int(limit)) if limit.isdigit() else physical


def _bytes(capacity: int, specs: Any) -> int:
    return capacity * sum(spec.dtype.size * math.prod(spec.shape) for spec in tf.nest.flatten(specs))


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
