"""A network as a model that is known to fit: it takes the observations, and returns features."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import keras

from rlsample import checks
from rlsample.networks.base import Network, inputs_of


def model_of(network: Network, space: gym.Space) -> keras.Model:
    """Builds a network for observations of a space: a functional model, observations -> features float `[B, D]`.

    Raises:
        ValueError: it cannot be built, does not take the observations, returns something else, or has a memory; says
            which.

    Examples:
        >>> model = networks.model_of(networks.create("mlp"), gym.spaces.Discrete(500))
        >>> model(tf.constant([3, 499])).shape
        TensorShape([2, 64])
    """
    inputs = inputs_of(space)
    model = _without_memory(network, space)
    if _takes(model, inputs):
        model = keras.Model(model.inputs[0], model.outputs[0]) if isinstance(model, keras.Sequential) else model
        _check_features(network, model.output)
        return model
    return keras.Model(inputs, _applied(network, model, inputs))


def recurrent_model_of(network: Network, space: gym.Space) -> keras.Model:
    """Builds a network with a memory: a functional model with the inputs and outputs that `Network.build` says.

    Raises:
        ValueError: it cannot be built, or has no memory.

    Examples:
        >>> model = networks.recurrent_model_of(networks.create("recurrent"), gym.spaces.Discrete(500))
        >>> features, state = model((tf.constant([3, 499]), tf.zeros([2, 64]), tf.ones([1, 2], tf.bool)))
        >>> features.shape
        TensorShape([2, 64])
    """
    if not network.state_size:
        raise checks.invalid("a network with a memory", network=network.name)
    model = _built(network, space)
    _check_features(network, model.output[0])
    return model


def features_of(network: Network, space: gym.Space, inputs: Any) -> Any:
    """The features that a network gives for Keras inputs of a space; errors as of `model_of`."""
    return _applied(network, _without_memory(network, space), inputs)


def with_outputs(model: keras.Model, units: int, gain: float = 1.0) -> keras.Model:
    """A model with a linear layer on its features: observations -> `[B, units]`; with a memory, its states beside.

    Args:
        model: observations -> features.
        units: how many outputs.
        gain: of the layer's orthogonal kernel.

    Examples:
        >>> model = networks.with_outputs(networks.model_of(networks.create("mlp"), gym.spaces.Discrete(500)), units=6)
        >>> model(tf.constant([3, 499])).shape
        TensorShape([2, 6])
    """
    layer = keras.layers.Dense(units, kernel_initializer=keras.initializers.Orthogonal(gain))
    return on_features(model, layer)


def on_features(model: keras.Model, layer: keras.layers.Layer) -> keras.Model:
    """A model with a layer on its features; that of a network with a memory returns its states beside.

    Examples:
        >>> from rlsample.networks.modelling import on_features
        >>> features = networks.model_of(networks.create("mlp"), gym.spaces.Box(-1.0, 1.0, (4,)))
        >>> on_features(features, keras.layers.Dense(2)).output_shape
        (None, 2)
    """
    if isinstance(model.output, (tuple, list)):
        features, states = model.output
        return keras.Model(model.input, (layer(features), states))
    return keras.Model(model.input, layer(model.output))


def _without_memory(network: Network, space: gym.Space) -> keras.Model:
    if network.state_size:
        hint = (
            "A memory stands behind all else: an encoder or a part of a network has none. "
            "rlsample.rollouts.recurrent.policy.policy_for makes a policy that acts with one."
        )
        raise checks.invalid("a network without memory here", network=network.name, hint=hint)
    return _built(network, space)


def _built(network: Network, space: gym.Space) -> keras.Model:
    try:
        model = network.build(space)
    except ValueError:
        raise
    except Exception as error:  # Whatever somebody's own network does.
        text = f"Expected the network {network.name!r} to build for {space}. Received: {type(error).__name__}: {error}"
        raise ValueError(text) from error
    if not isinstance(model, keras.Model):
        raise checks.invalid(f"the network {network.name!r} to build a keras.Model", built=type(model).__name__)
    return model


def _takes(model: keras.Model, inputs: Any) -> bool:
    """Whether a model's own inputs are just these, so that it need not become a layer of another one."""
    if not getattr(model, "inputs", None):
        return False
    own = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    try:
        same = keras.tree.map_structure(lambda one, two: (one.shape, one.dtype) == (two.shape, two.dtype), own, inputs)
    except (TypeError, ValueError):
        return False
    return all(keras.tree.flatten(same))


def _applied(network: Network, model: keras.Model, inputs: Any) -> Any:
    try:
        features = model(inputs)
    except Exception as error:  # Keras has many kinds of them for this.
        shapes = keras.tree.map_structure(lambda each: f"{each.dtype}{list(each.shape)}", inputs)
        rule = f"Expected the network {network.name!r} to take the observations, {shapes}."
        raise ValueError(f"{rule} Received: {type(error).__name__}: {error}") from error
    _check_features(network, features)
    return features


def _check_features(network: Network, features: Any) -> None:
    single = isinstance(features, keras.KerasTensor)
    if single and len(features.shape) == 2 and features.shape[-1] is not None and "float" in str(features.dtype):
        return
    received = (
        {"shape": tuple(features.shape), "dtype": features.dtype} if single else {"outputs": type(features).__name__}
    )
    rule = f"the network {network.name!r} to return features, floats [B, D]"
    raise checks.invalid(rule, hint="Flatten them: keras.layers.Flatten().", **received)
