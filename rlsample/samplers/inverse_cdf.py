"""Categorical draws by inversion: for hard samplers whose backward pass needs the probabilities only."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from rlsample import ops
from rlsample.samplers.shapes import num_categories

# Up to this many categories one cumulative sum is quick and precise; beyond, a block is drawn first.
LARGEST_BLOCK = 64
# Numbers to sum from which on starting a matrix product pays.
WORTH_A_PRODUCT = 4096


def draw_one_hot(probs: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws as `draw_category` does: (action int32 `[...]`, the same one-hot `[..., K]` in the dtype of `probs`)."""
    action = draw_category(probs, seed)
    return action, tf.one_hot(action, num_categories(probs), dtype=probs.dtype)


def draw_category(probs: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws categories with the given probabilities by inverting the cumulative distribution.

    One uniform per row for up to 64 categories. More are split into about sqrt(K) blocks: a block is drawn, then a
    category inside it, each with a uniform of its own. Cumulative sums stay short, which is both quicker and, since
    uniforms lie on a grid of 2^-23, what keeps a million categories undistorted. A category of probability 0 is never
    drawn, whatever the rounding at the end of a cumulative sum.

    Args:
        probs: float `[..., K]`, rows that sum to 1 up to rounding; no gradient flows to them.
        seed: int32 `[2]`.

    Returns:
        int32 `[...]`; -1 for a row of NaN.
    """
    probs = tf.stop_gradient(probs)
    if probs.shape.rank == 2:
        return _draw_rows(probs, seed)
    rows = tf.reshape(probs, [-1, num_categories(probs)])
    return tf.ensure_shape(tf.reshape(_draw_rows(rows, seed), tf.shape(probs)[:-1]), probs.shape[:-1])


def _draw_rows(rows: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    number = tf.shape(rows)[0] if rows.shape[0] is None else rows.shape[0]
    categories = num_categories(rows)
    if isinstance(categories, int) and categories <= LARGEST_BLOCK:
        return _invert(rows, ops.uniform([number], seed))
    return _draw_by_blocks(rows, number, categories, seed)


def _draw_by_blocks(
    rows: tf.Tensor, number: int | tf.Tensor, categories: int | tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
    if isinstance(categories, int):
        width = math.isqrt(categories - 1) + 1
    else:
        width = tf.cast(tf.math.ceil(tf.sqrt(tf.cast(categories, tf.float64))), tf.int32)
    count = (categories + width - 1) // width
    uniforms = ops.uniform([2, number], seed)
    padded = tf.pad(rows, [[0, 0], [0, count * width - categories]])
    block = _invert(tf.reduce_sum(tf.reshape(padded, [-1, count, width]), -1), uniforms[0])
    # Read the block from the rows, not from their padded copy, which XLA then need not write.
    index = tf.maximum(block, 0)[:, None] * width + tf.range(width)
    inside = tf.gather(rows, tf.minimum(index, categories - 1), batch_dims=1)
    position = _invert(tf.where(index < categories, inside, tf.zeros_like(inside)), uniforms[1])
    return tf.where((block < 0) | (position < 0), tf.constant(-1), block * width + position)


def _invert(weights: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """First index `[N]` at which the cumulative sum of `weights` `[N, K]` exceeds its share `uniform` `[N]`."""
    cumulative = _cumulative_sum(weights)
    threshold = tf.expand_dims(tf.cast(uniform, weights.dtype), -1) * cumulative[:, -1:]
    size = num_categories(weights)
    index = np.arange(size, dtype=np.int32) if isinstance(size, int) else tf.range(size)
    # Rounding may leave no entry above the threshold, and a parallel cumulative sum need not increase. So: the first
    # possible entry above it, else the last possible one (ranked size..2 size, later first), else none.
    rank = tf.where(cumulative > threshold, index, 2 * size - index)
    rank = tf.reduce_min(tf.where(weights > 0, rank, 2 * size + 1), -1)
    return tf.where(rank < size, rank, 2 * size - rank)


def _cumulative_sum(weights: tf.Tensor) -> tf.Tensor:
    rows, size = weights.shape
    short = rows is not None and size is not None and size <= LARGEST_BLOCK
    # A GPU may round the factors of a product to 10 bits.
    if not short or rows * size < WORTH_A_PRODUCT or tf.config.list_physical_devices("GPU"):
        return tf.cumsum(weights, -1)
    # The same sums at a fifth of the time that XLA takes on a CPU for many short ones.
    return tf.matmul(weights, tf.constant(np.triu(np.ones([size, size])), weights.dtype))
