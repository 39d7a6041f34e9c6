"""Sparse probabilities as the action: alpha-entmax, with sparsemax at alpha = 2."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import ClassVar, final

import numpy as np
import tensorflow as tf

from rlsample import checks, ops
from rlsample.samplers.base import Sampler
from rlsample.samplers.inverse_cdf import draw_category
from rlsample.samplers.shapes import num_categories, row_temperature
from rlsample.types import TensorLike

# Categories up to which a sum as a product is precise.
LARGEST_PRODUCT = 4096
# Twice what float64 needs for 2^20 categories, whatever the logits are: 53 / 2 + 20. Six is usual.
MAX_NEWTON_STEPS = 100


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class Entmax(Sampler):
    """A deterministic point of the simplex with exact zeros.

        forward   p = [(alpha - 1) logits / tau - t]_+ ^ (1 / (alpha - 1)), t such that p sums to 1; action ~ p
        backward  (1 / tau) r * (g - <r, g> / sum(r)), r = p^(2 - alpha) on the support of p, 0 off it

    No variance; the gradient is that of f(p) in place of E[f(D)], as for `softmax`. Categories far enough below the
    best have probability and gradient exactly 0, so they stay out once they are out, and their log-probability is
    -inf: `drawn_logits` says so, and importance ratios need a mixture. tau -> 0: p becomes the mode; tau -> infinity:
    uniform, and the gradient 0. alpha -> 1: `softmax`, which is its own sampler.

    The threshold t is found by Newton's method, to the precision of the dtype, in some 5 to 10 passes over the logits;
    that takes less than sorting them, whatever alpha is. At alpha = 2 each step is Michelot's: the t that would be
    right if what exceeds the last t were the support.

    Attributes:
        alpha: in (1, 2]: 2 is sparsemax, 1.5 the usual middle.

    Source: Martins and Astudillo (2016), "From softmax to sparsemax", arXiv 1602.02068; Peters, Niculae and
    Martins (2019), "Sparse sequence-to-sequence models", arXiv 1905.05702, section 3.

    Examples:
        >>> sampler = samplers.create({"name": "entmax", "alpha": 1.5})
        >>> print(sampler([0.0, 1.0, 2.0], seed=(0, 1)).one_hot.numpy())
        [0.    0.169 0.831]
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0]) ** 2
        >>> logits = tf.Variable([[0.0, 1.0, 2.0]] * 10_000)
        >>> with tf.GradientTape() as tape:
        ...     value = sampler.expectation(objective, logits, seed=(0, 1))
        >>> estimates = tape.gradient(value, logits).numpy()
        >>> print(estimates.mean(0), estimates.std(0))  # the exact gradient is [-0.876 -2.627 3.503]
        [ 0.    -7.536  7.536] [0. 0. 0.]
    """

    name: ClassVar[str] = "entmax"
    family: ClassVar[str] = "no sampling"
    draws_from_logits: ClassVar[bool] = False
    relaxed: ClassVar[bool] = True

    alpha: float = 1.5

    def __post_init__(self) -> None:
        if not 1 < checks.check_positive("alpha", self.alpha) <= 2:
            raise checks.invalid("alpha in (1, 2]", alpha=self.alpha, hint="alpha = 1 is the sampler 'softmax'.")

    def draw(self, logits: tf.Tensor, seed: tf.Tensor, temperature: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Sampler.draw`."""
        probs = entmax(ops.temper(logits, temperature), self.alpha)
        return draw_category(probs, seed), probs

    def drawn_logits(
        self, logits: TensorLike, *, temperature: TensorLike = 1.0, mask: TensorLike | None = None
    ) -> tf.Tensor:
        """The log-probabilities: -inf off the support, which moves with the temperature."""
        logits = tf.convert_to_tensor(logits)
        legal = ops.legal_logits(logits, mask)
        probs = entmax(ops.temper(legal, row_temperature(temperature, legal)), self.alpha)
        support = probs > 0
        log_probs = tf.math.log(tf.where(support, probs, tf.ones_like(probs)))
        log_probs = tf.where(support, log_probs, tf.constant(float("-inf"), probs.dtype))
        return tf.cast(tf.where(tf.math.is_nan(probs), probs, log_probs), logits.dtype)


