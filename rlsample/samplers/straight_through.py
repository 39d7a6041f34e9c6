"""The straight-through estimator: a hard draw forward, the softmax backward."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, final

import tensorflow as tf

from rlsample import ops
from rlsample.samplers.base import Sampler
from rlsample.samplers.inverse_cdf import draw_one_hot
from rlsample.samplers.softmax import Softmax


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class StraightThrough(Sampler):
    """A hard draw whose gradient is that of softmax(logits / temperature).

        forward   D ~ softmax(logits), one-hot
        backward  (1 / tau) p_tau * (g - <p_tau, g>), p_tau = softmax(logits / tau)

    Bias: at tau = 1 exact, and of zero variance given g, if the objective is linear in the one-hot (it then equals
    the all-action gradient); a first-order (Euler) approximation otherwise, whose bias does not vanish as training
    goes on. tau -> 0: the gradient vanishes unless the largest logits tie; tau -> infinity: it tends to 0 as
    (g - mean(g)) / (K tau).

    Source: Bengio, Leonard and Courville (2013), "Estimating or propagating gradients through stochastic neurons for
    conditional computation", arXiv 1308.3432, section 4.

    Examples:
        >>> sampler = samplers.create("straight_through")
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0]) ** 2
        >>> logits = tf.Variable([[0.0, 1.0, 2.0]] * 10_000)
        >>> with tf.GradientTape() as tape:
        ...     value = sampler.expectation(objective, logits, seed=(0, 1))
        >>> estimates = tape.gradient(value, logits).numpy()
        >>> print(estimates.mean(0), estimates.std(0))  # the exact gradient is [-0.876 -2.627 3.503]
        [-0.867 -3.703  4.57 ] [0.561 2.395 2.956]
    """

    name: ClassVar[str] = "straight_through"
    family: ClassVar[str] = "straight-through"
    unbiased: ClassVar[str] = "linear at temperature 1"

    def draw(self, logits: tf.Tensor, seed: tf.Tensor, temperature: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Sampler.draw`."""
        probs = ops.normalise(logits)
        action, one_hot = draw_one_hot(probs, seed)
        if temperature is None:
            return action, ops.with_softmax_gradient(one_hot, logits, probs)
        tempered = ops.temper(logits, temperature)
        return action, ops.with_softmax_gradient(one_hot, tempered, ops.normalise(tempered))

    @property
    def relaxation(self) -> Softmax:
        """See `Sampler.relaxation`."""
        return Softmax()
