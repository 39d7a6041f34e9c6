"""What is measured of runners between two records."""

from __future__ import annotations

import time

import numpy as np

from rlsample.rollouts.gymnasium_collector import episode_metrics
from rlsample.scale.runner import Fragment


class Measures:
    """Counts that `pop` turns into metrics.

    Examples:
        >>> from rlsample.scale.measures import Measures
        >>> measures = Measures()
        >>> measures.restarts += 1
        >>> metrics = measures.pop(unfinished=30)
        >>> metrics["scale/restarts"], metrics["scale/waiting"]
        (1.0, 0.0)
    """

    def __init__(self) -> None:
        self.restarts = 0
        self.dropped = 0
        self._begin()

    def _begin(self) -> None:
        self._since, self._waited, self._bytes = time.perf_counter(), 0.0, 0
        self._lags: list[int] = []
        self._returns: list[float] = []
        self._lengths: list[int] = []

    def sent(self, size: int) -> None:
        """Bytes went out."""
        self._bytes += size

    def waited(self, seconds: float) -> None:
        """The learner waited."""
        self._waited += seconds

    def taken(self, fragment: Fragment, lag: int) -> None:
        """A fragment is learned from."""
        self._bytes += fragment.size
        self._lags.append(lag)
        self._returns += fragment.returns
        self._lengths += fragment.lengths

    def pop(self, unfinished: int) -> dict[str, float]:
        """Metrics since the last call; those of restarts and dropped fragments since the run began.

        Args:
            unfinished: steps so far of the longest episode under way.
        """
        seconds = max(time.perf_counter() - self._since, 1e-9)
        metrics = {
            "scale/restarts": float(self.restarts),
            "scale/fragments_dropped": float(self.dropped),
            "scale/bytes_per_second": self._bytes / seconds,
            "scale/waiting": self._waited / seconds,
        }
        if self._lags:
            spread = {"min": min(self._lags), "mean": float(np.mean(self._lags)), "max": max(self._lags)}
            metrics |= {f"scale/lag_{name}": float(lag) for name, lag in spread.items()}
        metrics |= episode_metrics(self._returns, self._lengths, unfinished)
        self._begin()
        return metrics
