"""RELAX: REBAR whose control variate has a learned network."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, final

import keras
import tensorflow as tf

from rlsample import checks
from rlsample.samplers.control_variates import ControlVariate
from rlsample.samplers.objectives import joint
from rlsample.samplers.relaxed_control_variate import RelaxedControlVariate, no_network

# Where the perturbed log-probabilities that a network sees are cut off: no category this far below is ever drawn.
LOWEST_INPUT = -20.0


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class RELAX(RelaxedControlVariate):
    """The score function with the control variate c(z) = network(z) + eta f(softmax(z / lambda)).

        noise, forward, backward as of `rebar`

    Unbiased whatever the network. With `scale=0` the objective is evaluated at one-hots only, once a draw, and may be a
    black box: the network learns all there is. Otherwise the objective must be differentiable, as `rebar` says. The
    network is the caller's, sees z cut off below at -20, and must be continuous with its true derivative; it learns
    from `variance_loss`, as shown at `rebar`. Without one this is `rebar` with the same options.

    Attributes:
        scale: eta; 0 for a black-box objective.
        relaxation_temperature: lambda; multiplied by the `temperature` of a call.
        control_variate: a Keras layer or model from z, float `[..., K]` or `[..., F, K]`, to values (axes beyond those
            of the objective's values are summed), or a `ControlVariate` around one, which learns factors of eta and
            lambda as well.

    Source: Grathwohl, Choi, Wu, Roeder and Duvenaud (2018), "Backpropagation through the void", arXiv 1711.00123.

    Examples:
        >>> network = keras.layers.Lambda(lambda z: tf.linalg.matvec(tf.nn.softmax(z), [1.0, 0.0, 16.0]))
        >>> sampler = samplers.create({"name": "relax", "scale": 0.0, "control_variate": network})
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0]) ** 2
        >>> logits = tf.Variable([[0.0, 1.0, 2.0]] * 10_000)
        >>> with tf.GradientTape() as tape:
        ...     value = sampler.expectation(objective, logits, seed=(0, 1))
        >>> estimates = tape.gradient(value, logits).numpy()
        >>> print(estimates.mean(0), estimates.std(0))  # the exact gradient is [-0.876 -2.627 3.503]
        [-0.869 -2.621  3.49 ] [1.62  2.179 1.74 ]
    """

    name: ClassVar[str] = "relax"
    family: ClassVar[str] = "score function"
    unbiased: ClassVar[str] = "always"

    def _check_control_variate(self) -> None:
        if self.control_variate is not None and not isinstance(self.control_variate, keras.layers.Layer):
            raise checks.invalid("control_variate to be a Keras layer or model", control_variate=self.control_variate)

    def _network(self, z: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        learned = self.control_variate
        if learned is None or (isinstance(learned, ControlVariate) and learned.network is None):
            return no_network(z, values)
        output = tf.cast(learned(tf.where(z < LOWEST_INPUT, tf.constant(LOWEST_INPUT, z.dtype), z)), z.dtype)
        rank = values.shape.rank
        if output.shape.rank is None or not output.shape[:rank].is_compatible_with(values.shape):
            raise checks.invalid(
                f"the control variate to return values whose leading axes are the objective's, {values.shape}",
                values_shape=tuple(output.shape),
            )
        return joint(output, values)
