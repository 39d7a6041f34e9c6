"""Rounding with a gradient: every surrogate in use, with the faults of its usual form corrected.

All of them (`soft_rounding` included) map a float tensor of any shape, element by element, to a value near the nearest
integer, in the dtype of the input (float16, bfloat16, float32, float64), computed in float32 at least. Value and
gradient are finite for every finite input. Halves: the straight-through form rounds them to the even neighbour, as
tf.round and IEEE 754 do (0.5 to 0, 1.5 to 2, 2.5 to 2); the others, where they are centred, leave them where they are,
half-way up the step.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from rlsample import checks
from rlsample.ops.softmax import compute_dtype
from rlsample.ops.surrogate import with_gradient_of
from rlsample.types import TensorLike

# The largest sharpness that can be given as a tensor, since the number of steps of a compiled program is fixed. Eight
# compositions have slope 256 at the halves; 32 terms have slope 65.
MOST_COMPOSITIONS = 8
MOST_TERMS = 32


def round_straight_through(x: TensorLike) -> tf.Tensor:
    """Rounds, with the gradient of the identity.

        forward   round(x), halves to even
        backward  1

    Biased, the more so the further x is from an integer; the gradient is never 0. `x + stop_gradient(round(x) - x)` is
    the same in another notation, with a rounding error in the value. From 2^23 on (2^10 in float16) every float is an
    integer.

    Args:
        x: float, any shape.

    Returns:
        Integers of the shape and dtype of `x`.

    Source:
        Bengio, Léonard and Courville 2013, section 4 (arXiv:1308.3432).

    Examples:
        >>> x = tf.Variable([0.2, 0.6, 1.5])
        >>> with tf.GradientTape() as tape:
        ...     y = ops.round_straight_through(x)
        >>> print(y.numpy(), tape.gradient(y, x).numpy())
        [0. 1. 2.] [1. 1. 1.]
    """
    x = floating(x)
    return with_gradient_of(tf.round(x), x)


def round_ramp(x: TensorLike, slope: TensorLike = 1e4, start: float | None = None) -> tf.Tensor:
    """Rounds by a straight ramp between two steps.

        forward   n + clip(slope (x - n - start), 0, 1),  n = floor(x)
        backward  slope on the ramp, 0 beside it

    The usual form is min(max(x - 0.499, 0) * 10000, 1) for x in [0, 1]: `slope=1e4, start=0.499`. Here it goes on to
    all integers. The 0.499 puts the whole ramp below the half, so that 0.4995 already is 1; by default the ramp has
    its middle at the half. A window of 1/slope receives gradient and all else none: with slope 1e4, one value in ten
    thousand does. Anneal the slope: at 1 the centred ramp is the identity.

    Args:
        x: float, any shape.
        slope: of the ramp, >= 1. The sharpness.
        start: where in (0, 1) the ramp leaves 0; None centres it, at 0.5 - 0.5 / slope. Given one, keep
            start + 1 / slope <= 1, or the value jumps at the integers.

    Returns:
        Floats of the shape and dtype of `x`.

    Examples:
        >>> x = tf.Variable([0.2, 0.45, 0.6])
        >>> with tf.GradientTape() as tape:
        ...     y = ops.round_ramp(x, slope=4.0)
        >>> print(y.numpy(), tape.gradient(y, x).numpy())
        [0.  0.3 0.9] [0. 4. 4.]
    """
    x = floating(x)
    wide = tf.cast(x, compute_dtype(x.dtype))
    slope = check_sharpness("slope", slope, 1.0, wide.dtype)
    lower = tf.floor(wide)
    # Centred about 1/2 rather than started at 0.5 - 0.5 / slope, whose rounding error the slope would magnify.
    origin, value = (0.5, 0.5) if start is None else (start, 0.0)
    return tf.cast(lower + _unit_clip(slope * (wide - lower - origin) + value), x.dtype)


def round_sigmoid(x: TensorLike, slope: TensorLike = 1000.0, center: float = 0.5) -> tf.Tensor:
    """Rounds by a steep sigmoid between two steps.

        forward   n + sigmoid(z),  z = slope (x - n - center),  n = floor(x)
        backward  slope sigmoid(z) sigmoid(-z), at most slope / 4

    The usual form, e / (e + 1) with e = exp(1000 (x - 0.5)) for x in [0, 1], overflows to NaN in value and gradient
    from x = 0.589 on (float32). Here nothing overflows, the form goes on to all integers, and both sides of the step
    are computed from the small tail, so that the gradient is symmetric about the centre; taken from
    sigmoid (1 - sigmoid) it is exactly 0 from x = 0.517 on. Slope 1000 remains close to dead outside of 0.48 to 0.52.
    At the integers the value jumps by 2 / (exp(slope / 2) + 1): 4e-9 at slope 40, but 0.15 at slope 5. The same curve
    stretched to be continuous at every sharpness is `soft_round` with alpha = slope / 2.

    Args:
        x: float, any shape.
        slope: >= 0. The sharpness.
        center: where in (0, 1) the step is.

    Returns:
        Floats of the shape and dtype of `x`.

    Examples:
        >>> x = tf.Variable([0.2, 0.45, 0.6])
        >>> with tf.GradientTape() as tape:
        ...     y = ops.round_sigmoid(x, slope=20.0)
        >>> print(y.numpy(), tape.gradient(y, x).numpy())
        [0.002 0.269 0.881] [0.049 3.932 2.1  ]
    """
    x = floating(x)
    wide = tf.cast(x, compute_dtype(x.dtype))
    slope = check_sharpness("slope", slope, 0.0, wide.dtype)
    lower = tf.floor(wide)
    z = slope * (wide - lower - center)
    upper = z > 0
    tail = tf.sigmoid(tf.where(upper, -z, z))
    return tf.cast(tf.where(upper, lower + 1 - tail, lower + tail), x.dtype)


def round_fourier(x: TensorLike, terms: TensorLike = 5, monotone: bool = False) -> tf.Tensor:
    """Rounds by the first terms of the Fourier series of the sawtooth round(x) - x.

        forward   x + (1/pi) sum_{n=1..N} w_n (-1)^n sin(2 pi n x) / n,   w_n = 1
        backward  1 + 2 sum_{n=1..N} w_n (-1)^n cos(2 pi n x): 1 + 2N at the halves, (-1)^N at the integers

    Plain (w_n = 1), the value over- and undershoots beside every step, by 9 % of it however many the terms (Gibbs), and
    there the gradient has the wrong sign: for odd N even at the integers themselves, so that descent leaves them.
    `monotone=True` takes w_n = 1 - n / (N + 1), the Fejér weights: nothing overshoots and the derivative is the Fejér
    kernel, never negative, N + 1 at the halves. The argument of the sines is reduced to [-pi N, pi N] first, so that
    large x keep their precision.

    Args:
        x: float, any shape.
        terms: N >= 0; 0 is the identity. The sharpness: between two whole numbers the last term has a part of its
            weight. A tensor counts up to `MOST_TERMS`.
        monotone: whether to damp the terms so that the value never falls.

    Returns:
        Floats of the shape and dtype of `x`.

    Examples:
        >>> x = tf.Variable([0.2, 0.45, 0.6])
        >>> with tf.GradientTape() as tape:
        ...     y = ops.round_fourier(x, terms=3, monotone=True)
        >>> print(y.numpy(), tape.gradient(y, x).numpy())
        [0.035 0.308 0.841] [0.132 3.529 2.368]
    """
    x = floating(x)
    wide = tf.cast(x, compute_dtype(x.dtype))
    total = check_sharpness("terms", terms, 0.0, wide.dtype)[..., None]
    steps = np.arange(1, _whole_steps(terms, MOST_TERMS) + 1)
    n = tf.constant(steps, wide.dtype)
    weight = _unit_clip(1 - n / (total + 1) if monotone else total - n + 1)
    amplitude = tf.constant((-1.0) ** steps / (math.pi * steps), wide.dtype)
    fraction = (wide - tf.round(wide))[..., None]
    series = tf.reduce_sum(weight * amplitude * tf.sin(2 * math.pi * n * fraction), -1)
    return tf.cast(wide + series, x.dtype)


def round_sine(x: TensorLike, compositions: TensorLike = 1) -> tf.Tensor:
    """Rounds by subtracting a sine, several times over: the more often, the steeper.

        forward   f(f(...f(x))),  f(x) = x - sin(2 pi x) / (2 pi)
        backward  the product of 1 - cos(2 pi x) along the way: 2^compositions at the halves, 0 at the integers

    Smooth and monotone, with integers and halves fixed. Once is soft: 0.25 becomes 0.091. Composing sharpens it. The
    gradient vanishes at the integers, so a value that has arrived there no longer learns; a last composition of less
    than full weight (0.9, say) leaves a tenth of it. The argument of the sine is reduced to [-pi, pi] first, so that
    large x keep their precision.

    Args:
        x: float, any shape.
        compositions: >= 0; 0 is the identity, 1 the usual form. The sharpness: with 2.3, two are whole and a third has
            weight 0.3, x - 0.3 sin(2 pi x) / (2 pi). A tensor counts up to `MOST_COMPOSITIONS`.

    Returns:
        Floats of the shape and dtype of `x`.

    Examples:
        >>> x = tf.Variable([0.2, 0.45, 0.6])
        >>> with tf.GradientTape() as tape:
        ...     y = ops.round_sine(x, compositions=2)
        >>> print(y.numpy(), tape.gradient(y, x).numpy())
        [0.001 0.308 0.843] [0.032 3.535 2.437]
    """
    x = floating(x)
    wide = tf.cast(x, compute_dtype(x.dtype))
    total = check_sharpness("compositions", compositions, 0.0, wide.dtype)
    nearest = tf.round(wide)
    fraction = wide - nearest
    for done in range(_whole_steps(compositions, MOST_COMPOSITIONS)):
        fraction -= _unit_clip(total - done) * tf.sin(2 * math.pi * fraction) / (2 * math.pi)
    return tf.cast(nearest + fraction, x.dtype)


def floating(x: TensorLike) -> tf.Tensor:
    """Returns a float tensor; raises ValueError for another."""
    x = tf.convert_to_tensor(x)
    if not x.dtype.is_floating:
        raise checks.invalid("a floating-point tensor to round", dtype=x.dtype.name, hint="Integers are round already.")
    return x


def check_sharpness(name: str, value: TensorLike, least: float, dtype: tf.DType) -> tf.Tensor:
    """Returns a sharpness as a tensor of `dtype`.

    A bad one raises if it is known now, fails an assert if it is known when a graph runs, and is NaN under XLA, where
    asserts vanish.
    """
    rule = f"{name} to be a finite number >= {least:g}"
    received: dict[str, Any] = {name: value}
    if value is None or isinstance(value, (bool, str)):
        raise checks.invalid(rule, **received)
    tensor = tf.convert_to_tensor(value, dtype_hint=dtype)
    if not (tensor.dtype.is_floating or tensor.dtype.is_integer):
        raise checks.invalid(rule, dtype=tensor.dtype.name)
    tensor = tf.cast(tensor, dtype)
    known = checks.static_value(tensor)
    if known is not None:
        good = np.isfinite(known) & (known >= least)
        if not np.all(good):
            raise checks.invalid(rule, **received)
        return tensor
    good = tf.math.is_finite(tensor) & (tensor >= least)
    tf.debugging.Assert(tf.reduce_all(good), [f"Expected {rule}. Received:", tensor])
    return tf.where(good, tensor, tf.constant(float("nan"), dtype))


def _whole_steps(sharpness: TensorLike, most: int) -> int:
    known = isinstance(sharpness, (int, float, np.number, np.ndarray))
    return math.ceil(np.max(sharpness)) if known else most


def _unit_clip(value: tf.Tensor) -> tf.Tensor:
    # Not tf.clip_by_value: whether that passes NaN on depends on the device.
    return tf.where(value < 0, tf.zeros_like(value), tf.where(value > 1, tf.ones_like(value), value))
