"""Action spaces given by their sizes alone, as `env.action_space.n` and `env.action_space.nvec` are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from rlsample import checks

Sizes = Sequence[int] | np.ndarray
"""Of each factor: a list, tuple or array."""


def one_size(action_space: Any, name: str) -> Any:
    """`Discrete(n)` for a number n of categories, called `name` in errors; anything else as it is."""
    if not isinstance(action_space, (int, np.integer)):
        return action_space
    return gym.spaces.Discrete(checks.check_count(name, action_space))


def several_sizes(action_space: Any) -> Any:
    """`MultiDiscrete(nvec)` for sizes `[F]` or of any shape; anything else as it is."""
    if not isinstance(action_space, (list, tuple, np.ndarray)):
        return action_space
    nvec = np.asarray(action_space)
    if not np.issubdtype(nvec.dtype, np.integer) or not nvec.size or nvec.min() < 1:
        raise checks.invalid("the sizes of factors to be whole numbers >= 1", action_space=action_space)
    return gym.spaces.MultiDiscrete(nvec)
