"""The gated recurrent unit over many steps: Keras's values, the gradients of its definition."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from rlsample import ops

MODES = {"eager": lambda f: f, "graph": tf.function, "xla": lambda f: tf.function(f, jit_compile=True)}
T, B, H = 7, 3, 4


def arguments(dtype=tf.float64, length=T):
    generator = np.random.default_rng(0)
    shapes = [(length, B, 3 * H), (H, 3 * H), (3 * H,), (B, H)]
    floats = [tf.constant(generator.normal(size=shape), dtype) for shape in shapes]
    return *floats, tf.constant(generator.random((length, B)) < 0.25)


def defined(inputs, kernel, bias, state, starts):
    """Step by step, for TensorFlow to differentiate."""
    states = []
    for row, start in zip(tf.unstack(inputs), tf.unstack(starts), strict=True):
        state = tf.where(start[:, None], tf.zeros_like(state), state)
        x, u = tf.split(row, 3, -1), tf.split(state @ kernel + bias, 3, -1)
        z, r = tf.sigmoid(x[0] + u[0]), tf.sigmoid(x[1] + u[1])
        state = z * state + (1 - z) * tf.tanh(x[2] + r * u[2])
        states.append(state)
    return tf.stack(states)


def with_gradients(function, *tensors):
    watched = tensors[:4]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        states = function(*tensors)
        weights = tf.reshape(tf.range(1, tf.size(states) + 1), states.shape)
        loss = tf.reduce_sum(tf.sin(states) * tf.cast(weights, states.dtype))
    return states, *tape.gradient(loss, watched)


@pytest.mark.parametrize("mode", sorted(MODES))
@pytest.mark.parametrize("length", [1, T])
def test_values_and_gradients_are_those_of_the_definition(mode, length):
    tensors = arguments(length=length)
    ours = MODES[mode](lambda: with_gradients(ops.gated_recurrence, *tensors))()
    for one, other in zip(ours, with_gradients(defined, *tensors), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_it_is_the_layer_of_keras():
    layer = keras.layers.GRU(H, return_sequences=True)
    features = np.random.default_rng(1).normal(size=(B, T, 5)).astype(np.float32)
    layer.build(features.shape)
    layer.cell.bias.assign(np.random.default_rng(2).normal(size=(2, 3 * H)))
    expected = layer(features)
    inputs = tf.transpose(features, [1, 0, 2]) @ layer.cell.kernel.value + layer.cell.bias.value[0]
    states = ops.gated_recurrence(
        inputs, layer.cell.recurrent_kernel.value, layer.cell.bias.value[1], tf.zeros([B, H]), tf.zeros([T, B], bool)
    )
    np.testing.assert_allclose(tf.transpose(states, [1, 0, 2]), expected, atol=1e-6)


def test_nothing_flows_over_the_start_of_an_episode():
    inputs, kernel, bias, state, _ = arguments()
    starts = np.zeros((T, B), bool)
    starts[3, 1] = True
    with tf.GradientTape() as tape:
        tape.watch((inputs, state))
        last = tf.reduce_sum(ops.gated_recurrence(inputs, kernel, bias, state, starts)[-1], -1)
        loss = tf.reduce_sum(last)
    by_inputs, by_state = tape.gradient(loss, (inputs, state))
    reached = tf.reduce_any(by_inputs != 0, -1).numpy()
    np.testing.assert_array_equal(reached, [[True, t >= 3, True] for t in range(T)])
    np.testing.assert_array_equal(tf.reduce_any(by_state != 0, -1), [True, False, True])


@pytest.mark.parametrize("mode", ["eager", pytest.param("graph", marks=pytest.mark.slow)])
def test_second_derivatives(mode):
    tensors = arguments(length=3)

    def curvature(function):
        with tf.GradientTape() as tape:
            tape.watch(tensors[:4])
            slopes = with_gradients(function, *tensors)[1:]
            total = tf.add_n([tf.reduce_sum(slope**3) for slope in slopes])
        return tape.gradient(total, tensors[:4])

    ours = MODES[mode](lambda: curvature(ops.gated_recurrence))()
    for one, other in zip(ours, curvature(defined), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-9)


def test_several_at_once():
    """What a population needs: vectorized over everything."""
    members = [tuple(tf.cast(each, tf.float32) for each in arguments()[:4]) for _ in range(2)]
    members[1] = tuple(2 * each for each in members[1])
    starts = arguments()[4]
    stacked = tuple(tf.stack(pair) for pair in zip(*members, strict=True))

    def function(tensors):
        return with_gradients(ops.gated_recurrence, *tensors, starts)

    together = tf.function(
        lambda: tf.vectorized_map(function, stacked, fallback_to_while_loop=False), jit_compile=True
    )()
    for index, member in enumerate(members):
        for one, other in zip(together, function(member), strict=True):
            np.testing.assert_allclose(one[index], other, rtol=1e-3, atol=1e-3)


def test_bad_input():
    inputs, kernel, bias, state, starts = arguments()
    with pytest.raises(ValueError, match=r"Expected inputs \[T, B, 3 H\].*kernel=\(4, 12\), bias=\(11,\)"):
        ops.gated_recurrence(inputs, kernel, bias[:-1], state, starts)
    with pytest.raises(ValueError, match=r"Received: inputs=\(7, 3, 11\)"):
        ops.gated_recurrence(inputs[..., :-1], kernel, bias, state, starts)
    with pytest.raises(ValueError, match=r"starts=\(6, 3\)"):
        ops.gated_recurrence(inputs, kernel, bias, state, starts[1:])
