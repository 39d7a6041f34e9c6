"""Keras layers that are useful outside of a policy head."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from rlsample import checks
from rlsample.ops import surrogate


@keras.saving.register_keras_serializable(package="rlsample")
class SurrogateGradient(keras.layers.Layer):
    """A layer with the output of one layer and the gradient of another.

        forward   forward_layer(inputs)
        backward  the gradient of backward_layer(inputs), at the same inputs

    `ops.surrogate_gradient` for a model that is to be saved. Both layers run in every forward pass, on the same
    inputs and in the same training mode, and must agree in the shape of their output. Weights that only
    `forward_layer` has receive no gradient and stay as they are; set `forward_layer.trainable = False` to spare Keras
    the warning. Weights that the two share are trained through `backward_layer`; such a layer cannot be saved.

    Args:
        forward_layer: a Keras layer or model, called as `forward_layer(inputs)`.
        backward_layer: a Keras layer or model of the same output shape.
        **kwargs: as of every Keras layer (`name`, `dtype`, ...).

    Raises:
        ValueError: one of the two is not a Keras layer; when built, their outputs differ in shape.

    Examples:
        >>> hard = keras.layers.Lambda(tf.sign)
        >>> layer = layers.SurrogateGradient(hard, keras.layers.Activation("tanh"))
        >>> x = tf.Variable([[0.2, -2.7]])
        >>> with tf.GradientTape() as tape:
        ...     y = layer(x)
        >>> print(y.numpy(), tape.gradient(y, x).numpy())
        [[ 1. -1.]] [[0.961 0.018]]
    """

    def __init__(self, forward_layer: keras.layers.Layer, backward_layer: keras.layers.Layer, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, layer in (("forward_layer", forward_layer), ("backward_layer", backward_layer)):
            if not isinstance(layer, keras.layers.Layer):
                received: dict[str, Any] = {name: layer}
                raise checks.invalid(
                    f"{name} to be a Keras layer", hint="For functions use ops.surrogate_gradient.", **received
                )
        self.forward_layer = forward_layer
        self.backward_layer = backward_layer
        self.supports_masking = forward_layer.supports_masking and backward_layer.supports_masking

    def build(self, input_shape: Any) -> None:
        """Builds both layers."""
        for layer in (self.forward_layer, self.backward_layer):
            if layer.built:
                continue
            if type(layer).build is keras.layers.Layer.build:
                # A composite layer that leaves building to its first call: make that call, symbolically.
                layer(keras.tree.map_shape_structure(lambda shape: keras.KerasTensor(shape), input_shape))
            else:
                layer.build(input_shape)
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Output of the forward layer, gradient of the backward layer."""
        return surrogate.surrogate_gradient(self.forward_layer, self.backward_layer)(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shape of the forward layer's output."""
        return self.forward_layer.compute_output_shape(input_shape)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Symbolic output of the forward layer, once it agrees with the backward layer's."""
        spec = self.forward_layer.compute_output_spec(*args, **kwargs)
        other = self.backward_layer.compute_output_spec(*args, **kwargs)
        shapes, others = (keras.tree.map_structure(lambda s: tuple(s.shape), each) for each in (spec, other))
        pairs = zip(keras.tree.flatten(spec), keras.tree.flatten(other), strict=False)
        same = all(tf.TensorShape(one.shape).is_compatible_with(two.shape) for one, two in pairs)
        if not same or len(keras.tree.flatten(spec)) != len(keras.tree.flatten(other)):
            raise checks.invalid(
                "forward_layer and backward_layer to have outputs of the same shape", forward=shapes, backward=others
            )
        return spec

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Mask of the forward layer's output."""
        return self.forward_layer.compute_mask(inputs, previous_mask)

    def get_config(self) -> dict[str, Any]:
        """Everything needed to make the layer again, without its weights.

        Raises:
            ValueError: the two layers share weights. Keras writes those once and makes them twice when it loads.
        """
        ours = {id(variable) for variable in self.backward_layer.variables}
        shared = [variable.path for variable in self.forward_layer.variables if id(variable) in ours]
        if shared:
            raise checks.invalid(
                "forward_layer and backward_layer to share no weights when they are saved",
                shared=shared,
                hint="Put what they share in front of this layer, or save the weights alone.",
            )
        return {
            **super().get_config(),
            "forward_layer": keras.saving.serialize_keras_object(self.forward_layer),
            "backward_layer": keras.saving.serialize_keras_object(self.backward_layer),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SurrogateGradient:
        """Makes the layer from what `get_config` returned."""
        layers = {
            name: keras.saving.deserialize_keras_object(config[name]) for name in ("forward_layer", "backward_layer")
        }
        return cls(**{**config, **layers})
