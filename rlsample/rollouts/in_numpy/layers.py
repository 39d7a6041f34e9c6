"""What the layers of networks compute, in NumPy alone: needs no TensorFlow where it is done.

Each function takes the layer's inputs, its weights and its options, and is known by its name in `FUNCTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rlsample.spaces import features

Array = np.ndarray
Function = Callable[[Sequence[Array], Sequence[Array], dict[str, Any]], Array]
"""(inputs, weights, options) -> output."""

SELU = 1.0507009873554805, 1.6732632423543772


def sigmoid(values: Array) -> Array:
    """1 / (1 + exp(-x)), which overflows nowhere.

    Examples:
        >>> from rlsample.rollouts.in_numpy.layers import sigmoid
        >>> sigmoid(np.array([-1e4, 0.0, 1e4]))
        array([0. , 0.5, 1. ])
    """
    return 0.5 * (1 + np.tanh(0.5 * values))


def _exponential(values: Array) -> Array:
    return np.expm1(np.minimum(values, 0))


def _gelu(values: Array) -> Array:
    from scipy.special import erf  # Loaded where somebody asks for it.

    return (0.5 * values * (1 + erf(values * 0.5**0.5))).astype(values.dtype)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "elu": lambda values: np.where(values > 0, values, _exponential(values)),
    "gelu": _gelu,
    "leaky_relu": lambda values: np.maximum(values, 0.2 * values),
    "linear": lambda values: values,
    "relu": lambda values: np.maximum(values, 0),
    "selu": lambda values: SELU[0] * np.where(values > 0, values, SELU[1] * _exponential(values)),
    "sigmoid": sigmoid,
    "silu": lambda values: values * sigmoid(values),
    "softplus": lambda values: np.logaddexp(values, values.dtype.type(0)),
    "tanh": np.tanh,
}
"""Those that are computed here, by their Keras names and with Keras's defaults."""


def _dense(inputs: Sequence[Array], weights: Sequence[Array], options: dict[str, Any]) -> Array:
    values = inputs[0] @ weights[0]
    return ACTIVATIONS[options["activation"]](values + weights[1] if len(weights) > 1 else values)


def _convolution(inputs: Sequence[Array], weights: Sequence[Array], options: dict[str, Any]) -> Array:
    """`[B, H, W, C]`, kernel `[h, w, C, O]` -> `[B, H', W', O]`: one product of the patches below the kernel."""
    image, (kernel, *bias), (down, across) = inputs[0], weights, options["strides"]
    height, width, channels, outputs = kernel.shape
    if options["padding"] == "same":
        sides = zip(image.shape[1:3], (height, width), (down, across), strict=True)
        image = np.pad(image, [(0, 0), *(_around(*side) for side in sides), (0, 0)])
    image = np.ascontiguousarray(image)
    rows, columns = (image.shape[1] - height) // down + 1, (image.shape[2] - width) // across + 1
    of_image, of_row, of_pixel, of_channel = image.strides
    # Of each row below the kernel all pixels at once, as they lie in memory.
    patches = np.lib.stride_tricks.as_strided(
        image,
        (len(image), rows, columns, height, width * channels),
        (of_image, down * of_row, across * of_pixel, of_row, of_channel),
    )
    values = patches.reshape(len(image) * rows * columns, -1) @ kernel.reshape(-1, outputs)
    values = values + bias[0] if bias else values
    return ACTIVATIONS[options["activation"]](values).reshape(len(image), rows, columns, outputs)


def _around(size: int, width: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis, such that the kernel has ceil(size / stride) positions."""
    missing = max((-(-size // stride) - 1) * stride + width - size, 0)
    return missing // 2, missing - missing // 2


def _cells(inputs: Sequence[Array], weights: Sequence[Array], options: dict[str, Any]) -> Array:
    """Categories `[B, H, W, C]` -> planes, or sums of learned vectors; see `networks.grid.Cells`."""
    cells, sizes = inputs[0].astype(np.int32), options["sizes"]
    if weights:
        return weights[0][cells + np.cumsum([0, *sizes[:-1]], dtype=np.int32)].sum(-2)
    hot = [cells[..., [channel]] == np.arange(size) for channel, size in enumerate(sizes)]
    return np.concatenate(hot, -1, dtype=np.float32)


def _recurrence(inputs: Sequence[Array], weights: Sequence[Array], options: dict[str, Any]) -> Array:
    """One step of a gated recurrent unit from its state `[B, H]`; see `ops.gated_recurrence`."""
    values, state = inputs[:2]
    kernel, recurrent_kernel, bias = weights
    update, reset, candidate = np.split(values @ kernel + bias[0], 3, -1)
    update_again, reset_again, candidate_again = np.split(state @ recurrent_kernel + bias[1], 3, -1)
    update = sigmoid(update + update_again)
    new = np.tanh(candidate + sigmoid(reset + reset_again) * candidate_again)
    return update * state + (1 - update) * new


def _long_short_term_memory(inputs: Sequence[Array], weights: Sequence[Array], options: dict[str, Any]) -> Array:
    """One step of a long short-term memory, its states side by side `[B, 2 H]`; see `ops.long_short_term_memory`."""
    values, state = inputs[:2]
    kernel, recurrent_kernel, bias = weights
    hidden, cell = np.split(state, 2, -1)
    enter, keep, new, show = np.split(values @ kernel + bias + hidden @ recurrent_kernel, 4, -1)
    after = sigmoid(keep) * cell + sigmoid(enter) * np.tanh(new)
    return np.concatenate([sigmoid(show) * np.tanh(after), after], -1)


def _layer_normalization(inputs: Sequence[Array], weights: Sequence[Array], options: dict[str, Any]) -> Array:
    centred = inputs[0] - inputs[0].mean(-1, keepdims=True)
    deviation = np.sqrt(np.square(centred).mean(-1, keepdims=True) + options["epsilon"])
    return centred / deviation * weights[0] + weights[1]


FUNCTIONS: dict[str, Function] = {
    "activation": lambda inputs, weights, options: ACTIVATIONS[options["activation"]](inputs[0]),
    "add": lambda inputs, weights, options: sum(inputs[1:], inputs[0]),
    "cells": _cells,
    "concatenate": lambda inputs, weights, options: np.concatenate(inputs, options["axis"]),
    "convolution": _convolution,
    "dense": _dense,
    "first_columns": lambda inputs, weights, options: inputs[0][:, : options["number"]],
    "flattening": lambda inputs, weights, options: features.flat(options["parts"], list(inputs)),
    "identity": lambda inputs, weights, options: inputs[0],
    "layer_normalization": _layer_normalization,
    "long_short_term_memory": _long_short_term_memory,
    "mean": lambda inputs, weights, options: inputs[0].mean(options["axis"], keepdims=options["keepdims"]),
    "permute": lambda inputs, weights, options: inputs[0].transpose(0, *options["axes"]),
    "recurrence": _recurrence,
    "rescaling": lambda inputs, weights, options: (
        inputs[0].astype(np.float32) * np.float32(options["scale"]) + np.float32(options["offset"])
    ),
    "reshape": lambda inputs, weights, options: inputs[0].reshape(len(inputs[0]), *options["shape"]),
    "subtract": lambda inputs, weights, options: inputs[0] - inputs[1],
}
"""What is computed here, by name."""
