"""Convolution whose gradient is quick inside of compiled loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from rlsample import checks
from rlsample.types import TensorLike


def convolution(
    inputs: TensorLike, kernel: TensorLike, strides: int | tuple[int, int] = 1, padding: str = "valid"
) -> tf.Tensor:
    """A two-dimensional convolution: `tf.nn.conv2d`, with a gradient of matrix products.

        y[b, i, j] = sum over (a, c) of x[b, s i + a, s j + c] W[a, c]

    Backward, the kernel's gradient is one product of the patches of x and the upstream gradient; that of x is a
    convolution of the upstream gradient, spread by the strides, with the kernel turned round. XLA's own convolutions
    are some eight times slower inside of a loop on the CPU than outside, and compiled training is a loop: there
    everything is products of patches. Differentiable any number of times.

    Args:
        inputs: float `[B, H, W, C]`; H, W and C known when traced.
        kernel: float `[h, w, C, O]`.
        strides: between the positions of the kernel, at least 1; one for both axes, or a pair.
        padding: "valid" for none, "same" for as many zeros as give ceil(H / stride) positions.

    Returns:
        float `[B, H', W', O]`.

    Raises:
        ValueError: shapes that do not fit each other, strides below 1, another padding.

    Examples:
        >>> image = tf.reshape(tf.range(9.0), [1, 3, 3, 1])
        >>> kernel = tf.Variable(tf.ones([2, 2, 1, 1]))
        >>> with tf.GradientTape() as tape:
        ...     sums = ops.convolution(image, kernel)
        >>> print(sums.numpy().squeeze().tolist())
        [[8.0, 12.0], [20.0, 24.0]]
        >>> print(tape.gradient(sums, kernel).numpy().squeeze().tolist())
        [[8.0, 12.0], [20.0, 24.0]]
    """
    inputs, kernel = tf.convert_to_tensor(inputs), tf.convert_to_tensor(kernel)
    pair = (strides, strides) if isinstance(strides, int) else tuple(strides)
    if len(pair) != 2 or min(pair) < 1:
        raise checks.invalid("strides of at least 1, one or two", strides=strides)
    shapes: dict[str, Any] = {"inputs": tuple(inputs.shape), "kernel": tuple(kernel.shape)}
    if inputs.shape.rank != 4 or kernel.shape.rank != 4 or inputs.shape[3] != kernel.shape[2]:
        raise checks.invalid("inputs [B, H, W, C] and a kernel [h, w, C, O] of as many channels", **shapes)
    if padding not in ("valid", "same"):
        raise checks.invalid("padding to be valid or same", padding=padding)
    if padding == "same":
        around = [_around(*sizes) for sizes in zip(inputs.shape[1:3], kernel.shape[:2], pair, strict=True)]
        inputs = tf.pad(inputs, [(0, 0), *around, (0, 0)])
    if inputs.shape[1] < kernel.shape[0] or inputs.shape[2] < kernel.shape[1]:
        raise checks.invalid("a kernel no larger than the inputs", **shapes)
    return _valid(pair)(inputs, kernel)


def _around(size: int, width: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis, such that the kernel has ceil(size / stride) positions."""
    missing = max((-(-size // stride) - 1) * stride + width - size, 0)
    return missing // 2, missing - missing // 2


def _valid(strides: tuple[int, int]) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    @tf.custom_gradient
    def function(inputs: tf.Tensor, kernel: tf.Tensor) -> Any:
        rows = _patches(inputs, kernel.shape[:2], strides)
        outputs = _product(rows, kernel)

        def backward(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            flat = tf.reshape(upstream, [-1, upstream.shape[-1]])
            by_kernel = tf.matmul(tf.reshape(rows, [-1, rows.shape[-1]]), flat, transpose_a=True)
            spread = _spread(upstream, kernel.shape[:2], strides, inputs.shape[1:3])
            turned = tf.transpose(kernel[::-1, ::-1], [0, 1, 3, 2])
            by_inputs = _product(_patches(spread, kernel.shape[:2], (1, 1)), turned)
            return by_inputs, tf.reshape(by_kernel, kernel.shape)

        return outputs, backward

    return function


def _patches(inputs: tf.Tensor, widths: Any, strides: tuple[int, int]) -> tf.Tensor:
    """What lies below the kernel at each position: `[B, H', W', h * w * C]`."""
    height, width = ((size - own) // s for size, own, s in zip(inputs.shape[1:3], widths, strides, strict=True))
    down, across = strides
    return tf.concat(
        [
            inputs[:, i : i + down * height + 1 : down, j : j + across * width + 1 : across]
            for i in range(widths[0])
            for j in range(widths[1])
        ],
        -1,
    )


def _product(patches: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    channels = kernel.shape[-1]
    rows = tf.matmul(tf.reshape(patches, [-1, patches.shape[-1]]), tf.reshape(kernel, [-1, channels]))
    return tf.reshape(rows, [-1, *patches.shape[1:3], channels])


def _spread(upstream: tf.Tensor, widths: Any, strides: tuple[int, int], sizes: Any) -> tf.Tensor:
    """Zeros between and around an upstream gradient, such that the turned kernel has a position for each input."""
    (height, width), (down, across), channels = upstream.shape[1:3], strides, upstream.shape[-1]
    if strides != (1, 1):
        between = [(0, 0), (0, 0), (0, down - 1), (0, 0), (0, across - 1), (0, 0)]
        upstream = tf.pad(upstream[:, :, None, :, None, :], between)
        upstream = tf.reshape(upstream, [-1, height * down, width * across, channels])
        upstream = upstream[:, : (height - 1) * down + 1, : (width - 1) * across + 1]
    around = [(own - 1, size - now) for own, size, now in zip(widths, sizes, upstream.shape[1:3], strict=True)]
    return tf.pad(upstream, [(0, 0), *around, (0, 0)])
