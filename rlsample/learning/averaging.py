"""Running averages of weights (Polyak averaging), as target networks and averaged policies use."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rlsample.types import TensorLike


def move_towards(average: Any, current: Any, rate: TensorLike) -> Any:
    """Moves an average by `rate`, in (0, 1], of the way to the current values.

        average + rate (current - average)

    Args:
        average: a structure of float tensors.
        current: another one like it.
        rate: 1 copies.

    Source: Polyak and Juditsky (1992), Acceleration of stochastic approximation by averaging; as target networks
    Lillicrap et al. (2016), arXiv 1509.02971, section 3.

    Examples:
        >>> from rlsample.learning.averaging import move_towards
        >>> print(move_towards([tf.constant([0.0, 1.0])], [tf.constant([1.0, 1.0])], rate=0.1)[0].numpy())
        [0.1 1. ]
    """
    return tf.nest.map_structure(lambda slow, fast: slow + rate * (fast - slow), average, current)
