"""Action spaces as plain JSON data and back, so that a saved policy knows what its actions are."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from rlsample import checks


def to_config(space: gym.Space) -> dict[str, Any]:
    """Returns the plain dict that `from_config` turns back into an equal space.

    Raises:
        ValueError: a part of the space is not discrete.
    """
    match space:
        case gym.spaces.Discrete():
            return {"type": "Discrete", "n": int(space.n), "start": int(space.start), "dtype": space.dtype.name}
        case gym.spaces.MultiDiscrete():
            sizes, start = space.nvec.tolist(), space.start.tolist()
            return {"type": "MultiDiscrete", "nvec": sizes, "start": start, "dtype": space.dtype.name}
        case gym.spaces.MultiBinary():
            return {"type": "MultiBinary", "n": list(space.shape)}
        case gym.spaces.Tuple():
            return {"type": "Tuple", "spaces": [to_config(entry) for entry in space.spaces]}
        case gym.spaces.Dict():
            # A list of pairs: JSON would turn integer keys into strings.
            return {"type": "Dict", "spaces": [[key, to_config(entry)] for key, entry in space.spaces.items()]}
    raise checks.invalid("a discrete action space", space=space)


def from_config(config: dict[str, Any]) -> gym.Space:
    """Builds the space that `to_config` described.

    Raises:
        ValueError: not such a description.
    """
    match config:
        case {"type": "Discrete", "n": n, "start": start, "dtype": dtype}:
            return gym.spaces.Discrete(n, start=start, dtype=np.dtype(dtype).type)
        case {"type": "MultiDiscrete", "nvec": sizes, "start": start, "dtype": dtype}:
            dtype = np.dtype(dtype).type
            return gym.spaces.MultiDiscrete(np.array(sizes, dtype), dtype=dtype, start=np.array(start, dtype))
        case {"type": "MultiBinary", "n": [int(n)]}:
            return gym.spaces.MultiBinary(n)
        case {"type": "MultiBinary", "n": shape}:
            return gym.spaces.MultiBinary(shape)
        case {"type": "Tuple", "spaces": entries}:
            return gym.spaces.Tuple([from_config(entry) for entry in entries])
        case {"type": "Dict", "spaces": pairs}:
            return gym.spaces.Dict({key: from_config(entry) for key, entry in pairs}, sort_keys=False)
    raise checks.invalid("the description of a discrete action space", config=config)
