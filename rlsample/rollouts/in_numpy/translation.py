"""A Keras model as the arithmetic of a `NumpyNetwork`, with the weights as they are now."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from rlsample import checks
from rlsample.heads import FactoredHead
from rlsample.networks.grid import Cells
from rlsample.networks.recurrent_layers import OverSteps
from rlsample.rollouts.in_numpy.layers import ACTIVATIONS
from rlsample.rollouts.in_numpy.network import Layer, NumpyNetwork


class NotInNumPy(ValueError):  # noqa: N818 (nothing went wrong)
    """A network that only Keras computes; the message says why.

    Examples:
        >>> from rlsample.rollouts.in_numpy.translation import NotInNumPy, translated
        >>> try:
        ...     translated(keras.Sequential([keras.Input((3,)), keras.layers.GaussianNoise(1.0)]), event_shape=(3,))
        ... except NotInNumPy as error:
        ...     "GaussianNoise" in str(error)
        True
    """


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where a value of a network is."""

    index: int


class _Part(NamedTuple):
    """What a layer of Keras is computed by: as of `Layer`."""

    function: str
    weights: list[Any]
    options: dict[str, Any]


def translated(model: keras.Model, event_shape: tuple[int, ...], state_size: int = 0) -> NumpyNetwork:
    """The arithmetic of a functional model whose layers are all known here.

    Args:
        model: observations -> logits; with a memory what `Network.build` says.
        event_shape: of the logits of one observation.
        state_size: numbers that the network remembers.

    Raises:
        NotInNumPy: a layer that is not computed in NumPy, which is named.
        ValueError: NaN or inf among the weights.

    Examples:
        >>> from rlsample.rollouts.in_numpy.translation import translated
        >>> model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten()])
        >>> network, image = translated(model, event_shape=(32,)), np.ones([1, 6, 6, 1], np.float32)
        >>> bool(np.allclose(network.logits(image), model(image), atol=1e-5))
        True
    """
    layers: list[Layer] = []
    graph: Any = _graph(model)
    count = len(graph.inputs)

    def record(operation: Any, *arguments: Any, **options: Any) -> Any:
        inner = _graph(operation)
        if inner is not None:
            return inner._run_through_graph(arguments[0], call_fn=record)
        read = keras.tree.flatten([arguments, [each for each in options.values() if isinstance(each, _Place)]])
        for part in _parts(operation):
            if not all(isinstance(each, _Place) for each in read):
                raise _unknown(operation)
            places = tuple(each.index for each in read)
            weights = [np.asarray(each) for each in part.weights]
            layers.append(Layer(part.function, places, weights, _plain(part.options)))
            read = [_Place(count + len(layers) - 1)]
        return read[0]

    outputs = graph._run_through_graph([_Place(index) for index in range(count)], call_fn=record)
    places = tuple(place.index for place in keras.tree.flatten(outputs))
    return NumpyNetwork(layers, count, places, event_shape, state_size)


def multiplications(model: keras.Model) -> int:
    """How many the convolutions of a model take for one row.

    Examples:
        >>> from rlsample.rollouts.in_numpy.translation import multiplications
        >>> multiplications(keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Conv2D(2, 3)]))
        288
    """
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Conv2D)]
    known = [layer for layer in layers if getattr(layer, "output", None) is not None]  # Not inside of an own layer.
    return sum(math.prod([*layer.output.shape[1:3], *layer.kernel.shape]) for layer in known)


def _graph(operation: Any) -> Any:
    """The graph of a functional or sequential model; None for what is a layer."""
    inner = getattr(operation, "_functional", operation)
    if hasattr(inner, "_run_through_graph"):
        return inner
    if isinstance(operation, keras.Model):
        raise _unknown(operation)
    return None


def _unknown(operation: Any) -> NotInNumPy:
    known = ", ".join(sorted(KNOWN))
    kind = type(operation).__name__
    return _refused(f"layers that are computed in NumPy ({known})", layer=kind, name=operation.name)


def _refused(rule: str, **received: Any) -> NotInNumPy:
    return NotInNumPy(str(checks.invalid(rule, **received)))


def _parts(operation: Any) -> list[_Part]:
    """What a layer is computed by: one part, or more, one after the other."""
    kind = type(operation)
    name = kind.__name__.removeprefix("_")
    made = KNOWN.get(name)
    if made is None or not kind.__module__.startswith(("keras.", f"{__package__.split('.')[0]}.")):
        raise _unknown(operation)
    parts = made(operation)
    for part in parts:
        if part.options.get("activation", "linear") not in ACTIVATIONS:
            raise _refused(
                f"an activation among {', '.join(ACTIVATIONS)}, for NumPy",
                activation=part.options["activation"],
                layer=operation.name,
            )
    return parts


