"""Losses of policy-gradient agents: small functions of per-row tensors.

Every one takes `valid`, bool of the rows' shape: rows in which no action was taken (Gymnasium's NEXT_STEP resets) count
for nothing. None means that all rows count.
"""

from __future__ import annotations

from typing import TypeAlias

import tensorflow as tf

from rlsample import checks
from rlsample.types import TensorLike

Number: TypeAlias = float | tf.Tensor


def masked_mean(values: TensorLike, valid: TensorLike | None = None) -> tf.Tensor:
    """The mean over the valid rows: `[...]` -> scalar; 0 if there is none.

    Examples:
        >>> from rlsample.learning.losses import masked_mean
        >>> float(masked_mean([1.0, 2.0, 9.0], valid=[True, True, False]))
        1.5
    """
    values = _only(values, valid)
    if valid is None:
        return tf.reduce_mean(values)
    return tf.reduce_sum(values) / tf.maximum(tf.reduce_sum(tf.cast(valid, values.dtype)), 1)


def standardize(values: TensorLike, valid: TensorLike | None = None, epsilon: float = 1e-8) -> tf.Tensor:
    """Values with mean 0 and standard deviation 1 over the valid rows: `[...]` -> `[...]`.

    Examples:
        >>> from rlsample.learning.losses import standardize
        >>> print(standardize([1.0, 2.0, 3.0]).numpy())
        [-1.225  0.     1.225]
    """
    centred = tf.convert_to_tensor(values) - masked_mean(values, valid)
    return centred / (tf.sqrt(masked_mean(tf.square(centred), valid)) + epsilon)


def clipped_surrogate_loss(
    log_ratio: TensorLike, advantages: TensorLike, clip_range: Number, valid: TensorLike | None = None
) -> tf.Tensor:
    """PPO's policy loss, which gains nothing from moving the ratio further than the clip range.

        -mean min(rho A, clip(rho, 1 - c, 1 + c) A),  rho = pi(a|s) / pi_old(a|s)

    Args:
        log_ratio: float `[...]`, log pi - log pi_old of the actions taken. Differentiated.
        advantages: float `[...]`; no gradient flows to them.
        clip_range: c, above 0.
        valid: see the module.

    Returns:
        A scalar.

    Source: Schulman et al. (2017), Proximal policy optimization algorithms, arXiv 1707.06347, equation 7.

    Examples:
        >>> from rlsample.learning.losses import clipped_surrogate_loss
        >>> log_ratio = tf.Variable([0.0, 0.5])
        >>> with tf.GradientTape() as tape:
        ...     loss = clipped_surrogate_loss(log_ratio, advantages=[1.0, 1.0], clip_range=0.2)
        >>> print(loss.numpy(), tape.gradient(loss, log_ratio).numpy())  # the second has moved far enough
        -1.1 [-0.5  0. ]
    """
    ratio = tf.exp(_only(log_ratio, valid))
    advantages = tf.stop_gradient(tf.convert_to_tensor(advantages))
    clipped = tf.clip_by_value(ratio, 1 - clip_range, 1 + clip_range)
    return -masked_mean(tf.minimum(ratio * advantages, clipped * advantages), valid)


def value_loss(
    values: TensorLike,
    returns: TensorLike,
    old_values: TensorLike | None = None,
    clip_range: Number | None = None,
    valid: TensorLike | None = None,
) -> tf.Tensor:
    """Half the mean squared error of values, optionally blind to moves further than the clip range.

        mean max((v - G)^2, (v_old + clip(v - v_old, -c, c) - G)^2) / 2

    The clipping is an implementation detail of PPO that depends on the scale of the rewards.

    Args:
        values: float `[...]`. Differentiated.
        returns: float `[...]`, the targets; no gradient flows to them.
        old_values: float `[...]`, values before the update; needed with `clip_range`.
        clip_range: c, above 0; None does not clip.
        valid: see the module.

    Returns:
        A scalar.

    Raises:
        ValueError: a clip range without old values.

    Source: Engstrom et al. (2020), Implementation matters in deep policy gradients, arXiv 2005.12729, section 3.

    Examples:
        >>> from rlsample.learning.losses import value_loss
        >>> float(value_loss([1.0, 2.0], returns=[0.0, 2.0]))
        0.25
    """
    if clip_range is not None and old_values is None:
        raise checks.invalid("old_values where values are clipped", clip_range=clip_range, old_values=None)
    values, returns = _only(values, valid), tf.stop_gradient(_only(returns, valid))
    errors = tf.square(values - returns)
    if clip_range is not None:
        old_values = _only(old_values, valid)
        moved = old_values + tf.clip_by_value(values - old_values, -clip_range, clip_range)
        errors = tf.maximum(errors, tf.square(moved - returns))
    return 0.5 * masked_mean(errors, valid)


def huber(error: TensorLike, largest: Number | None) -> tf.Tensor:
    """Half the square of errors up to the largest, and the tangent there beyond it: `[...]` -> `[...]`.

        e^2 / 2 where |e| <= c,  c (|e| - c / 2) beyond;  backward clip(e, -c, c)

    Args:
        error: float. Differentiated.
        largest: c, above 0; None squares all errors.

    Raises:
        ValueError: a largest error that is not above 0.

    Source: Huber (1964), Robust estimation of a location parameter; as the clipped error of deep Q-learning Mnih et al.
    (2015), Human-level control through deep reinforcement learning, methods.

    Examples:
        >>> from rlsample.learning.losses import huber
        >>> print(huber([0.5, -3.0], largest=1.0).numpy())
        [0.125 2.5  ]
    """
    size = tf.abs(tf.convert_to_tensor(error))
    if largest is None:
        return 0.5 * size * size
    if not isinstance(largest, tf.Tensor):
        checks.check_positive("largest", largest)
    inside = tf.minimum(size, largest)
    return inside * (size - 0.5 * inside)


def approximate_kl(log_ratio: TensorLike, valid: TensorLike | None = None) -> tf.Tensor:
    """How far a policy has moved, estimated from the old one's actions: mean (rho - 1) - log rho, never negative.

    An unbiased estimate of KL(pi_old || pi). Source: Schulman (2020), Approximating KL divergence.

    Examples:
        >>> from rlsample.learning.losses import approximate_kl
        >>> round(float(approximate_kl([0.5, -0.5])), 3)
        0.128
    """
    log_ratio = tf.stop_gradient(_only(log_ratio, valid))
    return masked_mean(tf.math.expm1(log_ratio) - log_ratio, valid)


def clip_fraction(log_ratio: TensorLike, clip_range: Number, valid: TensorLike | None = None) -> tf.Tensor:
    """The share of rows whose ratio lies outside of the clip range.

    Examples:
        >>> from rlsample.learning.losses import clip_fraction
        >>> float(clip_fraction([0.0, 0.5, -0.5, 0.1], clip_range=0.2))
        0.5
    """
    outside = tf.abs(tf.math.expm1(tf.stop_gradient(tf.convert_to_tensor(log_ratio)))) > clip_range
    return masked_mean(tf.cast(outside, tf.float32), valid)


def _only(values: TensorLike, valid: TensorLike | None) -> tf.Tensor:
    """Values with 0 in rows that do not count: before any function that could make inf of them, and NaN of a slope."""
    values = tf.convert_to_tensor(values)
    return values if valid is None else tf.where(valid, values, tf.zeros_like(values))
