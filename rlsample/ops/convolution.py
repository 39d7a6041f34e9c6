"""Convolution whose gradient is quick inside of compiled loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from rlsample import checks
from rlsample.types import TensorLike


def convolution(
    inputs: TensorLike, kernel: TensorLike, strides: int | tuple[int, int] = 1, padding: str = "valid"
) -> tf.Tensor:
    """A two-dimensional convolution: `tf.nn.conv2d`, with a gradient of matrix products.

        y[b, i, j] = sum over (a, c) of x[b, s i + a, s j + c] W[a, c]

    A step of s pixels is one of a cell of s x s pixels, whose channels are the cell's, so that all strides are 1.
    Backward, the kernel's gradient is one product of the patches of x and the upstream gradient; that of x is a
    convolution of the upstream gradient with the kernel turned round. XLA's own convolutions are some eight times
    slower inside of a loop on the CPU than outside, and compiled training is a loop: there everything is products of
    patches. Differentiable any number of times.

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
    return _valid(inputs, kernel, pair)


def _around(size: int, width: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis, such that the kernel has ceil(size / stride) positions."""
    missing = max((-(-size // stride) - 1) * stride + width - size, 0)
    return missing // 2, missing - missing // 2


def _valid(inputs: tf.Tensor, kernel: tf.Tensor, strides: tuple[int, int]) -> tf.Tensor:
    """One without padding. Steps of s are steps of 1 over cells of s x s pixels, whose patches are in fewer pieces."""
    if strides != (1, 1):
        counts = [(size - own) // s for size, own, s in zip(inputs.shape[1:3], kernel.shape[:2], strides, strict=True)]
        own = [-(-width // stride) for width, stride in zip(kernel.shape[:2], strides, strict=True)]
        inputs = _cells(inputs[..., None], [count + width for count, width in zip(counts, own, strict=True)], strides)
        inputs, kernel = inputs[..., 0], _cells(kernel[None], own, strides)[0]
    return _step_by_step(inputs, kernel)


def _cells(pixels: tf.Tensor, counts: Sequence[int], sizes: tuple[int, int]) -> tf.Tensor:
    """`[B, H, W, C, O]` -> `[B, counts, sizes * C, O]`: zeros are added behind, or what is too much is left out."""
    (down, across), (height, width), (channels, outputs) = counts, sizes, pixels.shape[3:]
    pixels = pixels[:, : down * height, : across * width]
    missing = down * height - pixels.shape[1], across * width - pixels.shape[2]
    if any(missing):
        pixels = tf.pad(pixels, [(0, 0), (0, missing[0]), (0, missing[1]), (0, 0), (0, 0)])
    apart = tf.reshape(pixels, [-1, down, height, across, width, channels, outputs])
    return tf.reshape(
        tf.transpose(apart, [0, 1, 3, 2, 4, 5, 6]), [-1, down, across, height * width * channels, outputs]
    )


@tf.custom_gradient
def _step_by_step(inputs: tf.Tensor, kernel: tf.Tensor) -> Any:
    height, width, _, outputs = kernel.shape
    rows = _patches(inputs, height, width)

    def backward(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        flat = tf.reshape(upstream, [-1, outputs])
        by_kernel = tf.matmul(tf.reshape(rows, [-1, rows.shape[-1]]), flat, transpose_a=True)
        around = tf.pad(upstream, [(0, 0), (height - 1, height - 1), (width - 1, width - 1), (0, 0)])
        turned = tf.transpose(kernel[::-1, ::-1], [0, 1, 3, 2])
        by_inputs = _product(_patches(around, height, width), turned)
        return by_inputs, tf.reshape(by_kernel, kernel.shape)

    return _product(rows, kernel), backward


def _patches(inputs: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """What lies below the kernel at each position: `[B, H', W', h * w * C]`."""
    down, across = inputs.shape[1] - height + 1, inputs.shape[2] - width + 1
    return tf.concat([inputs[:, i : i + down, j : j + across] for i in range(height) for j in range(width)], -1)


def _product(patches: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    channels = kernel.shape[-1]
    rows = tf.matmul(tf.reshape(patches, [-1, patches.shape[-1]]), tf.reshape(kernel, [-1, channels]))
    return tf.reshape(rows, [-1, *patches.shape[1:3], channels])
