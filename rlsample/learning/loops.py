"""Loops of a compiled program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def repeat(body: Callable[[tf.Tensor, Any], Any], times: int | tf.Tensor, carry: Any) -> Any:
    """Computes carry = body(index, carry) for index = 0 .. times - 1, as one loop of the program.

    Variables that `body` assigns to are updated in turn. Unlike a Python loop over `tf.range`, it needs no conversion
    of source code, so tracing is quick, and `times` may be a tensor under XLA.

    Args:
        body: (int32 scalar, carry) -> carry of the same structure, shapes and dtypes.
        times: how often; 0 returns `carry` as it is. Gradients under XLA need a number, not a tensor.
        carry: a structure of tensors; may be empty.

    Examples:
        >>> from rlsample.learning.loops import repeat
        >>> repeat(lambda index, total: total + index, 5, tf.constant(0)).numpy()
        np.int32(10)
    """
    return tf.while_loop(
        lambda index, _: index < times,
        lambda index, carry: (index + 1, body(index, carry)),
        (tf.constant(0), carry),
        maximum_iterations=times if isinstance(times, int) else None,
    )[1]
