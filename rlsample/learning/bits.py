"""Flags eight to a byte: what masks of large action spaces are kept as."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

WEIGHTS = 2 ** np.arange(7, -1, -1)
"""Of the bits of a byte, the first flag's first: as `np.packbits` has it."""


def pack_bits(flags: tf.Tensor) -> tf.Tensor:
    """Bools `[..., n]` -> uint8 `[..., ceil(n / 8)]`, as `np.packbits` gives them, in compiled code.

    Examples:
        >>> from rlsample.learning.bits import pack_bits
        >>> pack_bits(tf.constant([True, False, False, False, False, False, False, True, True])).numpy()
        array([129, 128], dtype=uint8)
    """
    width = flags.shape[-1]
    padded = tf.pad(tf.cast(flags, tf.int32), [[0, 0]] * (flags.shape.rank - 1) + [[0, -width % 8]])
    bits = tf.reshape(padded, [*flags.shape[:-1], -1, 8])
    return tf.cast(tf.reduce_sum(bits * tf.constant(WEIGHTS, tf.int32), -1), tf.uint8)


def unpack_bits(packed: tf.Tensor, width: int) -> tf.Tensor:
    """uint8 `[..., ceil(width / 8)]` -> bools `[..., width]`: what `pack_bits` or `np.packbits` packed.

    Examples:
        >>> from rlsample.learning.bits import unpack_bits
        >>> unpack_bits(tf.constant([192], tf.uint8), 3).numpy()
        array([ True,  True, False])
    """
    # Each byte beside its copies, not along a new axis: XLA then needs a fifth of the time.
    weights = tf.tile(tf.constant(WEIGHTS, tf.uint8), [packed.shape[-1]])
    return tf.bitwise.bitwise_and(tf.repeat(packed, 8, -1), weights)[..., :width] != 0
