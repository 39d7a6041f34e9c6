"""Some entries of a vector, in the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from rlsample.in_graph.environment import FunctionalEnv
from rlsample.wrappers.in_graph_wrapper import InGraphWrapper
from rlsample.wrappers.select_entries import check_entries, selected_space


class InGraphSelectEntries(InGraphWrapper):
    """See `SelectEntries`.

    Examples:
        >>> from envs.cartpole import CartPole
        >>> from rlsample.wrappers.in_graph_select_entries import InGraphSelectEntries
        >>> env = InGraphSelectEntries(CartPole(), entries=[0, 2])
        >>> env.observation(env.initial((0, 1), num_envs=8)).shape
        TensorShape([8, 2])
    """

    def __init__(self, env: FunctionalEnv, entries: Sequence[int]) -> None:
        """See the class."""
        self._entries = check_entries(env.observation_space, entries)
        super().__init__(env, selected_space(env.observation_space, np.array(self._entries)))

    def observation(self, state: Any, seed: tf.Tensor | None = None) -> tf.Tensor:
        """The entries: float `[B, n]`."""
        columns = tf.unstack(super().observation(state, seed), axis=1)
        return tf.stack([columns[entry] for entry in self._entries], 1)
