"""Convolutions of Keras, computed by `ops.convolution` inside of compiled training."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from rlsample import ops


@contextlib.contextmanager
def quick_convolutions(model: keras.Model) -> Iterator[None]:
    """While it is open, the model's two-dimensional convolutions have the gradient that is quick in loops on a CPU.

    The layers stay what they are, for all who save, load or export them. Those with groups, dilations or channels first
    compute as ever; so do all where there is a GPU, whose own convolutions are quick.

    Args:
        model: whose layers compute, those of models inside of it too.

    Examples:
        >>> from rlsample.networks.quick_convolutions import quick_convolutions
        >>> model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 3)])
        >>> with quick_convolutions(model):
        ...     print(model(tf.ones([1, 4, 4, 1])).shape)
        (1, 2, 2, 2)
    """
    layers = [layer for layer in model._flatten_layers() if _is_plain(layer)]
    if tf.config.list_physical_devices("GPU"):
        layers = []
    for layer in layers:
        # In front of the method, and past Keras's bookkeeping of attributes: the layer itself does not change.
        layer.__dict__["convolution_op"] = _convolution_of(layer)
    try:
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("convolution_op", None)


def _is_plain(layer: keras.layers.Layer) -> bool:
    return (
        type(layer) is keras.layers.Conv2D
        and layer.data_format == "channels_last"
        and layer.groups == 1
        and set(layer.dilation_rate) == {1}
        and layer.padding in ("valid", "same")
    )


def _convolution_of(layer: keras.layers.Conv2D) -> Callable[[Any, Any], tf.Tensor]:
    return lambda inputs, kernel: ops.convolution(inputs, kernel, layer.strides, layer.padding)
