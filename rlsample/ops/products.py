"""Matrix products with few columns, which policies have and compilers are slow at."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from rlsample.types import TensorLike

# Up to this many columns XLA on a CPU is quicker column by column, since it has no kernel of its own for such shapes.
# At 2048 rows and two columns the gradient to the kernel takes 29 us instead of 120, that to the input 20 instead of
# 102; forward, with few rows, a third. Eager code would pay for every operation.
NARROW_KERNEL, NARROW = 8, 3


def narrow_matmul(inputs: TensorLike, kernel: TensorLike) -> tf.Tensor:
    """The product of many rows with a kernel of few columns, such as one per category.

        forward   x W
        backward  to x: g W^T; to W: x^T g; all three one column of W at a time if there are few of them

    Args:
        inputs: float `[..., D]`.
        kernel: float `[D, K]`, K known when traced.

    Returns:
        float `[..., K]`: that of `tf.matmul`, differentiable any number of times.

    Examples:
        >>> ops.narrow_matmul([[1.0, 2.0], [3.0, 4.0]], [[1.0], [10.0]]).numpy()
        array([[21.],
               [43.]], dtype=float32)
    """
    inputs, kernel = tf.convert_to_tensor(inputs), tf.convert_to_tensor(kernel)
    if kernel.shape[-1] > NARROW_KERNEL or tf.executing_eagerly():
        return tf.linalg.matmul(inputs, kernel) if inputs.shape.rank == 2 else tf.tensordot(inputs, kernel, 1)
    if inputs.shape.rank == 2:
        return _narrow_matmul(inputs, kernel)
    rows = _narrow_matmul(tf.reshape(inputs, [-1, kernel.shape[0]]), kernel)
    shape = tf.concat([tf.shape(inputs)[:-1], tf.shape(kernel)[1:]], 0)
    return tf.ensure_shape(tf.reshape(rows, shape), inputs.shape[:-1] + kernel.shape[1:])


@tf.custom_gradient
def _narrow_matmul(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    columns = range(kernel.shape[-1])

    def backward(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if len(columns) > NARROW:
            to_inputs = tf.matmul(upstream, kernel, transpose_b=True)
        else:
            to_inputs = tf.add_n([upstream[:, k : k + 1] * kernel[:, k] for k in columns])
        to_kernel = [tf.matmul(inputs, upstream[:, k : k + 1], transpose_a=True) for k in columns]
        return to_inputs, tf.concat(to_kernel, 1)

    if len(columns) > NARROW:
        return tf.matmul(inputs, kernel), backward
    return tf.concat([tf.matmul(inputs, kernel[:, k : k + 1]) for k in columns], 1), backward
