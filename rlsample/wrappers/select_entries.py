"""Some entries of a vector: what of the state of an environment is shown."""

from __future__ import annotations

from collections.abc import Sequence

import gymnasium as gym
import numpy as np

from rlsample import checks


class SelectEntries(gym.ObservationWrapper):
    """Shows some entries of an observation that is a vector, such as positions without velocities.

    Args:
        env: whose observations are a Box of shape (n,).
        entries: which ones, from 0, in the order in which they are shown.

    Raises:
        ValueError: observations of another kind, or entries that are not there.

    Examples:
        >>> from rlsample.wrappers import SelectEntries
        >>> env = SelectEntries(gym.make("CartPole-v1"), entries=[0, 2])  # without the velocities
        >>> env.reset(seed=0)[0].shape
        (2,)
    """

    def __init__(self, env: gym.Env, entries: Sequence[int]) -> None:
        super().__init__(env)
        self._entries = np.array(check_entries(env.observation_space, entries))
        self.observation_space = selected_space(env.observation_space, self._entries)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """The entries."""
        return observation[self._entries]


def check_entries(space: gym.Space, entries: Sequence[int]) -> list[int]:
    """Entries of a vector, as a list; raises ValueError unless it has them.

    Examples:
        >>> from rlsample.wrappers.select_entries import check_entries
        >>> check_entries(gym.spaces.Box(-1.0, 1.0, (4,)), (0, 2))
        [0, 2]
    """
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
        raise checks.invalid("observations that are a vector, a Box of shape (n,)", observation_space=space)
    size = space.shape[0]
    is_list = isinstance(entries, (list, tuple)) and len(entries) > 0
    if not is_list or not all(type(entry) is int and 0 <= entry < size for entry in entries):
        raise checks.invalid(f"entries to be a list of whole numbers from 0 to {size - 1}", entries=entries)
    return list(entries)


def selected_space(space: gym.spaces.Box, entries: np.ndarray) -> gym.spaces.Box:
    """The space of some entries of a vector.

    Examples:
        >>> from rlsample.wrappers.select_entries import selected_space
        >>> space = gym.spaces.Box(-1.0, np.array([1.0, 2.0, 3.0], np.float32))
        >>> selected_space(space, np.array([2, 0])).high
        array([3., 1.], dtype=float32)
    """
    return gym.spaces.Box(space.low[entries], space.high[entries], dtype=space.dtype)
