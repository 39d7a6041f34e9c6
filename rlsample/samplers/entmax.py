"""Sparse probabilities as the action: alpha-entmax, with sparsemax at alpha = 2."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import tensorflow as tf

from rlsample import checks, ops
from rlsample.samplers import base
from rlsample.samplers.inverse_cdf import draw_category
from rlsample.types import TensorLike


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entmax(base.Sampler):
    """A deterministic point of the simplex with exact zeros.

        forward   p = [(alpha - 1) logits / tau - t]_+ ^ (1 / (alpha - 1)), t such that p sums to 1; action ~ p
        backward  (1 / tau) r * (g - <r, g> / sum(r)), r = p^(2 - alpha) on the support of p, 0 off it

    No variance; the gradient is that of f(p) in place of E[f(D)], as for `softmax`. Categories far enough below the
    best have probability and gradient exactly 0, so they stay out once they are out, and their log-probability is
    -inf: `law` says so, and importance ratios need a mixture. tau -> 0: p becomes the mode; tau -> infinity: uniform,
    and the gradient 0. alpha -> 1: `softmax`, which is its own sampler.

    Attributes:
        alpha: in (1, 2]: 2 is sparsemax, 1.5 the usual middle. These two are solved exactly by sorting, the others by
            bisection.

    Source: Martins and Astudillo (2016), "From softmax to sparsemax", arXiv 1602.02068; Peters, Niculae and
    Martins (2019), "Sparse sequence-to-sequence models", arXiv 1905.05702, section 3.
    """

    name: ClassVar[str] = "entmax"
    relaxed: ClassVar[bool] = True

    alpha: float = 1.5

    def __post_init__(self) -> None:
        if not 1 < checks.check_positive("alpha", self.alpha) <= 2:
            raise checks.invalid("alpha in (1, 2]", alpha=self.alpha, hint="alpha = 1 is the sampler 'softmax'.")

    def draw(self, logits: tf.Tensor, seed: tf.Tensor, temperature: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Sampler.draw`."""
        probs = entmax(ops.temper(logits, temperature), self.alpha)
        return draw_category(probs, seed), probs

    def law(self, logits: TensorLike, *, temperature: TensorLike = 1.0, mask: TensorLike | None = None) -> tf.Tensor:
        """The log-probabilities: -inf off the support, which moves with the temperature."""
        logits = tf.convert_to_tensor(logits)
        legal = ops.legal_logits(logits, mask)
        probs = entmax(ops.temper(legal, base.row_temperature(temperature, legal)), self.alpha)
        support = probs > 0
        log_probs = tf.math.log(tf.where(support, probs, tf.ones_like(probs)))
        log_probs = tf.where(support, log_probs, tf.constant(float("-inf"), probs.dtype))
        return tf.cast(tf.where(tf.math.is_nan(probs), probs, log_probs), logits.dtype)


def entmax(logits: tf.Tensor, alpha: float) -> tf.Tensor:
    """alpha-entmax along the last axis of logits with row maximum 0; differentiable any number of times."""
    return _with_entmax_gradient(alpha)(tf.stop_gradient(_solve(logits, alpha)), logits)


def _with_entmax_gradient(alpha: float) -> Callable[..., tf.Tensor]:
    @tf.custom_gradient
    def attach(probs: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        def backward(upstream: tf.Tensor) -> tuple[None, tf.Tensor]:
            # Attached again, so that the derivative of this product is right too.
            attached = attach(probs, logits)
            support = attached > 0
            weight = tf.where(support, tf.where(support, attached, tf.ones_like(attached)) ** (2 - alpha), 0)
            mean = tf.reduce_sum(weight * upstream, -1, keepdims=True) / tf.reduce_sum(weight, -1, keepdims=True)
            return None, weight * (upstream - mean)

        return tf.identity(probs), backward

    return attach


def _solve(logits: tf.Tensor, alpha: float) -> tf.Tensor:
    scaled = (alpha - 1) * logits
    # The best entry is 0 and its p at most 1, so the threshold is at least -1: nothing below that matters.
    scaled = tf.where(scaled < -1, tf.constant(-1, scaled.dtype), scaled)
    solver = {1.5: _threshold_by_sorting_15, 2: _threshold_by_sorting_2}.get(alpha)
    threshold = solver(scaled) if solver else _threshold_by_bisection(scaled, alpha)
    # Rounding must not let it sink below what stands in for the rest.
    threshold = tf.where(threshold < -1, tf.constant(-1, scaled.dtype), threshold)
    powers = _power(scaled - threshold, alpha)
    return powers / tf.reduce_sum(powers, -1, keepdims=True)


def _power(excess: tf.Tensor, alpha: float) -> tf.Tensor:
    return tf.where(excess <= 0, tf.zeros_like(excess), excess) ** (1 / (alpha - 1))


def _threshold_by_sorting_2(scaled: tf.Tensor) -> tf.Tensor:
    descending = tf.sort(scaled, -1, "DESCENDING")
    count = tf.cast(tf.range(1, tf.shape(scaled)[-1] + 1), scaled.dtype)
    excess = tf.cumsum(descending, -1) - 1
    return _last_of_support(excess / count, count * descending > excess)


def _threshold_by_sorting_15(scaled: tf.Tensor) -> tf.Tensor:
    descending = tf.sort(scaled, -1, "DESCENDING")
    count = tf.cast(tf.range(1, tf.shape(scaled)[-1] + 1), scaled.dtype)
    mean, mean_square = tf.cumsum(descending, -1) / count, tf.cumsum(descending**2, -1) / count
    # sum over the support of (z - t)^2 = 1 is a quadratic equation in t.
    discriminant = 1 / count - (mean_square - mean**2)
    threshold = mean - tf.sqrt(tf.where(discriminant < 0, tf.zeros_like(discriminant), discriminant))
    return _last_of_support(threshold, threshold <= descending)


def _last_of_support(thresholds: tf.Tensor, in_support: tf.Tensor) -> tf.Tensor:
    size = tf.reduce_sum(tf.cast(in_support, tf.int32), -1, keepdims=True)
    # A row of NaN has no support; its NaN must come through.
    return tf.gather(thresholds, tf.maximum(size - 1, 0), batch_dims=thresholds.shape.rank - 1)


def _threshold_by_bisection(scaled: tf.Tensor, alpha: float) -> tf.Tensor:
    steps = 55 if scaled.dtype == tf.float64 else 26

    def halve(step: tf.Tensor, low: tf.Tensor, width: tf.Tensor) -> tuple[tf.Tensor, ...]:
        width = width / 2
        too_low = tf.reduce_sum(_power(scaled - low - width, alpha), -1, keepdims=True) >= 1
        return step + 1, tf.where(too_low, low + width, low), width

    start = tf.constant(0), tf.zeros_like(scaled[..., :1]) - 1, tf.ones_like(scaled[..., :1])
    return tf.while_loop(lambda step, *_: step < steps, halve, start, maximum_iterations=steps)[1]
