"""What comes of a step: a reward that can be learned from, an observation within its bounds or else said."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from rlsample import checks

MAX_REWARD = 1e18
"""Losses square returns; the squares of larger ones overflow float32."""


class Bounds:
    """Warns, once, of observations beyond the bounds of their space, and refuses rewards beyond `MAX_REWARD`.

    Args:
        bounds: least and greatest value of each part of an observation; infinite where there is none.

    Examples:
        >>> from rlsample.rollouts.environments.bounds import Bounds
        >>> bounds = Bounds([(np.zeros(2), np.ones(2))])
        >>> bounds.check([np.array([[0.5, 1.0]])], rewards=np.array([1.0]))
        >>> bounds.check([np.array([[0.5, 1.0]])], rewards=np.array([np.inf]))
        Traceback (most recent call last):
            ...
        ValueError: Expected finite rewards of at most 1e+18. Received: environment=0, reward=inf. ...
    """

    def __init__(self, bounds: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        # A part without bounds costs no look.
        self._parts = {index: _widened(*ends) for index, ends in enumerate(bounds) if np.isfinite(ends).any()}

    def check(self, parts: Sequence[np.ndarray], rewards: np.ndarray) -> None:
        """Looks at what came of a step: the parts of the observations, `[B, ...]` each, and rewards `[B]`.

        Raises:
            ValueError: a reward that is NaN, inf or too large to learn from; names the environment.
        """
        if not (good := np.abs(rewards) <= MAX_REWARD).all():
            row = int(np.argmin(good))
            hint = "Scale it, for example with gymnasium.wrappers.TransformReward."
            rule = f"finite rewards of at most {MAX_REWARD:g}"
            raise checks.invalid(rule, environment=row, reward=float(rewards[row]), hint=hint)
        for index, (low, high) in self._parts.items():
            values = parts[index]
            outside = (values < low) | (values > high)
            if outside.any():
                self._parts = {}
                row, *place = (int(axis) for axis in np.argwhere(outside)[0])
                where, ends = tuple(place), f"[{low[tuple(place)]:.6g}, {high[tuple(place)]:.6g}]"
                warnings.warn(
                    f"Expected observations within the bounds of their space. Received: {values[(row, *where)]:.6g} at "
                    f"{list(where)} of environment {row}, outside of {ends}. It is learned from as it is; "
                    "gymnasium.wrappers.TransformObservation can clip or scale it. This is said once.",
                    RuntimeWarning,
                    stacklevel=3,
                )
                return


def _widened(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds with room for rounding."""
    tolerance = 1e-5 * np.maximum(1.0, np.minimum(np.abs(low), np.abs(high)))
    return low - tolerance, high + tolerance
