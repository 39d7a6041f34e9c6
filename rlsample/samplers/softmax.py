"""The probabilities themselves as the action: no noise, the expected value."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, final

import tensorflow as tf

from rlsample import ops
from rlsample.samplers.base import Sampler
from rlsample.samplers.inverse_cdf import draw_category


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class Softmax(Sampler):
    """A deterministic point of the simplex, the distribution's mean.

        forward   s = softmax(logits / tau); action ~ softmax(logits), whatever the temperature
        backward  (1 / tau) s * (g - <s, g>)

    No variance. Exact at tau = 1 for objectives linear in the one-hot; otherwise it is the gradient of f(E[D]) in place
    of E[f(D)], which rewards undecided policies wherever f is better between the corners than at them. An agent
    that uses it trains its critic on distributions as actions, and the environment draws from them. tau -> 0: s
    becomes the mode and the gradient vanishes; tau -> infinity: s becomes uniform and the gradient 0.

    Source: He, Mahmood and White (2025), "Distributions as actions", arXiv 2506.16608; keeping the probabilities
    instead of rounding them is folklore.

    Examples:
        >>> sampler = samplers.create("softmax")
        >>> print(sampler([0.0, 1.0, 2.0], seed=(0, 1)).one_hot.numpy())
        [0.09  0.245 0.665]
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0]) ** 2
        >>> logits = tf.Variable([[0.0, 1.0, 2.0]] * 10_000)
        >>> with tf.GradientTape() as tape:
        ...     value = sampler.expectation(objective, logits, seed=(0, 1))
        >>> estimates = tape.gradient(value, logits).numpy()
        >>> print(estimates.mean(0), estimates.std(0))  # the exact gradient is [-0.876 -2.627 3.503]
        [-0.867 -3.704  4.571] [0. 0. 0.]
    """

    name: ClassVar[str] = "softmax"
    family: ClassVar[str] = "no sampling"
    unbiased: ClassVar[str] = "linear at temperature 1"
    relaxed: ClassVar[bool] = True

    def draw(self, logits: tf.Tensor, seed: tf.Tensor, temperature: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Sampler.draw`."""
        probs = ops.tempered_softmax(logits)
        tempered = probs if temperature is None else ops.tempered_softmax(logits, temperature)
        return draw_category(probs, seed), tempered
