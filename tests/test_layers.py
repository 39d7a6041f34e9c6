from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from rlsample.layers import SurrogateGradient

X = np.array([[-2.0], [-1.0], [1.0]], "float32")


@keras.saving.register_keras_serializable(package="tests")
class Root(keras.layers.Layer):
    """sqrt(x^2 u), of which the noise u ~ U(0.9, 1.1) may be left out."""

    def __init__(self, noise=0.1, **kwargs):
        super().__init__(**kwargs)
        self.noise = noise

    def build(self, input_shape):
        self.seed = keras.random.SeedGenerator(0)
        self.built = True

    def call(self, inputs):
        u = keras.random.uniform(keras.ops.shape(inputs), 1 - self.noise, 1 + self.noise, seed=self.seed)
        return keras.ops.sqrt(keras.ops.square(inputs) * u)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "noise": self.noise}


class Composite(keras.layers.Layer):
    """Two dense layers that are built by the first call."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first, self.second = keras.layers.Dense(4), keras.layers.Dense(2)

    def call(self, inputs):
        return self.second(self.first(inputs))


def gradient_of(function, x):
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return value, tape.gradient(value, x)


def hard_and_soft():
    """A step forward and its sigmoid backward, with a dense layer in each."""
    return SurrogateGradient(
        keras.Sequential([keras.layers.Dense(2, trainable=False), keras.layers.Activation("hard_sigmoid")]),
        keras.Sequential([keras.layers.Dense(2), keras.layers.Activation("sigmoid")]),
    )


@pytest.mark.parametrize("jit_compile", [False, True])
def test_gradient_ignores_the_noise_inside_a_model(jit_compile):
    layer = SurrogateGradient(Root(), Root(noise=0.0))
    layer.build((None, 1))
    value, gradient = tf.function(lambda x: gradient_of(layer, x), jit_compile=jit_compile)(X)
    assert gradient.numpy().tolist() == [[-1.0], [-1.0], [1.0]]
    assert np.all(np.abs(value) != np.abs(X))
    assert np.all(np.abs(np.square(value / X) - 1) <= 0.1001)


def test_in_the_middle_of_a_network_the_layers_before_it_learn_as_if_without_noise():
    # With a linear rest, the value the rest is differentiated at does not matter: the gradients are equal.
    keras.utils.set_random_seed(0)
    before, after = keras.layers.Dense(3, use_bias=False), keras.layers.Dense(1, use_bias=False)
    inputs = keras.Input((2,))
    noisy = keras.Model(inputs, after(SurrogateGradient(Root(), Root(noise=0.0))(before(inputs))))
    clean = keras.Model(inputs, after(Root(noise=0.0)(before(inputs))))
    x = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    results = []
    for model in (noisy, clean):
        with tf.GradientTape() as tape:
            out = model(x)
        results.append((out, tape.gradient(out, before.kernel)))
    assert np.abs(results[0][0] - results[1][0]).max() > 1e-3
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-5)


@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_keras_file_round_trip(kind, tmp_path):
    keras.utils.set_random_seed(1)
    layer = hard_and_soft()
    if kind == "sequential":
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5), layer])
    else:
        inputs = keras.Input((3,))
        model = keras.Model(inputs, keras.layers.Dense(1)(layer(keras.layers.Dense(5)(inputs))))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    for one, two in zip(gradient_of(model, x), gradient_of(loaded, x), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6)
    assert len(model.weights) == len(loaded.weights)


def test_inside_a_subclassed_model(tmp_path):
    @keras.saving.register_keras_serializable(package="tests")
    class Subclassed(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner, self.last = hard_and_soft(), keras.layers.Dense(1)

        def call(self, inputs):
            return self.last(self.inner(inputs))

    model = Subclassed()
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    expected, gradient = gradient_of(model, x)
    assert np.any(gradient != 0)
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "model.keras")(x), expected, rtol=1e-6)


def test_layers_that_are_built_by_their_first_call_are_built_with_it():
    layer = SurrogateGradient(Composite(), Composite())
    layer.build((None, 3))
    assert len(layer.weights) == 8
    _, gradient = gradient_of(keras.Sequential([keras.Input((3,)), layer]), np.ones((2, 3), "float32"))
    expected = layer.backward_layer.first.kernel @ tf.reduce_sum(layer.backward_layer.second.kernel, 1, keepdims=True)
    np.testing.assert_allclose(gradient[0], expected[:, 0], rtol=1e-5, atol=1e-6)


def test_shared_weights_learn_through_backward_and_are_refused_by_a_file_that_would_split_them(tmp_path):
    shared = keras.layers.Dense(2)
    hard = keras.Sequential([shared, keras.layers.Activation("hard_sigmoid")])
    soft = keras.Sequential([shared, keras.layers.Activation("sigmoid")])
    model = keras.Sequential([keras.Input((3,)), SurrogateGradient(hard, soft)])
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    gradients = []
    for function in (model, soft):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(function(x))
        gradients.append(tape.gradient(total, shared.kernel))
    np.testing.assert_allclose(*gradients, rtol=1e-6)
    with pytest.raises(ValueError, match="to share no weights when they are saved"):
        model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    kernel = shared.kernel.numpy()
    shared.kernel.assign(0 * kernel)
    model.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(shared.kernel, kernel)


def test_config_round_trip():
    layer = SurrogateGradient(Root(noise=0.2), Root(noise=0.0), name="noisy", dtype="float64")
    copy = SurrogateGradient.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert (copy.forward_layer.noise, copy.name, copy.dtype) == (0.2, "noisy", "float64")


@pytest.mark.parametrize("jit_compile", [False, True])
def test_fit_trains_backward_and_leaves_forward(jit_compile):
    keras.utils.set_random_seed(2)
    layer = hard_and_soft()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3), layer, keras.layers.Dense(1)])
    model.compile("adam", "mse", jit_compile=jit_compile)
    before = [weight.numpy() for weight in (layer.forward_layer.weights[0], *model.trainable_weights)]
    rng = np.random.default_rng(0)
    model.fit(rng.normal(size=(32, 3)), rng.normal(size=(32, 1)), epochs=2, verbose=0)
    after = [weight.numpy() for weight in (layer.forward_layer.weights[0], *model.trainable_weights)]
    assert [np.any(one != two) for one, two in zip(before, after, strict=True)] == [False] + [True] * 6


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_dtype_policies(policy):
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        layer = hard_and_soft()
        inputs = keras.Input((3,))
        outputs = layer(inputs)
        value, gradient = gradient_of(keras.Model(inputs, outputs), np.ones((2, 3), "float32"))
    finally:
        keras.config.set_dtype_policy(previous)
    compute = keras.DTypePolicy(policy).compute_dtype
    assert outputs.dtype == value.dtype == compute
    assert layer.backward_layer.weights[0].dtype == keras.DTypePolicy(policy).variable_dtype
    assert np.any(gradient != 0)


def test_training_mode_reaches_both_layers():
    layer = SurrogateGradient(keras.layers.Dropout(0.5, seed=0), keras.layers.Dropout(0.5, seed=0))
    x = np.ones((1, 200), "float32")
    np.testing.assert_array_equal(layer(x, training=False), x)
    with tf.GradientTape() as tape:
        inputs = tf.constant(x)
        tape.watch(inputs)
        value = layer(inputs, training=True)
    assert 50 < np.sum(value == 0) < 150
    assert 50 < np.sum(tape.gradient(value, inputs) == 0) < 150


def test_mask_of_a_sequence_passes_through():
    layer = SurrogateGradient(keras.layers.Activation("hard_sigmoid"), keras.layers.Activation("sigmoid"))
    embedded = keras.layers.Embedding(5, 2, mask_zero=True)(np.array([[1, 2, 0]]))
    assert layer.supports_masking
    pooled = keras.layers.GlobalAveragePooling1D()(layer(embedded))
    np.testing.assert_allclose(pooled, tf.reduce_mean(layer(embedded)[:, :2], 1), rtol=1e-6)


def test_several_inputs():
    layer = SurrogateGradient(keras.layers.Maximum(), keras.layers.Add())
    a, b = tf.constant([[1.0, 5.0]]), tf.constant([[3.0, 2.0]])
    with tf.GradientTape() as tape:
        tape.watch([a, b])
        value = layer([a, b])
    assert value.numpy().tolist() == [[3.0, 5.0]]
    assert [gradient.numpy().tolist() for gradient in tape.gradient(value, [a, b])] == [[[1.0, 1.0]]] * 2


def test_output_shape():
    layer = SurrogateGradient(keras.layers.Dense(4), keras.layers.Dense(4))
    assert layer.compute_output_shape((None, 3)) == (None, 4)
    assert layer.compute_output_spec(keras.KerasTensor((None, 3))).shape == (None, 4)


def test_layers_that_disagree_are_an_error_when_the_model_is_made():
    with pytest.raises(ValueError, match="forward_layer and backward_layer to have outputs of the same shape"):
        SurrogateGradient(keras.layers.Dense(4), keras.layers.Dense(1))(keras.Input((3,)))


def test_a_function_is_an_error_that_says_what_to_use():
    with pytest.raises(ValueError, match=r"backward_layer to be a Keras layer.*use ops.surrogate_gradient"):
        SurrogateGradient(keras.layers.Dense(4), tf.identity)
