"""Exact categorical draws from one uniform a row: what a hard sampler needs whose backward is a function of probs."""

from __future__ import annotations

import tensorflow as tf

from rlsample import ops


def draw_category(probs: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws categories with the given probabilities by inverting the cumulative distribution.

    Illegal categories (probability 0) are never drawn, at the end of the cumulative sum neither, whatever its rounding.

    Args:
        probs: float `[..., K]`, rows that sum to 1 up to rounding.
        seed: int32 `[2]`.

    Returns:
        int32 `[...]`; -1 for a row of NaN.
    """
    cumulative = tf.cumsum(probs, -1)
    threshold = tf.cast(ops.uniform(tf.shape(probs)[:-1], seed), probs.dtype)[..., None] * cumulative[..., -1:]
    category = tf.range(tf.shape(probs)[-1])
    possible = probs > 0
    last = tf.reduce_max(tf.where(possible, category, -1), -1)
    beyond = tf.where(possible & (cumulative > threshold), category, last[..., None])
    return tf.reduce_min(beyond, -1)
