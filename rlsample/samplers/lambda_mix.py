"""The line from straight-through to second order: as much of ReinMax's noise as its smaller bias is worth."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import ClassVar, final

import tensorflow as tf

from rlsample import checks, ops
from rlsample.samplers.base import Sampler
from rlsample.samplers.inverse_cdf import draw_one_hot


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class LambdaMix(Sampler):
    """A hard draw with a weighted mean of the gradients of `straight_through` and `reinmax` at temperature 1.

        forward   D ~ softmax(logits), one-hot
        backward  (1 - lambda) J(p) g + lambda / 2 [J(p) g + (D - p) <D - p, g>], with J(p) g = p * (g - <p, g>) and
                  p = softmax(logits)

    lambda = 0 is `straight_through`, lambda = 1 is `zgr`. Unbiased for objectives linear in the one-hot; for quadratic
    ones the bias is 1 - lambda times that of `straight_through`. The noise falls with lambda faster than the bias
    rises (half of lambda: 40 % of the variance on a quadratic four-way example), so that the larger the batch that
    averages it, the larger lambda should be. Without bias for quadratic objectives little is left to gain over
    lambda = 1: the estimator of least variance saves under 3 % there, for O(K^3) operations (Hooper and Shekhovtsov,
    2026). The temperature is not used.

    Attributes:
        weight: lambda, from 0 to 1.

    Source: Shekhovtsov (2023), "Cold analysis of Rao-Blackwellized straight-through Gumbel-softmax gradient
    estimator", ICML 2023, whose plane of bias and variance has this line.

    Examples:
        >>> sampler = samplers.create({"name": "lambda_mix", "weight": 0.5})
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0]) ** 2
        >>> logits = tf.Variable([[0.0, 1.0, 2.0]] * 10_000)
        >>> with tf.GradientTape() as tape:
        ...     value = sampler.expectation(objective, logits, seed=(0, 1))
        >>> estimates = tape.gradient(value, logits).numpy()
        >>> print(estimates.mean(0), estimates.std(0))  # the exact gradient is [-0.876 -2.627 3.503]
        [-0.873 -3.164  4.037] [0.497 2.103 2.557]
    """

    name: ClassVar[str] = "lambda_mix"
    family: ClassVar[str] = "second order"
    unbiased: ClassVar[str] = "linear"
    uses_temperature: ClassVar[bool] = False

    weight: float = 0.5

    def __post_init__(self) -> None:
        number = isinstance(self.weight, (int, float)) and not isinstance(self.weight, bool)
        if not (number and 0 <= self.weight <= 1):
            raise checks.invalid("weight to be a number from 0 to 1", weight=self.weight)

    def draw(self, logits: tf.Tensor, seed: tf.Tensor, temperature: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Sampler.draw`."""
        probs = ops.normalise(logits)
        action, one_hot = draw_one_hot(probs, seed)
        return action, _mix(float(self.weight))(one_hot, logits, probs)


@functools.cache
def _mix(weight: float) -> Callable[..., tf.Tensor]:
    # Tensors that the backward pass needs are arguments: one closed over would be searched for variables.
    @tf.custom_gradient
    def forward(one_hot: tf.Tensor, logits: tf.Tensor, probs: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        def backward(upstream: tf.Tensor) -> tuple[None, tf.Tensor, None]:
            away = one_hot - probs
            rank_one = away * tf.reduce_sum(away * upstream, -1, keepdims=True)
            half = 0.5 * weight
            return None, (1 - half) * ops.softmax_vjp(probs, upstream) + half * rank_one, None

        return one_hot, backward

    return forward
