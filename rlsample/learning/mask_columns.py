"""Masks of many rows in little memory: as bits, each different one once, and none while everything is legal."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

DIGEST_BYTES = 16
"""Longer masks are told apart by digests: two different ones share theirs once in 2^64 masks."""


class MaskColumns:
    """What is legal in each of the rows of a replay, under one name or several.

    A row holds the number of its mask; masks that are the same, such as that of a step's end and that of the next step,
    are there once.

    Args:
        capacity: rows there can be.
        names: of the columns.

    Examples:
        >>> from rlsample.learning.mask_columns import MaskColumns
        >>> masks = MaskColumns(100, ["mask"])
        >>> masks.set(np.arange(2), {"mask": np.ones([2, 10], bool)}, size=0)
        >>> masks.at(np.arange(2))
        {}
        >>> masks.set(np.array([2]), {"mask": np.arange(10)[None] < 8}, size=2)
        >>> masks.at(np.array([0, 2]))["mask"].tolist(), masks.different
        ([[255, 192], [255, 0]], 2)
    """

    def __init__(self, capacity: int, names: Sequence[str]) -> None:
        self._capacity, self._names = capacity, tuple(names)
        self._numbers: dict[str, np.ndarray] = {}  # of each row's mask; none while everything is legal
        self._masks = np.zeros((0, 0), np.uint8)
        self._uses = np.zeros(0, np.int64)
        self._keys: list[bytes] = []
        self._found: dict[bytes, int] = {}
        self._free: list[int] = []

    @property
    def different(self) -> int:
        """How many different masks there are."""
        return len(self._found)

    def set(self, places: np.ndarray, rows: Mapping[str, Any], size: int) -> None:
        """Puts the masks of rows into places `[B]`.

        Args:
            places: no two the same.
            rows: by name bools `[B, ..., K]`, or bits `[B, ..., ceil(K / 8)]` as `at` gave them.
            size: rows there were before, in the first places.
        """
        flags = {name: np.asarray(rows[name]) for name in self._names}
        if not self._numbers:
            if all(column.dtype == bool and column.all() for column in flags.values()):
                return
            self._begin(flags, size)
        for name, column in flags.items():
            bits = np.packbits(column, -1) if column.dtype == bool else column
            numbers, old = self._numbers[name], places[places < size]
            self._release(numbers[old])
            numbers[places] = [self._number(row) for row in bits]

    def at(self, places: np.ndarray) -> dict[str, np.ndarray]:
        """The masks of rows in places `[...]` as bits, uint8 `[..., *, ceil(K / 8)]`; none if everything is legal."""
        return {name: self._masks[numbers[places]] for name, numbers in self._numbers.items()}

    def _begin(self, flags: Mapping[str, np.ndarray], size: int) -> None:
        """From now on masks are kept; before, everything was legal."""
        first = next(iter(flags.values()))
        bits = np.packbits(np.ones_like(first[:1]), -1)[0] if first.dtype == bool else np.zeros_like(first[0])
        # The system hands out the memory of zeros once they are written to.
        most = len(self._names) * self._capacity + 1
        self._masks, self._uses = np.zeros((most, *bits.shape), np.uint8), np.zeros(most, np.int64)
        self._keys, self._free = [b""] * most, list(range(most))[::-1]
        for name in self._names:
            self._numbers[name] = np.zeros(self._capacity, np.int32)
            self._numbers[name][:size] = [self._number(bits) for _ in range(size)]

    def _number(self, bits: np.ndarray) -> int:
        """The number of a mask, used once more."""
        key = bits.tobytes()
        key = key if len(key) <= DIGEST_BYTES else hashlib.blake2b(key, digest_size=DIGEST_BYTES).digest()
        number = self._found.get(key)
        if number is None:
            number = self._found[key] = self._free.pop()
            self._masks[number], self._keys[number] = bits, key
        self._uses[number] += 1
        return number

    def _release(self, numbers: np.ndarray) -> None:
        np.subtract.at(self._uses, numbers, 1)
        for number in set(numbers.tolist()):
            if not self._uses[number]:
                del self._found[self._keys[number]]
                self._free.append(number)
