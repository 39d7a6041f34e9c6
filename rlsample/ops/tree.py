"""A binary tree over categories: every choice among K as at most log2(K) choices between two."""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf


@functools.cache
def leaf_slots(categories: int) -> np.ndarray:
    """Where the categories are among the 2^depth leaves of a balanced tree, in order: int `[K]`.

    Every node has its categories divided between its two sides, the left one having one more if they are odd in
    number. Leaves without a category are right-hand ones, beside a leaf that has one.
    """
    counts = np.array([categories])
    while counts.max() > 1:
        counts = np.stack([(counts + 1) // 2, counts // 2], -1).ravel()
    return np.flatnonzero(counts)


def to_leaves(values: tf.Tensor, fill: float) -> tf.Tensor:
    """Values `[..., K]` of the categories at the leaves `[..., 2^depth]`, `fill` at those without one."""
    slots = leaf_slots(values.shape[-1])
    index = np.full(2 ** int(slots[-1]).bit_length(), len(slots))
    index[slots] = np.arange(len(slots))
    padding = tf.fill(tf.concat([tf.shape(values)[:-1], [1]], 0), tf.constant(fill, values.dtype))
    return tf.gather(tf.concat([values, padding], -1), index, axis=-1)


def from_leaves(leaves: tf.Tensor, categories: int) -> tf.Tensor:
    """Values `[..., 2^depth]` of the leaves at the categories `[..., K]`."""
    return tf.gather(leaves, leaf_slots(categories), axis=-1)


def sides(children: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The left and the right children `[..., N]` of the nodes of one level, from the `[..., 2 N]` of the next."""
    return children[..., 0::2], children[..., 1::2]


def join(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """The children `[..., 2 N]` of a level's nodes from their left and right ones, `[..., N]` each."""
    shape = tf.concat([tf.shape(left)[:-1], [2 * left.shape[-1]]], 0)
    joined = tf.reshape(tf.stack([left, right], -1), shape)
    return tf.ensure_shape(joined, [*left.shape[:-1], 2 * left.shape[-1]])


def log_sum(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """log(exp(left) + exp(right)), whose gradient is right where the two are equal, too."""
    return tf.reduce_logsumexp(tf.stack([left, right]), 0)