def _name(activation: Any) -> str:
    """Keras's name of an activation; of one that is not Keras's own, one that no activation here has."""
    name = getattr(activation, "__name__", type(activation).__name__)
    return name if getattr(keras.activations, name, None) is activation else f"{name} of your own"


def _dense(layer: Any) -> list[_Part]:
    weights = [layer.kernel, layer.bias] if layer.use_bias else [layer.kernel]
    return [_Part("dense", weights, {"activation": _name(layer.activation)})]


def _convolution(layer: Any) -> list[_Part]:
    plain = layer.data_format == "channels_last" and layer.groups == 1 and set(layer.dilation_rate) == {1}
    if not plain or layer.padding not in ("valid", "same"):
        raise _refused("convolutions with channels last, one group and no dilation, for NumPy", layer=layer.name)
    weights = [layer.kernel, layer.bias] if layer.use_bias else [layer.kernel]
    options = {"strides": tuple(layer.strides), "padding": layer.padding, "activation": _name(layer.activation)}
    return [_Part("convolution", weights, options)]


def _head(head: FactoredHead) -> list[_Part]:
    if head.parameterisation != "softmax" or head.unimix or head.logit_clip is not None:
        raise _refused("a head whose logits are those of its last layer, for NumPy", head=head.name)
    return [part for layer in (*head._hidden, head._output) for part in _dense(layer)]


def _layer_normalization(layer: Any) -> list[_Part]:
    if layer.axis not in (-1, [-1], (-1,)) or layer.rms_scaling or layer.gamma is None or layer.beta is None:
        raise _refused("a normalisation over the last axis, with centre and scale, for NumPy", layer=layer.name)
    return [_Part("layer_normalization", [layer.gamma, layer.beta], {"epsilon": layer.epsilon})]


def _cells(layer: Cells) -> list[_Part]:
    return [_Part("cells", [] if layer.embedding_size is None else [layer.table], {"sizes": layer.sizes})]


def _over_steps(function: str) -> Callable[[OverSteps], list[_Part]]:
    def parts(layer: OverSteps) -> list[_Part]:
        return [_Part(function, [layer.cell.kernel, layer.cell.recurrent_kernel, layer.cell.bias], {})]

    return parts


def _plain(value: Any) -> Any:
    """Dicts and lists as Python's own: those that Keras makes of a layer's attributes cannot be sent to a process."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _rescaling(layer: Any) -> list[_Part]:
    return [_Part("rescaling", [], {"scale": layer.scale, "offset": layer.offset})]


def _mean(operation: Any) -> list[_Part]:
    axis = operation.axis if isinstance(operation.axis, int) else tuple(operation.axis or ())
    return [_Part("mean", [], {"axis": axis, "keepdims": operation.keepdims})]


def _simple(function: str, **options: Callable[[Any], Any]) -> Callable[[Any], list[_Part]]:
    return lambda layer: [_Part(function, [], {name: of(layer) for name, of in options.items()})]


KNOWN: dict[str, Callable[[Any], list[_Part]]] = {
    "Activation": _simple("activation", activation=lambda layer: _name(layer.activation)),
    "Add": _simple("add"),
    "CategoricalHead": _head,
    "Cells": _cells,
    "Concatenate": _simple("concatenate", axis=lambda layer: layer.axis),
    "Conv2D": _convolution,
    "Dense": _dense,
    "Dropout": _simple("identity"),
    "FactoredHead": _head,
    "FirstColumns": _simple("first_columns", number=lambda layer: layer.number),
    "Flatten": _simple("reshape", shape=lambda layer: (-1,)),
    "Flattening": _simple("flattening", parts=lambda layer: layer.parts),
    "LayerNormalization": _layer_normalization,
    "LongShortTermMemory": _over_steps("long_short_term_memory"),
    "Mean": _mean,
    "Permute": _simple("permute", axes=lambda layer: tuple(layer.dims)),
    "Recurrence": _over_steps("recurrence"),
    "Rescaling": _rescaling,
    "Reshape": _simple("reshape", shape=lambda layer: tuple(layer.target_shape)),
    "Subtract": _simple("subtract"),
}
"""What is made of a layer, or of an operation of `keras.ops`, by the name of its class."""
