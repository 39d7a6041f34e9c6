from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from rlsample.ops.surrogate import surrogate_gradient, with_gradient_of
from rlsample.types import Sample
from tests.helpers import MODES

X = [-2.0, -1.0, 1.0]
NOISE = [1.07, 0.93, 1.02]
root = surrogate_gradient(lambda x, u: tf.sqrt(x**2 * u), lambda x, u: tf.sqrt(x**2))


@pytest.fixture(params=MODES)
def mode(request):
    return MODES[request.param]


def value_and_gradient(function, *arguments):
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        value = function(*arguments)
    return value, tape.gradient(value, arguments)


# ---- the case it is known by


def test_forward_keeps_the_noise_and_the_gradient_ignores_it(mode):
    x, u = tf.constant(X), tf.constant(NOISE)
    value, (to_x, to_u) = mode(lambda x, u: value_and_gradient(root, x, u))(x, u)
    np.testing.assert_allclose(value, np.sqrt(np.square(X) * NOISE), rtol=1e-6)
    assert to_x.numpy().tolist() == [-1.0, -1.0, 1.0]
    assert to_u is None


def test_replacing_the_inner_term_fails():
    def inner(x, u):
        y = x**2
        return tf.sqrt(tf.stop_gradient(y * u - y) + y)

    def last(x, u):
        y = x**2
        return tf.stop_gradient(tf.sqrt(y * u) - tf.sqrt(y)) + tf.sqrt(y)

    x, u = tf.constant(X), tf.constant(NOISE)
    value, (gradient, _) = value_and_gradient(inner, x, u)
    np.testing.assert_allclose(value, root(x, u), rtol=1e-6)
    np.testing.assert_allclose(gradient, np.sign(X) / np.sqrt(NOISE), rtol=1e-6)
    assert np.min(np.abs(gradient - np.sign(X))) > 0.009
    _, (gradient, _) = value_and_gradient(last, x, u)
    np.testing.assert_allclose(gradient, np.sign(X), rtol=1e-6)


def test_in_the_middle_of_a_long_graph(mode):
    # Before and after it, the chain rule runs as usual: what follows is differentiated at the noisy value.
    def before(w):
        return tf.tanh(w) * 3

    x, u = tf.constant(X), tf.constant(NOISE)
    _, (gradient, _) = mode(lambda w, u: value_and_gradient(lambda w, u: tf.sin(root(before(w), u)) ** 2, w, u))(x, u)
    inner = 3 * np.tanh(X)
    noisy = np.sqrt(inner**2 * NOISE)
    expected = 2 * np.sin(noisy) * np.cos(noisy) * np.sign(inner) * 3 * (1 - np.tanh(X) ** 2)
    np.testing.assert_allclose(gradient, expected, rtol=2e-5)


# ---- wherever it stands


def test_nested_on_either_side(mode):
    outer = surrogate_gradient(surrogate_gradient(tf.round, tf.sin), surrogate_gradient(tf.cos, lambda x: x**3))
    x = tf.constant([0.3, 1.6])
    value, (gradient,) = mode(lambda x: value_and_gradient(outer, x))(x)
    np.testing.assert_array_equal(value, [0.0, 2.0])
    np.testing.assert_allclose(gradient, 3 * np.square([0.3, 1.6]), rtol=1e-6)


def test_inside_another_one(mode):
    step = surrogate_gradient(tf.sign, tf.tanh)
    outer = surrogate_gradient(lambda x: 7 * step(x), lambda x: step(x) * x)
    x = tf.constant([0.5, -2.0])
    value, (gradient,) = mode(lambda x: value_and_gradient(outer, x))(x)
    np.testing.assert_array_equal(value, [7.0, -7.0])
    expected = np.sign(x) + x * (1 - np.tanh(x) ** 2)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)


def test_several_arguments_and_structures(mode):
    function = surrogate_gradient(
        lambda inputs, scale: {"sum": tf.round(inputs[0] + inputs[1]), "parts": [tf.floor(inputs[0]), scale + 0.0]},
        lambda inputs, scale: {"sum": inputs[0] * inputs[1], "parts": [scale * inputs[0], scale**2]},
    )

    def run(a, b, scale):
        with tf.GradientTape() as tape:
            tape.watch([a, b, scale])
            out = function((a, b), scale=scale)
            total = tf.reduce_sum(out["sum"]) + 10 * out["parts"][0] + 100 * out["parts"][1]
        return out, tape.gradient(total, [a, b, scale])

    out, gradients = mode(run)(tf.constant(1.6), tf.constant(2.0), tf.constant(0.5))
    assert (float(out["sum"]), float(out["parts"][0]), float(out["parts"][1])) == (4.0, 1.0, 0.5)
    np.testing.assert_allclose(gradients, [2.0 + 10 * 0.5, 1.6, 10 * 1.6 + 100 * 2 * 0.5], rtol=1e-6)


