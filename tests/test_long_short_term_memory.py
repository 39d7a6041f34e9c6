"""The long short-term memory over many steps: values and gradients of Keras's cell, stepped one by one."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from rlsample import ops
from tests.helpers import MODES, QUICK_MODES

T, B, H, D = 7, 3, 4, 5
CLOSE = {"float32": {"rtol": 2e-4, "atol": 2e-5}, "float64": {"rtol": 1e-9, "atol": 1e-12}}


def cell_of(dtype):
    """Keras's cell, with weights that are nothing special."""
    cell = keras.layers.LSTMCell(H, dtype=dtype)
    cell.build((None, D))
    for number, weight in enumerate(cell.trainable_variables):
        weight.assign(np.random.default_rng(number).normal(size=weight.shape))
    return cell


def arguments(dtype="float64", length=T, rows=B):
    """Features, both states and where episodes begin."""
    generator = np.random.default_rng(0)
    shapes = (length, rows, D), (rows, H), (rows, H)
    floats = [tf.constant(generator.normal(size=shape), dtype) for shape in shapes]
    return *floats, tf.constant(generator.random((length, rows)) < 0.25)


def stepped(cell, features, hidden, memory, starts):
    """By Keras's cell step by step, for TensorFlow to differentiate."""
    hiddens, memories = [], []
    for row, start in zip(tf.unstack(features), tf.unstack(starts), strict=True):
        hidden, memory = (tf.where(start[:, None], tf.zeros_like(part), part) for part in (hidden, memory))
        _, (hidden, memory) = cell(row, [hidden, memory])
        hiddens.append(hidden)
        memories.append(memory)
    return tf.stack(hiddens), tf.stack(memories)


def at_once(cell, features, hidden, memory, starts):
    """By the operation."""
    inputs = tf.tensordot(features, cell.kernel.value, 1) + cell.bias.value
    return ops.long_short_term_memory(inputs, cell.recurrent_kernel.value, hidden, memory, starts)


def loss_of(hiddens, memories):
    """Another weight for each number, of either state."""
    weights = tf.cast(tf.reshape(tf.range(1, tf.size(hiddens) + 1), tf.shape(hiddens)), hiddens.dtype)
    return tf.reduce_sum(weights * (tf.sin(hiddens) + tf.cos(2 * memories)))


def with_gradients(function, cell, features, hidden, memory, starts):
    watched = [features, hidden, memory, *(weight.value for weight in cell.trainable_variables)]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        states = function(cell, features, hidden, memory, starts)
        loss = loss_of(*states)
    return *states, *tape.gradient(loss, watched)


@pytest.mark.parametrize("mode", QUICK_MODES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("length", "rows"), [(T, B), pytest.param(1, B, marks=pytest.mark.slow), (T, 1)])
def test_values_and_gradients_are_those_of_keras_s_cell(mode, dtype, length, rows):
    cell, tensors = cell_of(dtype), arguments(dtype, length, rows)
    if length > 1:
        assert np.any(tensors[-1]), "some episode begins"
    ours = MODES[mode](lambda: with_gradients(at_once, cell, *tensors))()
    assert len(ours) == 8
    for one, other in zip(ours, with_gradients(stepped, cell, *tensors), strict=True):
        assert one.dtype == dtype
        largest = float(tf.reduce_max(tf.abs(other)))
        np.testing.assert_allclose(one / largest, other / largest, **CLOSE[dtype])


@pytest.mark.parametrize("which", [0, 1])
def test_the_gradient_of_one_state_alone(which):
    cell, tensors = cell_of("float64"), arguments()

    def slopes(function):
        with tf.GradientTape() as tape:
            tape.watch(tensors[:3])
            loss = tf.reduce_sum(tf.sin(function(cell, *tensors)[which]))
        return tape.gradient(loss, tensors[:3])

    for one, other in zip(slopes(at_once), slopes(stepped), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_nothing_flows_over_the_start_of_an_episode():
    cell, (features, hidden, memory, _) = cell_of("float64"), arguments()
    starts = np.zeros((T, B), bool)
    starts[3, 1] = True
    with tf.GradientTape() as tape:
        tape.watch((features, hidden, memory))
        last = tf.add_n([tf.reduce_sum(states[-1]) for states in at_once(cell, features, hidden, memory, starts)])
    by_features, *by_states = tape.gradient(last, (features, hidden, memory))
    reached = tf.reduce_any(by_features != 0, -1).numpy()
    np.testing.assert_array_equal(reached, [[True, t >= 3, True] for t in range(T)])
    for slope in by_states:
        np.testing.assert_array_equal(tf.reduce_any(slope != 0, -1), [True, False, True])


@pytest.mark.parametrize("mode", ["eager", pytest.param("graph", marks=pytest.mark.slow)])
def test_second_derivatives(mode):
    cell, tensors = cell_of("float64"), arguments(length=3)

    def curvature(function):
        with tf.GradientTape() as tape:
            tape.watch(tensors[:3])
            slopes = with_gradients(function, cell, *tensors)[2:]
            total = tf.add_n([tf.reduce_sum(slope**2) for slope in slopes])
        return tape.gradient(total, tensors[:3])

    ours = MODES[mode](lambda: curvature(at_once))()
    for one, other in zip(ours, curvature(stepped), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-9)


@pytest.mark.slow
def test_several_at_once():
    """What a population needs: vectorized over everything."""
    generator = np.random.default_rng(4)
    shapes = (T, B, 4 * H), (H, 4 * H), (B, H), (B, H)
    stacked = tuple(tf.constant(generator.normal(size=(2, *shape)), tf.float32) for shape in shapes)
    starts = arguments()[-1]

    def function(tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            states = ops.long_short_term_memory(*tensors, starts)
            loss = loss_of(*states)
        return *states, *tape.gradient(loss, tensors)

    together = tf.function(
        lambda: tf.vectorized_map(function, stacked, fallback_to_while_loop=False), jit_compile=True
    )()
    for index in range(2):
        for one, other in zip(together, function(tuple(part[index] for part in stacked)), strict=True):
            np.testing.assert_allclose(one[index], other, rtol=1e-3, atol=2e-3)


def test_bad_input():
    generator = np.random.default_rng(0)
    inputs, kernel, state = (generator.normal(size=shape) for shape in [(T, B, 4 * H), (H, 4 * H), (B, H)])
    starts = np.zeros((T, B), bool)
    with pytest.raises(ValueError, match=r"Expected inputs \[T, B, 4 H\].*kernel=\(4, 15\), hidden=\(3, 4\)"):
        ops.long_short_term_memory(inputs, kernel[:, :-1], state, state, starts)
    with pytest.raises(ValueError, match=r"hidden=\(3, 4\), cell=\(3, 3\), starts=\(7, 3\)"):
        ops.long_short_term_memory(inputs, kernel, state, state[:, :-1], starts)
    with pytest.raises(ValueError, match=r"starts=\(6, 3\)"):
        ops.long_short_term_memory(inputs, kernel, state, state, starts[1:])
