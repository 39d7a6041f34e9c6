"""Perturbed argmax: the Jacobian of the smoothed maximiser, estimated from perturbed maximisers alone."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import ClassVar, final

import tensorflow as tf

from rlsample import checks, ops
from rlsample.ops.softmax import ILLEGAL
from rlsample.samplers.base import Sampler
from rlsample.samplers.gumbel_softmax import first_maximum
from rlsample.samplers.inverse_cdf import draw_one_hot


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class PerturbedArgmax(Sampler):
    """A hard draw with a Monte-Carlo estimate of the gradient of the perturbed maximiser.

        forward   D ~ softmax(logits), one-hot, whatever the temperature
        backward  (1 / tau) mean over m of (g[a_m] - <p_tau, g>) (1 - exp(-Z_m)), with Z_m Gumbel noise of its own,
                  a_m = argmax(logits + tau Z_m), p_tau = softmax(logits / tau); then the mean over legal categories
                  is taken off

    E[argmax(logits + tau Z)] is p_tau, so the mean of this gradient is that of `straight_through`, with its bias and
    limits; it is the same product with the Jacobian, estimated without differentiating anything. For categories that
    is a detour (the closed form has no noise); it is here as the case of the general method that can be checked. The
    baseline <p_tau, g> and the centring keep the mean: the first makes a constant added to g drop out, the second
    makes the gradient sum to 0, and both lower the variance, which goes as 1 / (num_samples tau^2).

    Attributes:
        num_samples: how many perturbations are averaged.

    Source: Berthet, Blondel, Teboul, Cuturi, Vert and Bach (2020), "Learning with differentiable perturbed
    optimizers", arXiv 2002.08676, section 3.

    Examples:
        >>> sampler = samplers.create({"name": "perturbed_argmax", "num_samples": 10})
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0]) ** 2
        >>> logits = tf.Variable([[0.0, 1.0, 2.0]] * 10_000)
        >>> with tf.GradientTape() as tape:
        ...     value = sampler.expectation(objective, logits, seed=(0, 1))
        >>> estimates = tape.gradient(value, logits).numpy()
        >>> print(estimates.mean(0), estimates.std(0))  # the exact gradient is [-0.876 -2.627 3.503]
        [-0.873 -3.685  4.558] [3.028 3.674 4.214]
    """

    name: ClassVar[str] = "perturbed_argmax"
    family: ClassVar[str] = "straight-through"
    unbiased: ClassVar[str] = "linear at temperature 1"

    num_samples: int = 10

    def __post_init__(self) -> None:
        checks.check_count("num_samples", self.num_samples)

    def draw(self, logits: tf.Tensor, seed: tf.Tensor, temperature: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Sampler.draw`."""
        action, one_hot = draw_one_hot(ops.normalise(logits), seed)
        temperature = tf.ones([], logits.dtype) if temperature is None else temperature
        return action, _perturbed(self.num_samples)(one_hot, logits, temperature, seed)


@functools.cache
def _perturbed(num_samples: int) -> Callable[..., tf.Tensor]:
    # Tensors that the backward pass needs are arguments: one closed over would be searched for variables.
    @tf.custom_gradient
    def forward(
        one_hot: tf.Tensor, logits: tf.Tensor, temperature: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, Callable]:
        def backward(upstream: tf.Tensor) -> tuple[None, tf.Tensor, tf.Tensor, None]:
            to_logits = _perturbed_vjp(logits, temperature, seed, upstream, num_samples)
            to_temperature = -tf.reduce_sum(to_logits * ops.temper(logits, temperature), -1, keepdims=True)
            if temperature.shape.rank == 0:
                to_temperature = tf.reduce_sum(to_temperature)
            return None, to_logits, to_temperature, None

        return one_hot, backward

    return forward


def _perturbed_vjp(
    logits: tf.Tensor, temperature: tf.Tensor, seed: tf.Tensor, upstream: tf.Tensor, num_samples: int
) -> tf.Tensor:
    baseline = tf.reduce_sum(ops.tempered_softmax(logits, temperature) * upstream, -1, keepdims=True)
    advantage = upstream - baseline

    def add_sample(index: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        exponential = tf.cast(ops.exponential(tf.shape(logits), ops.fold_in(seed, index)), logits.dtype)
        winner = first_maximum(logits - temperature * tf.math.log(exponential))
        chosen = tf.one_hot(winner, tf.shape(logits)[-1], dtype=logits.dtype)
        return index + 1, total + tf.reduce_sum(chosen * advantage, -1, keepdims=True) * (1 - exponential)

    _, total = tf.while_loop(
        lambda index, _: index < num_samples,
        add_sample,
        (tf.constant(0), tf.zeros_like(logits)),
        maximum_iterations=num_samples,
    )
    legal = tf.cast(logits > ILLEGAL, logits.dtype)
    mean = tf.reduce_sum(legal * total, -1, keepdims=True) / tf.reduce_sum(legal, -1, keepdims=True)
    return legal * (total - mean) / (num_samples * temperature)
