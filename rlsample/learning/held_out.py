"""Places of a replay to learn from, and places to judge by."""

from __future__ import annotations

import numpy as np

HELD_OUT = 10
"""One row of a replay in so many is for judging models, and no model learns from it."""


def places(generator: np.random.Generator, size: int, shape: tuple[int, ...], held_out: bool = False) -> np.ndarray:
    """Draws places of a replay of `size` rows, with replacement: among those to learn from, or those held out.

    Every tenth place is held out, whatever row comes to lie there; of fewer than ten rows none can be.

    Examples:
        >>> from rlsample.learning.held_out import places
        >>> generator = np.random.default_rng(0)
        >>> set(places(generator, 30, (100,), held_out=True).tolist()) == {9, 19, 29}
        True
        >>> 9 in places(generator, 30, (1000,))
        False
    """
    judged = size // HELD_OUT
    if held_out and judged:
        return HELD_OUT * generator.integers(judged, size=shape) + HELD_OUT - 1
    drawn = generator.integers(size - judged, size=shape)
    return drawn + drawn // (HELD_OUT - 1) if judged else drawn
