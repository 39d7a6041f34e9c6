"""Soft rounding: from the identity to round(x) as its sharpness grows; its inverse; the mean given a noisy value."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from rlsample import checks
from rlsample.ops.rounding import check_sharpness, floating
from rlsample.ops.softmax import compute_dtype
from rlsample.types import TensorLike


def soft_round(x: TensorLike, alpha: TensorLike, eps: float = 1e-3) -> tf.Tensor:
    """Soft rounding: the identity for alpha -> 0, round(x) for large alpha, smooth and increasing in between.

        forward   m + tanh(alpha (x - m)) / (2 tanh(alpha / 2)),  m = floor(x) + 1/2
        backward  alpha sech^2(alpha (x - m)) / (2 tanh(alpha / 2)):
                  alpha / (2 tanh(alpha / 2)) at the halves, alpha / sinh(alpha) at the integers

    Integers and halves are fixed. Seen from the nearest integer, t away from it, the same function is
    t -> sigmoid(-alpha (1 - 2t)) expm1(-2 alpha t) / expm1(-alpha), which is what is computed: it keeps the gradient
    at the integers (through tanh it is 0 in float32 from alpha 16 on), holds them exactly, and is finite in value and
    gradient at any alpha. At alpha 0 the tanh form is 0/0, and a guard by `tf.where` alone still passes on the NaN of
    the branch it discards; here that branch sees a harmless alpha.

    Args:
        x: float, any shape.
        alpha: >= 0. The sharpness; 3, 7 and 15 run from soft to nearly round.
        eps: below this alpha the identity is returned.

    Returns:
        Floats of the shape and dtype of `x`.

    Source:
        Agustsson and Theis 2020, section 4.1 (arXiv:2006.09952).

    Examples:
        >>> x = tf.Variable([0.2, 0.45, 0.6])
        >>> with tf.GradientTape() as tape:
        ...     y = ops.soft_round(x, alpha=7.0)
        >>> print(y.numpy(), tape.gradient(y, x).numpy())
        [0.014 0.332 0.803] [0.204 3.11  2.226]
    """
    x = floating(x)
    wide = tf.cast(x, compute_dtype(x.dtype))
    alpha, identity = _guarded_alpha(alpha, eps, wide.dtype)
    nearest, below, distance = _nearest(wide)
    ratio = tf.math.expm1(-2 * alpha * distance) / tf.math.expm1(-alpha)
    moved = ratio * tf.sigmoid(-alpha * (1 - 2 * distance))
    return tf.cast(tf.where(identity, wide, nearest + tf.where(below, -moved, moved)), x.dtype)


def soft_round_inverse(y: TensorLike, alpha: TensorLike, eps: float = 1e-3) -> tf.Tensor:
    """The x with `soft_round(x, alpha) == y`.

        forward   m + artanh(2 (y - m) tanh(alpha / 2)) / alpha,  m = floor(y) + 1/2
        backward  1 / the derivative of soft_round at x: sinh(alpha) / alpha at the integers

    In float32 the artanh form is off by 5e-3 at the integers for alpha 15, and from about 16 on, where tanh(alpha / 2)
    is 1, infinite there with a NaN gradient. With t the distance of y to the nearest integer the same function is

        (log1p(t expm1(alpha)) - log1p(t expm1(-alpha))) / (2 alpha)

    which is computed here, and is exact there and finite for every alpha. The gradient at the integers is large by
    nature (1.1e3 at alpha 10, 1.1e5 at 15) and leaves float32 beyond alpha 93; from alpha 80 on it is taken as
    1 / (2 alpha) at the integers themselves. Near an integer other than 0, y has too few digits to say where
    x was once alpha exceeds about 15.

    Args:
        y: float, any shape.
        alpha: >= 0, as given to `soft_round`.
        eps: below this alpha the identity is returned.

    Returns:
        Floats of the shape and dtype of `y`.

    Source:
        Agustsson and Theis 2020, section 4.1 (arXiv:2006.09952).

    Examples:
        >>> print(ops.soft_round_inverse(ops.soft_round([0.2, 0.45, 0.6], 7.0), 7.0).numpy())
        [0.2  0.45 0.6 ]
    """
    y = floating(y)
    wide = tf.cast(y, compute_dtype(y.dtype))
    alpha, identity = _guarded_alpha(alpha, eps, wide.dtype)
    nearest, below, distance = _nearest(wide)
    # exp(alpha) overflows: above 80, where 1 + expm1 is exp to the last bit, it is taken inside of the logarithm.
    small = tf.math.log1p(distance * tf.math.expm1(tf.minimum(alpha, 80.0)))
    tiny = tf.constant(np.finfo(wide.dtype.as_numpy_dtype).tiny, wide.dtype)
    large = tf.nn.softplus(alpha + tf.math.log(tf.maximum(distance, tiny)))
    large = tf.where(distance < tiny, tf.zeros_like(large), large)
    grown = tf.where(alpha <= 80.0, small, large)
    moved = (grown - tf.math.log1p(distance * tf.math.expm1(-alpha))) / (2 * alpha)
    return tf.cast(tf.where(identity, wide, nearest + tf.where(below, -moved, moved)), y.dtype)


def soft_round_conditional_mean(y: TensorLike, alpha: TensorLike, eps: float = 1e-3) -> tf.Tensor:
    """The mean of x given y = soft_round(x, alpha) + u with u ~ U(-1/2, 1/2), the best guess of x from a noisy y.

        forward   soft_round_inverse(y - 1/2, alpha) + 1/2
        backward  that of soft_round_inverse at y - 1/2; large at the halves

    Exact for a density of x that is flat over the unit interval of x that y leaves possible. For alpha -> 0 it is the
    identity, for large alpha round(y).

    Args:
        y: float, any shape; computed in float32 at least.
        alpha: >= 0, as given to `soft_round`.
        eps: below this alpha the identity is returned.

    Returns:
        Floats of the shape and dtype of `y`.

    Source:
        Agustsson and Theis 2020, section 4.1 (arXiv:2006.09952).

    Examples:
        >>> noisy = ops.soft_round([0.2, 0.45, 0.6], 7.0) + 0.3
        >>> print(ops.soft_round_conditional_mean(noisy, 7.0).numpy())
        [0.105 0.866 1.03 ]
    """
    y = floating(y)
    wide = tf.cast(y, compute_dtype(y.dtype))
    return tf.cast(soft_round_inverse(wide - 0.5, alpha, eps) + 0.5, y.dtype)


def _guarded_alpha(alpha: TensorLike, eps: float, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
    # An alpha that is safe to divide by, and where it stands in for one that means the identity.
    eps = checks.check_positive("eps", eps)
    alpha = check_sharpness("alpha", alpha, 0.0, dtype)
    identity = alpha < eps
    return tf.where(identity, tf.ones_like(alpha), alpha), identity


def _nearest(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    # The nearest integer, whether x is below it, and how far. Not tf.abs, whose gradient is 0 at the integers.
    nearest = tf.round(x)
    offset = x - nearest
    below = offset < 0
    return nearest, below, tf.where(below, -offset, offset)
