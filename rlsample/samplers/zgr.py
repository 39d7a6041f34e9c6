"""ZGR: the zero-temperature limit of Gumbel-Rao, in closed form."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar, final

import tensorflow as tf

from rlsample import ops
from rlsample.samplers.base import Sampler
from rlsample.samplers.inverse_cdf import draw_one_hot


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class ZGR(Sampler):
    """A hard draw with the mean of the straight-through and the DARN gradients.

        forward   D ~ softmax(logits), one-hot
        backward  1/2 [p * (g - <p, g>) + (D - p) <D - p, g>], p = softmax(logits)

    Unbiased for objectives up to quadratic in the one-hot; for two categories it is the trapezoid rule. Its mean is
    the limit tau -> 0 of `gumbel_rao` and `straight_through_gumbel_softmax`, without their growing variance. Equal to
    `reinmax` at temperature 1, sample by sample. More variance than `straight_through`. The temperature is not used.

    Source: Shekhovtsov (2023), "Cold analysis of Rao-Blackwellized straight-through Gumbel-softmax gradient
    estimator", ICML 2023.

    Examples:
        >>> sampler = samplers.create("zgr")
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0]) ** 2
        >>> logits = tf.Variable([[0.0, 1.0, 2.0]] * 10_000)
        >>> with tf.GradientTape() as tape:
        ...     value = sampler.expectation(objective, logits, seed=(0, 1))
        >>> estimates = tape.gradient(value, logits).numpy()
        >>> print(estimates.mean(0), estimates.std(0))  # the exact gradient is [-0.876 -2.627 3.503]
        [-0.878 -2.625  3.503] [0.534 1.818 2.164]
    """

    name: ClassVar[str] = "zgr"
    family: ClassVar[str] = "second order"
    unbiased: ClassVar[str] = "quadratic"
    uses_temperature: ClassVar[bool] = False

    def draw(self, logits: tf.Tensor, seed: tf.Tensor, temperature: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Sampler.draw`."""
        probs = ops.normalise(logits)
        action, one_hot = draw_one_hot(probs, seed)
        return action, _zgr(one_hot, logits, probs)


# Tensors that the backward pass needs are arguments: one closed over would be searched for variables.
@tf.custom_gradient
def _zgr(one_hot: tf.Tensor, logits: tf.Tensor, probs: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    def backward(upstream: tf.Tensor) -> tuple[None, tf.Tensor, None]:
        away = one_hot - probs
        rank_one = away * tf.reduce_sum(away * upstream, -1, keepdims=True)
        return None, 0.5 * (ops.softmax_vjp(probs, upstream) + rank_one), None

    return one_hot, backward
