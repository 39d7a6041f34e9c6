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


def add_to(total: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """The sum of a total that a loop carries on and a value.

    Without XLA TensorFlow's graph optimizer joins a plain sum with the sums that `value` is made of, and in programs
    that it estimates to fill its memory keeps the joint one in a temporary variable. That is also made where the loop
    ends, and deleted by nobody: the next call fails, since it exists already. A sum over a stack is not joined.

    Args:
        total: a tensor of a number.
        value: of the same shape and dtype.

    Examples:
        >>> from rlsample.learning.loops import add_to, repeat
        >>> repeat(lambda index, total: add_to(total, index), 5, tf.constant(0)).numpy()
        np.int32(10)
    """
    return tf.reduce_sum(tf.stack([total, value]), 0)
