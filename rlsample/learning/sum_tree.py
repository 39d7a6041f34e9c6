"""Numbers that are drawn in proportion to their size, and changed, in logarithmic time: many at once."""

from __future__ import annotations

import numpy as np

from rlsample import checks


class SumTree:
    """A binary tree whose leaves are numbers and whose other nodes are the sums of their two children.

    Node 1 is the root, the children of node i are 2 i and 2 i + 1. Every sum is computed from its children, never
    adjusted, so that no rounding adds up and equal leaves make equal trees.

    Args:
        capacity: number of leaves; they begin at 0.

    Examples:
        >>> from rlsample.learning.sum_tree import SumTree
        >>> tree = SumTree(capacity=4)
        >>> tree.set(np.array([0, 2, 3]), np.array([1.0, 2.0, 3.0]))
        >>> tree.total, tree.find(np.array([0.5, 1.5, 5.0])).tolist()
        (6.0, [0, 2, 3])
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = checks.check_count("capacity", capacity)
        self._first = 1 << (capacity - 1).bit_length()
        self._sums = np.zeros(2 * self._first)

    @property
    def total(self) -> float:
        """The sum of all leaves."""
        return float(self._sums[1])

    @property
    def leaves(self) -> np.ndarray:
        """All leaves, float64 `[capacity]`; a view."""
        return self._sums[self._first : self._first + self.capacity]

    def set(self, places: np.ndarray, values: np.ndarray) -> None:
        """Sets leaves, integer `[M]`, to values >= 0; of several for one place the last stays."""
        nodes = np.asarray(places) + self._first
        self._sums[nodes] = values
        while len(nodes) and nodes[0] > 1:
            nodes = np.unique(nodes >> 1)
            self._sums[nodes] = self._sums[2 * nodes] + self._sums[2 * nodes + 1]

    def find(self, targets: np.ndarray) -> np.ndarray:
        """The leaf that holds each target, with all leaves laid end to end from 0 to `total`.

        Args:
            targets: float `[...]` in [0, total); `total` is above 0.

        Returns:
            Integer `[...]`; never a leaf that is 0.
        """
        targets = np.array(targets, np.float64)
        nodes = np.ones(targets.shape, np.int64)
        for _ in range(self._first.bit_length() - 1):
            left = self._sums[2 * nodes]
            # Rounding can carry a target past the last number there is on the right.
            right = (targets >= left) & (self._sums[2 * nodes + 1] > 0)
            targets -= np.where(right, left, 0.0)
            nodes = 2 * nodes + right
        return nodes - self._first
