"""Running averages of weights (Polyak averaging), as target networks and averaged policies use."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rlsample import checks
from rlsample.types import TensorLike


def move_towards(average: Any, current: Any, rate: TensorLike) -> Any:
    """Moves an average by `rate`, in [0, 1], of the way to the current values.

        (1 - rate) average + rate current;  of a rate of 1 the current values, of 0 the average, to the bit

    Args:
        average: a structure of float tensors.
        current: another one like it.
        rate: 1 copies, 0 leaves.

    Source: Polyak and Juditsky (1992), Acceleration of stochastic approximation by averaging; as target networks
    Lillicrap et al. (2016), arXiv 1509.02971, section 3.

    Examples:
        >>> from rlsample.learning.averaging import move_towards
        >>> print(move_towards([tf.constant([0.0, 1.0])], [tf.constant([1.0, 1.0])], rate=0.1)[0].numpy())
        [0.1 1. ]
    """

    def moved(slow: tf.Tensor, fast: tf.Tensor) -> tf.Tensor:
        # A difference rounds, and loses small values beside large ones: the ends are taken as they are.
        between = slow + rate * (fast - slow)
        return tf.where(tf.equal(rate, 1), fast, tf.where(tf.equal(rate, 0), slow, between))

    return tf.nest.map_structure(moved, average, current)


def rate_at(count: tf.Tensor, rate: float, period: int) -> tf.Tensor:
    """The rate of an average that moves every `period` updates: 0 after the others. A scalar, float32.

    Args:
        count: int scalar, the updates so far.
        rate: of the updates that move it.
        period: at least 1; with a rate of 1 the average is copied, and stands still between.

    Raises:
        ValueError: a period below 1.

    Examples:
        >>> from rlsample.learning.averaging import rate_at
        >>> [float(rate_at(tf.constant(count), rate=0.5, period=2)) for count in (1, 2, 3, 4)]
        [0.0, 0.5, 0.0, 0.5]
    """
    checks.check_count("period", period)
    return tf.where(tf.equal(count % period, 0), rate, 0.0)
