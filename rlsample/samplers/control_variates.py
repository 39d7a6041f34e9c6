"""What rebar and relax learn, in a Keras layer that the caller owns."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from rlsample import checks


@keras.saving.register_keras_serializable(package="rlsample")
class ControlVariate(keras.layers.Layer):
    """The learned part of the control variate of `rebar` and `relax`.

        c(z) = scale f(softmax(z / temperature)) + network(z)

    The layer holds factors of the sampler's `scale` and `relaxation_temperature`, which start at 1, and the network.
    Called, it is the network alone. Train it on the sampler's `variance_loss`; the estimates are unbiased whatever
    its weights are.

    Args:
        network: for `relax`, a Keras layer from z, float `[..., K]` or `[..., F, K]`, to values; axes beyond the
            objective's are summed. None means 0.
        **kwargs: as of every Keras layer (`name`, `dtype`, ...).

    Attributes:
        scale: trainable weight, scalar.
        log_temperature: trainable weight, scalar: the temperature is multiplied by its exponential.

    Examples:
        >>> control_variate = samplers.ControlVariate()
        >>> sampler = samplers.create({"name": "rebar", "control_variate": control_variate})
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0]) ** 2
        >>> for scale in (0.0, 0.5, 1.0):
        ...     _ = control_variate.scale.assign(scale)
        ...     loss = sampler.variance_loss(objective, [[0.0, 1.0, 2.0]] * 10_000, seed=(0, 1))
        ...     print(f"{scale}: {loss.numpy():.2f}")
        0.0: 30.96
        0.5: 29.81
        1.0: 43.66
    """

    def __init__(self, network: keras.layers.Layer | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if network is not None and not isinstance(network, keras.layers.Layer):
            raise checks.invalid("network to be a Keras layer or model", network=network)
        self.network = network
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")
        self.log_temperature = self.add_weight(shape=(), initializer="zeros", name="log_temperature")

    def call(self, z: tf.Tensor) -> tf.Tensor:
        """The network's values at z; zeros `[...]` if there is none."""
        return tf.zeros_like(z[..., 0]) if self.network is None else self.network(z)

    def get_config(self) -> dict[str, Any]:
        """Everything needed to make the layer again, without its weights."""
        return {**super().get_config(), "network": keras.saving.serialize_keras_object(self.network)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ControlVariate:
        """Makes the layer from what `get_config` returned."""
        return cls(**{**config, "network": keras.saving.deserialize_keras_object(config["network"])})
