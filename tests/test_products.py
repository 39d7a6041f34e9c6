"""Narrow matrix products: those of tf.matmul, with the same gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rlsample import ops

MODES = {"eager": lambda f: f, "graph": tf.function, "xla": lambda f: tf.function(f, jit_compile=True)}


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 8, 9])
@pytest.mark.parametrize("batch", [(5,), (2, 3), ()])
@pytest.mark.parametrize("mode", sorted(MODES))
@pytest.mark.thinned(4)
def test_value_and_gradients_are_those_of_matmul(columns, batch, mode):
    inputs = tf.random.stateless_normal([*batch, 6], [1, 2])
    kernel = tf.random.stateless_normal([6, columns], [3, 4])
    weights = tf.random.stateless_normal([*batch, columns], [5, 6])

    def run(product, inputs, kernel):
        with tf.GradientTape() as tape:
            tape.watch((inputs, kernel))
            value = product(inputs, kernel)
            loss = tf.reduce_sum(tf.square(value) * weights)
        return value, *tape.gradient(loss, (inputs, kernel))

    ours = MODES[mode](lambda *a: run(ops.narrow_matmul, *a))(inputs, kernel)
    theirs = run(lambda x, w: tf.tensordot(x, w, 1), inputs, kernel)
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_second_derivatives():
    inputs, kernel = tf.random.stateless_normal([4, 3], [1, 2]), tf.random.stateless_normal([3, 2], [3, 4])

    def hessian_product(product):
        with tf.GradientTape() as outer, tf.GradientTape() as inner:
            outer.watch((inputs, kernel))
            inner.watch((inputs, kernel))
            loss = tf.reduce_sum(tf.exp(product(inputs, kernel)))
            slopes = inner.gradient(loss, (inputs, kernel))
            total = tf.reduce_sum(slopes[0] ** 2) + tf.reduce_sum(slopes[1] ** 2)
        return outer.gradient(total, (inputs, kernel))

    ours = tf.function(lambda: hessian_product(ops.narrow_matmul))()
    for one, other in zip(ours, hessian_product(tf.matmul), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64])
def test_dtypes_and_unknown_batches(dtype):
    signature = [tf.TensorSpec([None, None, 3], dtype), tf.TensorSpec([3, 2], dtype)]
    product = tf.function(ops.narrow_matmul, input_signature=signature)
    result = product(tf.ones([4, 5, 3], dtype), tf.ones([3, 2], dtype))
    assert (result.dtype, result.shape) == (dtype, (4, 5, 2))
    np.testing.assert_array_equal(tf.cast(result, tf.float32), np.full([4, 5, 2], 3.0))
