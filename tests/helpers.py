"""What the contract tests run over."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

# Every kind of discrete action space: shifted, ragged, with several axes, of other dtypes, nested.
ALL_SPACES = (
    Discrete(4),
    Discrete(1),
    Discrete(3, start=-2),
    Discrete(5, start=250, dtype=np.int16),
    MultiDiscrete([3, 3]),
    MultiDiscrete([5]),
    MultiDiscrete([2, 5, 3], start=[1, -4, 0]),
    MultiDiscrete([[2, 3, 4], [5, 1, 2]], start=[[0, 7, 0], [-1, 0, 3]], dtype=np.int32),
    MultiDiscrete([100, 27], start=[-128, 100], dtype=np.int8),
    MultiBinary(1),
    MultiBinary(4),
    MultiBinary((2, 3)),
    Tuple((Discrete(3, start=1), MultiDiscrete([2, 4]))),
    Tuple((Tuple((Discrete(2),)), Discrete(2, start=9))),
    Dict({"steer": Discrete(3, start=2), "boost": MultiBinary(2)}),
    Dict(
        {
            "move": Tuple((MultiDiscrete([[2, 3], [4, 2]]), Dict({1: Discrete(2, start=-1), 0: MultiBinary((1, 2))}))),
            "aim": Discrete(6),
        },
        sort_keys=False,
    ),
)


def space_name(space: object) -> str:
    """Readable pytest id of a space."""
    return " ".join(str(space).split())
