"""Noise from stateless seeds: the same numbers in eager, graph and XLA.

TensorFlow's float draws differ between eager and XLA for the same seed; its uint32 bits with the Philox algorithm do
not. Uniforms are therefore built from bits, in float32, in the open interval, and everything else from uniforms.
"""

from __future__ import annotations

import itertools

import numpy as np
import tensorflow as tf

from rlsample import checks
from rlsample.types import TensorLike

# From this many words on, keeping the generator apart is worth a branch.
WORTH_A_BRANCH = 128
# XLA makes one function of all generators of one shape in a program, which then no longer makes use of what is known of
# its arguments: 4 times the work. In large draws axes of length 1, up to so many, tell the shapes apart; the numbers do
# not change.
WORTH_AN_AXIS, MOST_AXES = 2**16, 32
_large_draws = itertools.count()


def bits(shape: TensorLike, seed: TensorLike) -> tf.Tensor:
    """Uniform uint32 bits of the given shape, identical in eager, graph and XLA."""
    seed = checks.check_seed(seed)
    known = None if tf.executing_eagerly() else tf.get_static_value(tf.convert_to_tensor(shape, tf.int32))
    # AutoGraph reads no assignment inside of a condition.
    if known is None or np.prod(known) < WORTH_A_BRANCH or tf.config.list_physical_devices("GPU"):
        return _philox(shape, seed)
    # XLA on a CPU fuses the generator into whatever reads the noise, and then computes each block of four words once
    # for every word: 3 to 4 times the work. A branch keeps the two apart. It is always taken (twice a number is even),
    # but the compiler does not know that.
    if np.prod(known) >= WORTH_AN_AXIS:
        shape = [*[1] * (next(_large_draws) % MOST_AXES), *known]
    words = tf.cond(2 * seed[0] != 1, lambda: _philox(shape, seed), lambda: tf.zeros(shape, tf.uint32))
    return tf.reshape(words, known)


def _philox(shape: TensorLike, seed: tf.Tensor) -> tf.Tensor:
    # The seed is Philox's key as it stands, its counter starts at 0. The public wrapper would first draw both from the
    # seed, which costs more than most draws; Philox takes any key, also keys that are close to each other.
    key = tf.bitcast(tf.expand_dims(seed, 0), tf.uint64)
    return tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=tf.convert_to_tensor(shape, tf.int32),
        key=key,
        counter=tf.constant([0, 0], tf.uint64),
        alg=tf.random.Algorithm.PHILOX.value,
        dtype=tf.uint32,
    )


def shape_of(tensor: tf.Tensor) -> tf.TensorShape | tf.Tensor:
    """The shape of a tensor, for noise of that shape: static where it is known, since `bits` is quickest with that."""
    return tensor.shape if tensor.shape.is_fully_defined() else tf.shape(tensor)


def uniform(shape: TensorLike, seed: TensorLike) -> tf.Tensor:
    """Uniform noise in the open interval (0, 1): float32 of the given shape.

    Values are (n + 1/2) / 2^23 with n in 0 .. 2^23 - 1: never 0 or 1, exact in float32, symmetric about 1/2.

    Args:
        shape: the shape, static or a tensor.
        seed: stateless seed, int32 `[2]`.

    Raises:
        ValueError: the seed is not a pair of integers.

    Examples:
        >>> ops.uniform([3], seed=(0, 1)).numpy()
        array([0.992, 0.978, 0.201], dtype=float32)
        >>> ops.uniform([3], seed=(0, 1)).numpy()  # the same seed, the same noise
        array([0.992, 0.978, 0.201], dtype=float32)
    """
    return (tf.cast(tf.bitwise.right_shift(bits(shape, seed), tf.constant(9, tf.uint32)), tf.float32) + 0.5) * 2.0**-23


def exponential(shape: TensorLike, seed: TensorLike) -> tf.Tensor:
    """Standard exponential noise, -log U: float32, finite and above zero.

    Examples:
        >>> ops.exponential([3], seed=(0, 1)).numpy()
        array([0.008, 0.022, 1.604], dtype=float32)
    """
    return -tf.math.log(uniform(shape, seed))


def gumbel(shape: TensorLike, seed: TensorLike) -> tf.Tensor:
    """Standard Gumbel noise, -log(-log U): float32, in [-2.82, 16.64].

    argmax(logits + gumbel) is distributed as softmax(logits) (Gumbel 1954; Maddison, Tarlow and Minka 2014). The float
    grid bounds the noise, so a category more than 19.4 nats below another is never drawn in its presence: an error
    of at most 4e-9 in probability.

    Examples:
        >>> noise = ops.gumbel([10_000, 3], seed=(0, 1))
        >>> actions = tf.argmax([0.0, 1.0, 2.0] + noise, -1)
        >>> print(np.bincount(actions) / 10_000, ops.softmax([0.0, 1.0, 2.0]).numpy())
        [0.089 0.243 0.668] [0.09  0.245 0.665]
    """
    return -tf.math.log(exponential(shape, seed))


def split(seed: TensorLike, num: int) -> tf.Tensor:
    """Derives `num` independent seeds from one: int32 `[num, 2]`.

    Examples:
        >>> ops.split((0, 1), 2).numpy()
        array([[ -35766773,  -92383050],
               [ 864087110, -657105841]], dtype=int32)
    """
    return tf.bitcast(bits([num, 2], seed), tf.int32)


def fold_in(seed: TensorLike, data: TensorLike) -> tf.Tensor:
    """Derives the seed that belongs to the integer `data` (a step, an index): int32 `[2]`.

    Different data of one dtype give different seeds. The result depends on all 64 bits of the seed, so folding may be
    repeated.

    Raises:
        ValueError: the seed is not a pair of integers, or `data` is not an integer.

    Examples:
        >>> ops.fold_in((0, 1), 7).numpy(), ops.fold_in((0, 1), 8).numpy()
        (array([992816875, 827825947], dtype=int32), array([992816875, 827825940], dtype=int32))
    """
    data = tf.convert_to_tensor(data)
    if not data.dtype.is_integer or data.shape.rank not in (0, None):
        raise checks.invalid("data to be one integer", dtype=data.dtype.name, shape=tuple(data.shape))
    # The constant sets these words apart from those that `split` and the draws make of the same seed.
    words = bits([2], tf.bitwise.bitwise_xor(checks.check_seed(seed), tf.constant([0x5851F42D, 0x4C957F2D], tf.int32)))
    wide = data.dtype.size > 4
    low, high = tf.unstack(tf.bitcast(data, tf.int32)) if wide else (tf.cast(data, tf.int32), tf.constant(0))
    word, other = tf.unstack(tf.bitcast(words, tf.int32))
    return tf.stack([tf.bitwise.bitwise_xor(word, high), tf.bitwise.bitwise_xor(other, low)])
