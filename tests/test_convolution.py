"""The convolution: values and gradients of tf.nn.conv2d."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rlsample import ops
from tests.helpers import MODES, QUICK_MODES

CASES = [
    # inputs, kernel, strides, padding
    ((2, 10, 10, 4), (3, 3, 4, 5), 1, "valid"),
    ((2, 11, 9, 3), (4, 2, 3, 2), (3, 2), "valid"),
    ((1, 12, 12, 2), (8, 8, 2, 3), 4, "valid"),
    ((2, 7, 6, 1), (3, 3, 1, 4), 2, "same"),
    ((2, 5, 5, 2), (2, 4, 2, 2), (1, 3), "same"),
    ((3, 4, 4, 2), (1, 1, 2, 3), 3, "valid"),
    ((1, 3, 5, 1), (3, 5, 1, 1), 1, "valid"),
]


def normal(shape, seed, dtype=tf.float32):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), dtype)


def weighted(function):
    """A loss that tells every output from every other."""

    def gradients(inputs, kernel):
        with tf.GradientTape() as tape:
            tape.watch((inputs, kernel))
            outputs = function(inputs, kernel)
            loss = tf.reduce_sum(tf.sin(outputs) * normal(outputs.shape, 7, outputs.dtype))
        return outputs, *tape.gradient(loss, (inputs, kernel))

    return gradients


@pytest.mark.parametrize("mode", QUICK_MODES)
@pytest.mark.parametrize(("inputs", "kernel", "strides", "padding"), CASES)
def test_values_and_gradients_are_those_of_tensorflow(inputs, kernel, strides, padding, mode):
    inputs, kernel = normal(inputs, 1), normal(kernel, 2)
    pair = [strides, strides] if isinstance(strides, int) else list(strides)
    ours = MODES[mode](weighted(lambda x, w: ops.convolution(x, w, strides, padding)))(inputs, kernel)
    theirs = weighted(lambda x, w: tf.nn.conv2d(x, w, pair, padding.upper()))(inputs, kernel)
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_second_derivatives(mode):
    inputs, kernel = normal((1, 5, 5, 2), 1, tf.float64), normal((3, 3, 2, 2), 2, tf.float64)

    def curvature(function):
        with tf.GradientTape() as outer, tf.GradientTape() as inner:
            outer.watch((inputs, kernel))
            inner.watch((inputs, kernel))
            slopes = inner.gradient(tf.reduce_sum(tf.sin(function(inputs, kernel))), (inputs, kernel))
            total = tf.reduce_sum(slopes[0] ** 3) + tf.reduce_sum(slopes[1] ** 3)
        return outer.gradient(total, (inputs, kernel))

    ours = MODES[mode](lambda: curvature(lambda x, w: ops.convolution(x, w, 2)))()
    for one, other in zip(ours, curvature(lambda x, w: tf.nn.conv2d(x, w, 2, "VALID")), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64])
def test_dtypes_and_unknown_batches(dtype):
    signature = [tf.TensorSpec([None, 4, 4, 2], dtype), tf.TensorSpec([2, 2, 2, 3], dtype)]
    result = tf.function(ops.convolution, input_signature=signature)(
        tf.ones([5, 4, 4, 2], dtype), tf.ones([2, 2, 2, 3], dtype)
    )
    assert (result.dtype, result.shape) == (dtype, (5, 3, 3, 3))
    np.testing.assert_array_equal(tf.cast(result, tf.float32), np.full([5, 3, 3, 3], 8.0))


def test_several_kernels_at_once():
    """What a population needs: vectorized over kernels, gradients too."""
    inputs, kernels = normal((3, 2, 6, 6, 2), 1), normal((3, 3, 3, 2, 4), 2)
    function = weighted(lambda x, w: ops.convolution(x, w, 2))
    together = tf.function(
        lambda: tf.vectorized_map(lambda pair: function(*pair), (inputs, kernels), fallback_to_while_loop=False),
        jit_compile=True,
    )()
    for member in range(3):
        for one, other in zip(together, function(inputs[member], kernels[member]), strict=True):
            np.testing.assert_allclose(one[member], other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("inputs", "kernel", "options", "message"),
    [
        ((1, 4, 4, 2), (2, 2, 3, 1), {}, "as many channels"),
        ((4, 4, 2), (2, 2, 2, 1), {}, "as many channels"),
        ((1, 4, 4, 2), (5, 2, 2, 1), {}, "a kernel no larger than the inputs"),
        ((1, 4, 4, 2), (2, 2, 2, 1), {"strides": 0}, "strides of at least 1"),
        ((1, 4, 4, 2), (2, 2, 2, 1), {"padding": "full"}, "padding to be valid or same"),
    ],
)
def test_bad_input(inputs, kernel, options, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}.*Received"):
        ops.convolution(tf.zeros(inputs), tf.zeros(kernel), **options)
