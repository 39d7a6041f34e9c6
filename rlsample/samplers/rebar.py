"""REBAR: the score function with a Gumbel-softmax relaxation of the objective as its control variate."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, final

import tensorflow as tf

from rlsample import checks
from rlsample.samplers.control_variates import ControlVariate
from rlsample.samplers.relaxed_control_variate import RelaxedControlVariate, no_network


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class REBAR(RelaxedControlVariate):
    """The score function with the control variate c(z) = eta f(softmax(z / lambda)), whose mean is added back pathwise.

        noise     z = log p + G, D = one_hot(argmax z), z~ ~ (z | D) with noise of its own
        forward   `expectation` is f(D); a call draws as `categorical` does
        backward  (f(D) - c(z~)) (D - p) + dc(z)/dlogits - dc(z~)/dlogits, derivatives taken through z and z~

    Unbiased for every eta and lambda. Costs three evaluations of the objective, which must be differentiable at
    relaxed one-hots, by its true derivative: no rounding and no straight-through inside. Untuned it can be noisier than
    `score_function`; its gain comes from learning eta and lambda. For that, pass a `ControlVariate` and train it

        control_variate = samplers.ControlVariate()
        sampler = samplers.create({"name": "rebar", "control_variate": control_variate})
        with tf.GradientTape() as tape:
            loss = sampler.variance_loss(objective, logits, seed)
        variables = control_variate.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)

    beside the policy, with the same seed (both then see the same draw) or another. Gradients to what the objective
    closes over are those of f(D).

    Attributes:
        scale: eta; 0 leaves the control variate out.
        relaxation_temperature: lambda. The `temperature` of a call multiplies it, so that a schedule anneals the
            relaxation; the estimate is unbiased whatever it is.
        control_variate: a `ControlVariate`, which learns factors of both. The caller owns and saves it; `to_config`
            refuses to forget it.

    Source: Tucker, Mnih, Maddison, Lawson and Sohl-Dickstein (2017), "REBAR: low-variance, unbiased gradient estimates
    for discrete latent variable models", arXiv 1703.07370; the categorical noise as in Grathwohl et al. (2018), arXiv
    1711.00123.

    Examples:
        >>> sampler = samplers.create("rebar")
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0]) ** 2
        >>> logits = tf.Variable([[0.0, 1.0, 2.0]] * 10_000)
        >>> with tf.GradientTape() as tape:
        ...     value = sampler.expectation(objective, logits, seed=(0, 1))
        >>> estimates = tape.gradient(value, logits).numpy()
        >>> print(estimates.mean(0), estimates.std(0))  # the exact gradient is [-0.876 -2.627 3.503]
        [-0.886 -2.579  3.465] [1.88  3.105 3.322]
    """

    name: ClassVar[str] = "rebar"
    family: ClassVar[str] = "score function"
    unbiased: ClassVar[str] = "always"

    def _check_control_variate(self) -> None:
        learned = self.control_variate
        if learned is not None and not (isinstance(learned, ControlVariate) and learned.network is None):
            hint = "The sampler relax takes a network."
            raise checks.invalid("a ControlVariate without a network, or None", control_variate=learned, hint=hint)

    def _network(self, z: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        return no_network(z, values)