def test_integer_leaves_come_from_forward():
    def hard(logits):
        action = tf.argmax(logits, -1, output_type=tf.int32)
        return Sample(action, tf.one_hot(action, 3))

    draw = surrogate_gradient(
        hard, lambda logits: Sample(tf.zeros_like(logits[..., 0], tf.int32), tf.nn.softmax(logits))
    )
    logits = tf.constant([[0.1, 2.0, -1.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        sample = draw(logits)
        total = tf.reduce_sum(sample.one_hot * [1.0, 2.0, 4.0])
    assert isinstance(sample, Sample)
    assert sample.action.numpy() == [1]
    assert sample.one_hot.numpy().tolist() == [[0.0, 1.0, 0.0]]
    p = tf.nn.softmax(logits)[0].numpy()
    upstream = np.array([1.0, 2.0, 4.0])
    np.testing.assert_allclose(tape.gradient(total, logits)[0], p * (upstream - p @ upstream), rtol=1e-5)


def test_variables_of_backward_learn_and_those_of_forward_do_not(mode):
    ahead, behind = tf.Variable(3.0), tf.Variable(5.0)
    function = surrogate_gradient(lambda x: ahead * x, lambda x: behind * x**2)

    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x) * 2
        return value, tape.gradient(value, [x, ahead, behind], unconnected_gradients=tf.UnconnectedGradients.ZERO)

    value, gradients = mode(run)(tf.constant(2.0))
    assert float(value) == 12.0
    assert [float(gradient) for gradient in gradients] == [2 * 5 * 2 * 2.0, 0.0, 2 * 4.0]


def test_keras_layers_as_functions(mode):
    ahead, behind = keras.layers.Dense(2), keras.layers.Dense(2)
    ahead.build((None, 3))
    behind.build((None, 3))
    function = surrogate_gradient(ahead, behind)
    x = tf.constant(np.random.default_rng(0).normal(size=(4, 3)), tf.float32)

    def run(x):
        with tf.GradientTape() as tape:
            value = function(x)
        return value, tape.gradient(value, behind.trainable_variables)

    value, (kernel, bias) = mode(run)(x)
    np.testing.assert_allclose(value, ahead(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(kernel, np.repeat(x.numpy().sum(0)[:, None], 2, 1), rtol=1e-5)
    np.testing.assert_array_equal(bias, [4.0, 4.0])
    with tf.GradientTape() as tape:
        value = function(x)
    assert tape.gradient(value, ahead.trainable_variables) == [None, None]


def test_second_derivative_is_that_of_backward(mode):
    function = surrogate_gradient(tf.round, lambda x: x**3)

    def run(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                value = function(x) ** 2
            first = inner.gradient(value, x)
        return first, outer.gradient(first, x)

    x = 1.7
    first, second = mode(run)(tf.constant(x))
    np.testing.assert_allclose(first, 2 * 2 * 3 * x**2, rtol=1e-5)
    np.testing.assert_allclose(second, 2 * (3 * x**2) ** 2 + 2 * 2 * 6 * x, rtol=1e-5)


def test_forward_mode_sees_backward_too():
    x = tf.constant([0.3, 1.6])
    with tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)) as accumulator:
        value = surrogate_gradient(tf.round, lambda x: x**2)(x)
    np.testing.assert_allclose(accumulator.jvp(value), 2 * x)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64, tf.complex64], ids=lambda dtype: dtype.name)
def test_dtypes(dtype, mode):
    function = surrogate_gradient(lambda x: x + 1, lambda x: 3 * x)
    value, (gradient,) = mode(lambda x: value_and_gradient(function, x))(tf.constant([2, -1], dtype))
    assert value.dtype == gradient.dtype == dtype
    assert value.numpy().tolist() == [3, 0]
    assert gradient.numpy().tolist() == [3, 3]


def test_a_float_of_another_width_is_cast():
    x = tf.constant([0.3, 1.6])
    value, (gradient,) = value_and_gradient(surrogate_gradient(lambda x: tf.cast(x, tf.float16), lambda x: 2 * x), x)
    assert value.dtype == tf.float16
    np.testing.assert_array_equal(gradient, [2.0, 2.0])


# ---- the value, bit for bit; and errors


def test_value_is_exact_whatever_the_surrogate(mode):
    value = tf.constant([1e-30, -0.0, 1.0, 0.1, -3e38])
    surrogate = tf.constant([1e30, 7.0, np.inf, np.nan, 3e38])
    picked = mode(with_gradient_of)(value, surrogate)
    assert picked.numpy().tobytes() == value.numpy().tobytes()
    differences = surrogate + tf.stop_gradient(value - surrogate)
    assert (differences.numpy() == value.numpy()).sum() <= 1


def test_broadcasting_is_an_error():
    with pytest.raises(ValueError, match=r"same shape. Received: value=\(3, 1\), surrogate=\(3,\)"):
        with_gradient_of(tf.ones((3, 1)), tf.ones(3))


@pytest.mark.parametrize("mode", ["graph", "xla"])
def test_broadcasting_known_only_at_run_time_is_an_error(mode):
    run = tf.function(
        with_gradient_of,
        input_signature=[tf.TensorSpec([None, None])] * 2,
        jit_compile=mode == "xla",
        autograph=False,
    )
    np.testing.assert_array_equal(run(tf.ones((2, 1)), tf.zeros((2, 1))), tf.ones((2, 1)))
    with pytest.raises(tf.errors.InvalidArgumentError):
        run(tf.ones((2, 1)), tf.ones((1, 2)))


def test_a_value_without_a_gradient_is_an_error():
    with pytest.raises(ValueError, match=r"carries a gradient. Received: value='int64', surrogate='float32'"):
        surrogate_gradient(lambda x: tf.argmax(x, -1), lambda x: tf.reduce_sum(x, -1))(tf.ones((2, 3)))


def test_other_structures_and_non_functions_are_errors():
    with pytest.raises(ValueError, match=r"the same structure. Received: forward='list', backward='tuple'"):
        surrogate_gradient(lambda x: [x], lambda x: (x, x))(tf.ones(2))
    with pytest.raises(ValueError, match=r"Expected backward to be a function or a layer. Received: backward=3"):
        surrogate_gradient(tf.round, 3)
