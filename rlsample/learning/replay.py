"""A ring of past transitions to learn from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rlsample import checks


class Replay:
    """Keeps the last `capacity` rows of named arrays, and draws minibatches of them with replacement.

    The arrays are laid out when the first rows arrive, and sit in host memory: `capacity` rows each.

    Examples:
        >>> from rlsample.learning.replay import Replay
        >>> replay = Replay(capacity=100)
        >>> replay.add({"observation": np.zeros([8, 4], np.float32), "reward": np.arange(8.0)})
        >>> batch = replay.sample(np.random.default_rng(0), (32,))
        >>> len(replay), batch["observation"].shape, batch["reward"].shape
        (8, (32, 4), (32,))
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = checks.check_count("capacity", capacity)
        self._columns: dict[str, np.ndarray] = {}
        self._next = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def snapshot(self) -> tuple[dict[str, np.ndarray], int]:
        """The rows there are, in their places, and the place of the next: what `restore` takes."""
        return {name: column[: self._size].copy() for name, column in self._columns.items()}, self._next

    def restore(self, rows: Mapping[str, np.ndarray], place: int) -> None:
        """Holds the rows of a snapshot and nothing else."""
        self._columns, self._next, self._size = {}, 0, 0
        if rows:
            self.add(rows)
            self._next = place

    def add(self, rows: Mapping[str, np.ndarray]) -> None:
        """Appends rows `[B, ...]`, the oldest making room; `B` may be 0 and is at most `capacity`."""
        if not self._columns:
            self._columns = {
                name: np.zeros((self.capacity, *value.shape[1:]), value.dtype) for name, value in rows.items()
            }
        count = len(next(iter(rows.values())))
        if count > self.capacity:
            raise checks.invalid(f"at most capacity={self.capacity} rows at once", rows=count)
        places = (self._next + np.arange(count)) % self.capacity
        for name, column in self._columns.items():
            column[places] = rows[name]
        self._next = (self._next + count) % self.capacity
        self._size = min(self._size + count, self.capacity)

    def sample(self, generator: np.random.Generator, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Draws rows uniformly with replacement: each array `[*shape, ...]`.

        Raises:
            ValueError: nothing has been added yet.
        """
        if not self._size:
            raise checks.invalid("a replay that holds rows", size=0)
        places = generator.integers(self._size, size=shape)
        return {name: column[places] for name, column in self._columns.items()}