def entmax(logits: tf.Tensor, alpha: float) -> tf.Tensor:
    """alpha-entmax along the last axis of logits with row maximum 0; differentiable any number of times."""
    return _with_entmax_gradient(alpha)(_solve(tf.stop_gradient(logits), alpha), logits)


@functools.cache
def _with_entmax_gradient(alpha: float) -> Callable[..., tf.Tensor]:
    @tf.custom_gradient
    def attach(probs: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        def backward(upstream: tf.Tensor) -> tuple[None, tf.Tensor]:
            # Attached again, so that the derivative of this product is right too.
            weight = _power(attach(probs, logits), 2 - alpha)
            mean = tf.reduce_sum(weight * upstream, -1, keepdims=True) / tf.reduce_sum(weight, -1, keepdims=True)
            return None, weight * (upstream - mean)

        return probs, backward

    return attach


def _solve(logits: tf.Tensor, alpha: float) -> tf.Tensor:
    scaled = (alpha - 1) * logits
    find_threshold = _threshold_in_graph if tf.executing_eagerly() else _threshold
    excess = scaled - find_threshold(scaled, alpha)
    powers = _power(tf.where(excess <= 0, tf.constant(0, excess.dtype), excess), 1 / (alpha - 1))
    return powers / tf.reduce_sum(powers, -1, keepdims=True)


def _threshold(scaled: tf.Tensor, alpha: float) -> tf.Tensor:
    """The t `[..., 1]` at which the powers 1 / (alpha - 1) of what exceeds it sum to 1; NaN for a row with NaN.

    The norm ||[z - t]_+|| whose power that sum is falls with t, convex, with a slope of at least 1. Newton's method
    for norm = 1, begun below t, therefore rises to it and never passes it, and each step makes distance in norm times
    slope at least four times smaller (twice, if it is cut by half).
    """
    # Sums round by up to K epsilon. Steps this much shorter stay below t all the same: from above it, where less
    # exceeds, the next step could lead far back.
    rounding = tf.cast(num_categories(scaled), scaled.dtype) * np.finfo(scaled.dtype.as_numpy_dtype).eps
    caution = 1 - tf.minimum(rounding, tf.constant(0.5, scaled.dtype))

    def step_from(low: tf.Tensor) -> tf.Tensor:
        # Whether this passes NaN on depends on the device; `_solve` does.
        excess = tf.nn.relu(scaled - low)
        weight = _power(excess, 1 / (alpha - 1) - 1)
        mass = _row_sums(excess * weight)
        return low + caution * (mass - mass ** (2 - alpha)) / _row_sums(weight)

    def rise(low: tf.Tensor, higher: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        low = tf.where(higher > low, higher, low)
        return low, step_from(low)

    # The best entry is 0 and its p at most 1, so t is at least -1.
    start = tf.zeros_like(scaled[..., :1]) - 1
    return tf.while_loop(
        lambda low, higher: tf.reduce_any(higher > low),
        rise,
        (start, step_from(start)),
        maximum_iterations=MAX_NEWTON_STEPS,
    )[1]


# A loop of small operations takes several times as long one by one. Not for code in a graph, whose shapes are known.
_threshold_in_graph = tf.function(_threshold, autograph=False, reduce_retracing=True)


def _row_sums(values: tf.Tensor) -> tf.Tensor:
    size = values.shape[-1]
    if size is None or size > LARGEST_PRODUCT or tf.config.list_physical_devices("GPU"):
        return tf.reduce_sum(values, -1, keepdims=True)
    # XLA on a CPU takes three times as long for two sums over one computation as for products with ones. Over many
    # categories these round more, and a GPU may round their factors to 10 bits.
    return tf.tensordot(values, tf.ones([size, 1], values.dtype), 1)


def _power(values: tf.Tensor, exponent: float) -> tf.Tensor:
    """values^exponent for values of at least 0, where 0 stays 0 also to the power of 0."""
    if exponent == 1:
        return values
    zero = values <= 0
    return tf.where(
        zero, tf.constant(0, values.dtype), tf.where(zero, tf.constant(1, values.dtype), values) ** exponent
    )
