"""Fini: ordered actions, through the mean and the variance of the value drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar, final

import numpy as np
import tensorflow as tf

from rlsample import checks
from rlsample.ops import normalise
from rlsample.ops.softmax import ILLEGAL
from rlsample.samplers.base import Sampler
from rlsample.samplers.inverse_cdf import draw_one_hot
from rlsample.samplers.shapes import num_categories


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class Fini(Sampler):
    """A hard draw of an ordered category, whose gradient moves the mean and the variance of its value.

        forward   D ~ softmax(logits), one-hot; z = <a, D>, a the values of the categories
        backward  w s, w = dm + dv / (2 v) (z - m), with m and v the mean and the variance of z, dm = p * (a - m) and
                  dv = p * ((a - m)^2 - v) their gradients to the logits, p = softmax(logits), and s the slope at z of
                  the parabola through g at z and at the two legal values nearest to it, g the gradient to the one-hot

    Unbiased for objectives up to quadratic in z, be they functions F(z) or tables <q, D> whose entries are quadratic
    in a. On those it has 0.34 to 0.73 of the variance of `zgr` (policies over 4 and 9 levels), and less bias than `zgr`
    on a cubic. It sees slopes only: of a table in which every second entry is large it can tell nothing, where
    categories have no order take another. With two legal categories it is `zgr`. Values that differ by a factor and a
    constant are equal. The temperature is not used.

    Attributes:
        values: a, one number per category, all different; None means 0 to K - 1, or any other equal steps.

    Source: He and Wu (2026), Fini of second degree: least-norm weights that leave no bias up to it.

    Examples:
        >>> sampler = samplers.create("fini")
        >>> levels, logits = tf.range(3.0), tf.Variable([[0.0, 1.0, 2.0]] * 10_000)
        >>> with tf.GradientTape() as tape:
        ...     value = sampler.expectation(lambda one_hot: tf.linalg.matvec(one_hot, levels) ** 2, logits, seed=(0, 1))
        >>> estimates = tape.gradient(value, logits).numpy()
        >>> print(estimates.mean(0), estimates.std(0))
        [-0.261 -0.466  0.727] [0.165 0.211 0.231]
        >>> print(lab.exact_gradient(lambda one_hot: tf.linalg.matvec(one_hot, levels) ** 2, logits).numpy()[0])
        [-0.262 -0.466  0.728]
    """

    name: ClassVar[str] = "fini"
    family: ClassVar[str] = "second order"
    unbiased: ClassVar[str] = "quadratic in the values"
    uses_temperature: ClassVar[bool] = False

    values: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.values is None:
            return
        numbers = np.asarray(self.values)
        if numbers.ndim != 1 or numbers.dtype.kind not in "iuf" or not np.isfinite(numbers).all():
            raise checks.invalid("values to be finite numbers, one per category", values=self.values)
        object.__setattr__(self, "values", tuple(numbers.astype(np.float64).tolist()))
        if len(np.unique(self._scaled().astype(np.float32))) < len(numbers):
            raise checks.invalid("values that differ from each other in float32", values=self.values)

    def _scaled(self) -> np.ndarray:
        """The values from 0 to 1: their unit cancels, and large ones would overflow in squares."""
        numbers = np.array(self.values)
        lowest, highest = numbers.min(), numbers.max()
        return (numbers - lowest) / (highest - lowest or 1.0)

    def draw(self, logits: tf.Tensor, seed: tf.Tensor, temperature: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Sampler.draw`."""
        probs = normalise(logits)
        action, one_hot = draw_one_hot(probs, seed)
        if self.values is None:
            values = tf.cast(tf.range(num_categories(logits)), logits.dtype)
        elif logits.shape[-1] in (None, len(self.values)):
            values = tf.constant(self._scaled(), logits.dtype)
        else:
            raise checks.invalid(f"one of {len(self.values)} values per category", shape=tuple(logits.shape))
        return action, _fini(one_hot, logits, probs, values)


# Tensors that the backward pass needs are arguments: one closed over would be searched for variables.
@tf.custom_gradient
def _fini(one_hot: tf.Tensor, logits: tf.Tensor, probs: tf.Tensor, values: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    def backward(upstream: tf.Tensor) -> tuple[None, tf.Tensor, None, None]:
        # Seen from the value drawn, so that nothing cancels where it has nearly all of the probability.
        ahead = values - tf.reduce_sum(one_hot * values, -1, keepdims=True)
        mean = tf.reduce_sum(probs * ahead, -1, keepdims=True)
        away = ahead - mean
        square = probs * away**2
        variance = tf.reduce_sum(square, -1, keepdims=True)
        share = square / tf.where(variance > 0, variance, tf.ones_like(variance))
        weight = probs * away - 0.5 * mean * (share - probs)
        return None, weight * slope_at_draw(ahead, logits > ILLEGAL, upstream), None, None

    return one_hot, backward


def slope_at_draw(ahead: tf.Tensor, legal: tf.Tensor, heights: tf.Tensor) -> tf.Tensor:
    """Slope at 0 of the parabola through `heights` there and at the two legal points nearest to it.

    One to either side, or both to the same if there is none to the other. Through two points it is the slope of the
    line; through one it is 0.

    Args:
        ahead: points `[..., K]`, all different, one of them 0.
        legal: boolean `[..., K]`, True at that one.
        heights: `[..., K]`.

    Returns:
        `[..., 1]`.
    """
    infinite = tf.constant(float("inf"), ahead.dtype)

    def nearest(beyond: tf.Tensor) -> tf.Tensor:
        return tf.reduce_min(tf.where(legal & (ahead > beyond), ahead, infinite), -1, keepdims=True)

    def nearest_below(beyond: tf.Tensor) -> tf.Tensor:
        return tf.reduce_max(tf.where(legal & (ahead < beyond), ahead, -infinite), -1, keepdims=True)

    def height(point: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.where(ahead == point, heights, tf.zeros_like(heights)), -1, keepdims=True)

    above, below = nearest(tf.zeros_like(ahead[..., :1])), nearest_below(tf.zeros_like(ahead[..., :1]))
    only_above, only_below = tf.math.is_inf(below), tf.math.is_inf(above)
    first = tf.where(only_above, above, below)
    second = tf.where(only_above, nearest(above), tf.where(only_below, nearest_below(below), above))
    start, alone, pair = height(tf.zeros_like(first)), tf.math.is_inf(first), tf.math.is_inf(second)
    first, second = tf.where(alone, tf.ones_like(first), first), tf.where(pair, tf.ones_like(second), second)
    line, other = (height(first) - start) / first, (height(second) - start) / second
    # Where there is no second point the line counts alone, and the difference below is not to be 0.
    apart = tf.where(pair, tf.ones_like(second), second - first)
    slope = tf.where(pair, line, line * (second / apart) - other * (first / apart))
    return tf.where(alone, tf.zeros_like(slope), slope)
