"""Our side and TensorFlow's own of what is benchmarked besides the samplers: losses, products, eager calls, a head."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rlsample import heads, ops, samplers

Work = Callable[[], Any]


def prepare(piece: str, **case: Any) -> Work:
    """The piece of that name, warmed up."""
    run = PIECES[piece](**case)
    run()
    return run


def _normal(shape: list[int], seed: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


def cross_entropy(shape: list[int], ours: bool, sparse: bool, compiled: bool) -> Work:
    """A cross-entropy and its gradient."""
    logits = _normal(shape, 0)
    labels = tf.argmax(_normal(shape, 1), -1, output_type=tf.int32) if sparse else tf.nn.softmax(_normal(shape, 1))
    if ours:
        loss = ops.sparse_softmax_cross_entropy if sparse else ops.softmax_cross_entropy
    else:
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits if sparse else tf.nn.softmax_cross_entropy_with_logits

    @tf.function(jit_compile=compiled, autograph=False)
    def both(labels: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(labels, logits)
        return value, tape.gradient(value, logits)

    return _call(both, labels, logits)


def softmax_vjp(categories: int, ours: bool) -> Work:
    """The product of a softmax's Jacobian with a vector; the other way builds the Jacobian."""
    logits, upstream = _normal([1, categories], 0), _normal([1, categories], 1)

    @tf.function(jit_compile=True, autograph=False)
    def product(logits: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        if ours:
            return ops.softmax_vjp(ops.softmax(logits), upstream)
        return tf.linalg.matvec(ops.softmax_jacobian(logits), upstream)

    return _call(product, logits, upstream)


def _call(function: Any, *arguments: tf.Tensor) -> Work:
    concrete = function.get_concrete_function(*arguments)

    def run() -> None:
        # Reading a tensor waits for it.
        tf.nest.map_structure(np.asarray, concrete(*arguments))

    return run


def eager_sampler(sampler: str, shape: list[int], ours: bool) -> Work:
    """An eager draw: the sampler called, or its operations written out in line."""
    logits, seed, called = _normal(shape, 0), tf.constant([0, 1]), samplers.create(sampler)
    inline = {"straight_through_gumbel_softmax": _inline_gumbel, "straight_through": _inline_inversion}[sampler]
    return functools.partial(called if ours else inline, logits, seed)


def _inline_gumbel(logits: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    weights = tf.exp(_shift(logits)) / -tf.math.log(_inline_uniform(logits.shape, seed))
    relaxed = weights * tf.math.reciprocal(tf.reduce_sum(weights, -1, keepdims=True))
    action = tf.argmax(weights, -1, output_type=tf.int32)
    return action, tf.one_hot(action, logits.shape[-1]) + (relaxed - tf.stop_gradient(relaxed))


def _inline_inversion(logits: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    weights = tf.exp(_shift(logits))
    probs = weights * tf.math.reciprocal(tf.reduce_sum(weights, -1, keepdims=True))
    cumulative, size = tf.cumsum(tf.stop_gradient(probs), -1), logits.shape[-1]
    index = np.arange(size, dtype=np.int32)
    threshold = tf.expand_dims(_inline_uniform(logits.shape[:1], seed), -1) * cumulative[:, -1:]
    rank = tf.where(probs > 0, tf.where(cumulative > threshold, index, 2 * size - index), 2 * size + 1)
    rank = tf.reduce_min(rank, -1)
    action = tf.where(rank < size, rank, 2 * size - rank)
    return action, tf.one_hot(action, size) + (probs - tf.stop_gradient(probs))


def _shift(logits: tf.Tensor) -> tf.Tensor:
    largest = tf.stop_gradient(tf.reduce_max(logits, -1, keepdims=True))
    shifted = logits - tf.where(largest < float("inf"), largest, float("nan"))
    return tf.where(shifted < -3e38, -3e38, shifted)


def _inline_uniform(shape: tf.TensorShape, seed: tf.Tensor) -> tf.Tensor:
    bits = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=tf.convert_to_tensor(shape, tf.int32),
        key=tf.bitcast(tf.expand_dims(seed, 0), tf.uint64),
        counter=tf.constant([0, 0], tf.uint64),
        alg=1,
        dtype=tf.uint32,
    )
    return (tf.cast(tf.bitwise.right_shift(bits, tf.constant(9, tf.uint32)), tf.float32) + 0.5) * 2.0**-23


def act(num_envs: int, ours: bool, compiled: bool) -> Work:
    """Features to a draw: a head and its distribution, or a Keras layer and the operations in line."""
    features, seed = _normal([num_envs, 64], 0), tf.constant([0, 1])
    head = heads.CategoricalHead(4, sampler="straight_through")
    dense = keras.layers.Dense(4)

    def draw(features: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        if ours:
            return head.sample(head(features), seed).one_hot
        return _inline_inversion(dense(features), seed)[1]

    if compiled:
        return _call(tf.function(draw, jit_compile=True, autograph=False), features, seed)
    return functools.partial(draw, features, seed)


PIECES: dict[str, Callable[..., Work]] = {
    "cross_entropy": cross_entropy,
    "softmax_vjp": softmax_vjp,
    "eager_sampler": eager_sampler,
    "act": act,
}
