"""A replay that draws what it can learn most from more often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlsample import checks
from rlsample.learning.replay import Replay
from rlsample.learning.sum_tree import SumTree

EPSILON = 1e-6
"""Added to errors, so that no row is lost for ever."""


class PrioritizedReplay(Replay):
    """A `Replay` that draws rows in proportion to a power of their last error, and says how to make up for it.

        P(i) = p_i^alpha / sum_j p_j^alpha,  p_i = |error_i| + 1e-6;   w_i = (N P(i))^-beta / max_j w_j

    with the maximum over each minibatch. A new row has the largest priority there has been, so that it is soon seen.

    Args:
        capacity: as of `Replay`.
        exponent: alpha, in [0, 1]: 0 draws uniformly.
        masks: as of `Replay`.

    Source: Schaul et al. (2016), Prioritized experience replay, arXiv 1511.05952, section 3.3 and appendix B.2.1.

    Examples:
        >>> from rlsample.learning.prioritized_replay import PrioritizedReplay
        >>> replay = PrioritizedReplay(capacity=100, exponent=1.0)
        >>> places = replay.add({"reward": np.array([0.0, 1.0])})
        >>> replay.set_errors(places, np.array([1.0, 3.0]))
        >>> replay.probabilities()
        array([0.25, 0.75])
        >>> sorted(replay.sample(np.random.default_rng(0), (8, 32)))
        ['place', 'reward', 'weight']
    """

    def __init__(self, capacity: int, exponent: float = 0.6, masks: Sequence[str] = ()) -> None:
        super().__init__(capacity, masks)
        if not 0 <= exponent <= 1:
            raise checks.invalid("exponent in [0, 1]", exponent=exponent)
        self.exponent = exponent
        self._tree, self._highest = SumTree(capacity), 1.0

    def add(self, rows: Mapping[str, Any]) -> np.ndarray:
        """See `Replay.add`."""
        places = super().add(rows)
        self._tree.set(places, np.full(len(places), self._highest))
        return places

    def probabilities(self) -> np.ndarray:
        """P of every row there is, in their places: float64 `[N]`."""
        return self._tree.leaves[: len(self)] / self._tree.total

    def sample(self, generator: np.random.Generator, shape: tuple[int, ...], correction: float = 1.0) -> dict[str, Any]:
        """Draws rows by their priorities; along the last axis one from each of B equal parts of their sum.

        Args:
            generator: draws.
            shape: `(..., B)`, minibatches of B rows.
            correction: beta, in [0, 1]: 1 makes weighted means of rows those under uniform draws, 0 weighs all alike.

        Returns:
            Trees of arrays `[*shape, ...]`; and `place`, int64, for `set_errors`, and `weight`, float32.

        Raises:
            ValueError: nothing has been added yet.
        """
        self._check_filled()
        parts = (np.arange(shape[-1]) + generator.random(shape)) / shape[-1]
        places = self._tree.find(parts * self._tree.total)
        weights = (len(self) * self._tree.leaves[places] / self._tree.total) ** -correction
        weights /= weights.max(-1, keepdims=True)
        return self.at(places) | {"place": places, "weight": weights.astype(np.float32)}

    def set_errors(self, places: np.ndarray, errors: np.ndarray) -> None:
        """Sets the priorities of rows by what was wrong with them; of several errors for one row the last counts.

        Args:
            places: as drawn.
            errors: float of the same shape, finite.
        """
        priorities = (np.abs(errors, dtype=np.float64) + EPSILON) ** self.exponent
        self._tree.set(places.ravel(), priorities.ravel())
        self._highest = max(self._highest, float(priorities.max(initial=0.0)))

    def snapshot(self) -> tuple[dict[str, Any], int]:
        """See `Replay.snapshot`; the priorities belong to it."""
        rows, place = super().snapshot()
        priorities = {"priority": self._tree.leaves[: len(self)].copy(), "highest_priority": np.array(self._highest)}
        return rows | priorities, place

    def restore(self, rows: Mapping[str, Any], place: int) -> None:
        """See `Replay.restore`."""
        own = {name: column for name, column in rows.items() if name not in ("priority", "highest_priority")}
        self._tree = SumTree(self.capacity)
        super().restore(own, place)
        self._tree.set(np.arange(len(self)), rows["priority"])
        self._highest = float(rows["highest_priority"])
