from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from rlsample import ops as rounding
from tests.helpers import MODES, value_and_gradient

SHARP = {"ramp": 1e6, "sigmoid": 1e6, "sine": 8.0, "soft_round": 1e4}


# ---- the cases the families are known by


def test_ramp_rounds_the_published_case():
    x = tf.constant([0.1, 0.5, 0.7])
    np.testing.assert_allclose(x - 0.499, [-0.399, 0.001, 0.201], atol=1e-7)
    assert rounding.round_ramp(x, slope=10000.0, start=0.499).numpy().tolist() == [0.0, 1.0, 1.0]


def test_ramp_equals_its_published_form_between_0_and_1():
    x = tf.constant(np.append(np.linspace(0, 1, 101), [0.499, 0.49905, 0.4991]), tf.float32)
    published = tf.minimum(tf.maximum(x - 0.499, 0) * 10000, 1)
    np.testing.assert_array_equal(rounding.round_ramp(x, start=0.499), published)


def test_ramp_is_centred_by_default_where_the_published_one_is_not():
    assert rounding.round_ramp([0.4995, 0.5, 0.5005]).numpy().tolist() == [0.0, 0.5, 1.0]
    assert rounding.round_ramp([0.4995], start=0.499).numpy().tolist() == [1.0]


def test_ramp_has_gradient_in_its_window_only():
    _, gradient = value_and_gradient(rounding.round_ramp, [0.1, 0.49996, 0.5, 0.50004, 0.6, 2.5])
    np.testing.assert_array_equal(gradient, [0.0, 1e4, 1e4, 1e4, 0.0, 1e4])


def test_sine_is_x_minus_sine():
    x = tf.constant(np.linspace(-2, 2, 81))
    np.testing.assert_allclose(rounding.round_sine(x), x - tf.sin(2 * np.pi * x) / (2 * np.pi), atol=1e-14)
    np.testing.assert_allclose(rounding.round_sine(0.25), 0.25 - 1 / (2 * np.pi), rtol=1e-6)


def test_sine_steepens_with_every_composition():
    x = tf.constant([0.0, 0.5, 1.5], tf.float64)
    for compositions in (1, 2, 4):
        value, gradient = value_and_gradient(rounding.round_sine, x, compositions=compositions)
        np.testing.assert_allclose(value, x, atol=1e-14)
        np.testing.assert_allclose(gradient, [0, 2**compositions, 2**compositions], atol=1e-12)
    twice = rounding.round_sine(rounding.round_sine(0.3))
    np.testing.assert_allclose(rounding.round_sine(0.3, compositions=2), twice, rtol=1e-5)


def test_sine_of_part_weight_stays_alive_at_the_integers():
    _, dead = value_and_gradient(rounding.round_sine, [3.0])
    _, alive = value_and_gradient(rounding.round_sine, [3.0], compositions=0.9)
    assert dead.numpy() == [0.0]
    np.testing.assert_allclose(alive, [0.1], rtol=1e-5)


def test_straight_through_rounds_and_passes_the_gradient():
    x = tf.constant([-1.6, -0.2, 0.1, 0.7, 2.4])
    value, gradient = value_and_gradient(rounding.round_straight_through, x)
    np.testing.assert_array_equal(value, [-2.0, 0.0, 0.0, 1.0, 2.0])
    np.testing.assert_array_equal(gradient, tf.ones(5))


def test_straight_through_agrees_with_its_stop_gradient_form():
    x = tf.constant([-1.6, -0.2, 0.5, 0.7, 2.4])
    value, gradient = value_and_gradient(lambda x: rounding.round_straight_through(x) ** 2, x)
    other, other_gradient = value_and_gradient(lambda x: (x + tf.stop_gradient(tf.round(x) - x)) ** 2, x)
    np.testing.assert_allclose(value, other, rtol=1e-6)
    np.testing.assert_allclose(gradient, other_gradient, rtol=1e-6)


def test_straight_through_quantises_the_code_of_an_auto_encoder_that_trains():
    keras.utils.set_random_seed(0)
    audio = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    encoder, decoder = keras.layers.Dense(4), keras.layers.Dense(8)

    def loss():
        return tf.reduce_mean((decoder(rounding.round_straight_through(3 * encoder(audio))) - audio) ** 2)

    before = loss()
    optimizer = keras.optimizers.Adam(0.05)
    for _ in range(40):
        with tf.GradientTape() as tape:
            now = loss()
        variables = encoder.trainable_variables + decoder.trainable_variables
        gradients = tape.gradient(now, variables)
        assert all(np.any(gradient != 0) for gradient in gradients)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
    assert loss() < 0.6 * before


def test_halves_go_to_even_or_stay():
    halves = tf.constant([-0.5, 0.5, 1.5, 2.5])
    np.testing.assert_array_equal(rounding.round_straight_through(halves), [0.0, 0.0, 2.0, 2.0])
    for name in SHARP:
        options = {rounding.SHARPNESS[name]: SHARP[name]}
        np.testing.assert_allclose(rounding.ROUNDERS[name](halves, **options), halves, atol=1e-4)


def test_fourier_is_the_published_sum_of_five_terms():
    x = tf.constant(np.linspace(-2, 2, 81))
    series = sum((-1) ** n * tf.sin(2 * np.pi * n * x) / n for n in range(1, 6))
    np.testing.assert_allclose(rounding.round_fourier(x), x + series / np.pi, atol=1e-13)
    np.testing.assert_allclose(rounding.round_fourier(0.25), -0.0259, atol=5e-5)


@pytest.mark.parametrize("terms", [1, 2, 5, 10])
def test_fourier_derivative_at_halves_and_integers(terms):
    x = tf.constant([0.5, 1.0], tf.float64)
    _, plain = value_and_gradient(rounding.round_fourier, x, terms=terms)
    np.testing.assert_allclose(plain, [1 + 2 * terms, (-1) ** terms], atol=1e-9)
    _, monotone = value_and_gradient(rounding.round_fourier, x, terms=terms, monotone=True)
    np.testing.assert_allclose(monotone, [terms + 1, (terms % 2 == 0) / (terms + 1)], atol=1e-9)


def test_fourier_overshoots_unless_monotone():
    x = tf.constant(np.linspace(0, 0.5, 2001))
    plain, slope = value_and_gradient(rounding.round_fourier, x, terms=31)
    assert np.min(plain) < -0.08
    assert np.min(slope) < -1
    monotone, slope = value_and_gradient(rounding.round_fourier, x, terms=31, monotone=True)
    assert np.min(monotone) > -1e-12
    assert np.min(slope) > -1e-9


def test_naive_sigmoid_is_nan_where_ours_is_1():
    x = tf.constant([0.0, 0.4, 0.5, 0.588, 0.589, 1.0])

    def naive(x):
        e = tf.exp(1000 * (x - 0.5))
        return e / (e + 1)

    value, gradient = value_and_gradient(naive, x)
    assert np.isnan(value).tolist() == [False] * 4 + [True] * 2
    assert np.isnan(gradient).tolist()[4:] == [True] * 2
    value, gradient = value_and_gradient(rounding.round_sigmoid, x)
    np.testing.assert_allclose(value, [0, 0, 0.5, 1, 1, 1], atol=1e-12)
    assert np.isfinite(gradient).all()
    assert gradient[2] == 250.0


def test_sigmoid_equals_its_published_form_between_0_and_1():
    x = np.append(np.linspace(0, 0.99, 100), [0.4985, 0.5003, 0.502])
    for slope, center in ((1000.0, 0.5), (20.0, 0.5), (50.0, 0.3)):
        expected = 1 / (1 + np.exp(-slope * (x - center)))
        value, gradient = value_and_gradient(rounding.round_sigmoid, tf.constant(x), slope=slope, center=center)
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-300)
        np.testing.assert_allclose(gradient, slope * expected * (1 - expected), rtol=1e-3, atol=1e-12)


def test_sigmoid_gradient_is_symmetric_where_the_plain_one_has_died():
    x = tf.constant([0.5 - 1 / 32, 0.5 + 1 / 32])
    _, plain = value_and_gradient(lambda x: tf.sigmoid(1000 * (x - 0.5)), x)
    _, ours = value_and_gradient(rounding.round_sigmoid, x)
    assert plain[0] > 0
    assert plain[1] == 0
    assert ours[0] == ours[1] > 0


# ---- soft rounding


@pytest.mark.parametrize("alpha", [3.0, 7.0, 15.0])
def test_soft_round_is_its_published_formula(alpha):
    x = np.linspace(-2, 2, 400, endpoint=False)
    m = np.floor(x) + 0.5
    expected = m + np.tanh(alpha * (x - m)) / (2 * np.tanh(alpha / 2))
    slope = alpha / np.cosh(alpha * (x - m)) ** 2 / (2 * np.tanh(alpha / 2))
    for dtype, tolerance in ((tf.float64, 1e-13), (tf.float32, 2e-6)):
        value, gradient = value_and_gradient(rounding.soft_round, tf.constant(x, dtype), alpha=alpha)
        np.testing.assert_allclose(value, expected, atol=tolerance)
        np.testing.assert_allclose(gradient, slope, rtol=100 * tolerance, atol=tolerance)


@pytest.mark.parametrize("alpha", [1.0, 5.0, 16.0, 60.0])
def test_soft_round_keeps_its_gradient_at_the_integers_in_float32(alpha):
    value, gradient = value_and_gradient(rounding.soft_round, [-2.0, 0.0, 0.5, 3.0], alpha=alpha)
    np.testing.assert_array_equal(value, [-2.0, 0.0, 0.5, 3.0])
    integer, half = alpha / np.sinh(alpha), alpha / (2 * np.tanh(alpha / 2))
    np.testing.assert_allclose(gradient, [integer, integer, half, integer], rtol=1e-5)


def test_tanh_form_of_soft_round_has_lost_that_gradient():
    x, alpha = tf.constant([1.0]), 16.0
    m = tf.floor(x) + 0.5
    _, gradient = value_and_gradient(lambda x: m + tf.tanh(alpha * (x - m)) / (2 * tf.tanh(alpha / 2)), x)
    assert gradient.numpy() == [0.0]


@pytest.mark.parametrize("function", [rounding.soft_round, rounding.soft_round_inverse])
@pytest.mark.parametrize("mode", MODES)
def test_alpha_0_is_the_identity_with_a_clean_gradient(function, mode):
    @MODES[mode]
    def run(x, alpha):
        with tf.GradientTape() as tape:
            tape.watch([x, alpha])
            y = function(x, alpha)
        return y, *tape.gradient(y, [x, alpha])

    x = tf.constant([-1.5, 0.0, 0.25, 1.0])
    for alpha in (0.0, 1e-12, 5e-4):
        value, to_x, to_alpha = run(x, tf.constant(alpha))
        np.testing.assert_array_equal(value, x)
        np.testing.assert_array_equal(to_x, tf.ones(4))
        assert np.isfinite(to_alpha)


def test_soft_round_joins_the_identity_smoothly():
    x = tf.constant(np.linspace(-1, 1, 41), tf.float32)
    value, gradient = value_and_gradient(rounding.soft_round, x, alpha=1.001e-3)
    np.testing.assert_allclose(value, x, atol=1e-6)
    np.testing.assert_allclose(gradient, tf.ones_like(x), atol=1e-5)


@pytest.mark.parametrize("alpha", [0.5, 3.0, 7.0, 15.0, 16.0, 40.0, 75.0])
def test_inverse_undoes_soft_round(alpha):
    # About 0, where y has digits enough to say where x was.
    x = np.linspace(-0.45, 0.45, 91)
    for dtype, tolerance in ((tf.float64, 1e-12), (tf.float32, 2e-6)):
        back = rounding.soft_round_inverse(rounding.soft_round(tf.constant(x, dtype), alpha), alpha)
        np.testing.assert_allclose(back, x, atol=tolerance)


@pytest.mark.parametrize("alpha", [3.0, 10.0, 14.0])
def test_inverse_is_its_published_formula(alpha):
    y = np.linspace(-1.97, 2, 300)
    m = np.floor(y) + 0.5
    expected = m + np.arctanh(2 * (y - m) * np.tanh(alpha / 2)) / alpha
    np.testing.assert_allclose(rounding.soft_round_inverse(tf.constant(y), alpha), expected, atol=1e-9)


@pytest.mark.parametrize("alpha", [12.0, 15.0, 16.0, 79.0, 81.0, 1e4])
def test_inverse_holds_at_the_integers_where_the_artanh_form_breaks(alpha):
    y = tf.constant([-1.0, 0.0, 0.5, 2.0])
    value, gradient = value_and_gradient(rounding.soft_round_inverse, y, alpha=alpha)
    np.testing.assert_allclose(value, y, atol=1e-7)
    assert np.isfinite(gradient).all()
    if alpha < 80:
        np.testing.assert_allclose(gradient[1], np.sinh(alpha) / alpha, rtol=1e-4)
    if alpha >= 16:
        naive, slope = value_and_gradient(
            lambda y: tf.atanh(2 * (y - tf.floor(y) - 0.5) * tf.tanh(tf.constant(alpha) / 2)), y
        )
        assert np.isinf(naive[1])
        assert not np.isfinite(slope[1])


@pytest.mark.parametrize("alpha", [2.0, 7.0])
def test_conditional_mean_is_the_mean_of_x_given_the_noisy_y(alpha):
    # u uniform means: every x with |soft_round(x) - y| <= 1/2 is as likely as any other. Mean over a fine grid.
    x = np.linspace(-2, 3, 500_001)
    rounded = rounding.soft_round(tf.constant(x), alpha).numpy()
    for y in (0.1, 0.5, 0.8, 1.3):
        expected = x[np.abs(rounded - y) <= 0.5].mean()
        mean = rounding.soft_round_conditional_mean(tf.constant(y, tf.float64), alpha)
        np.testing.assert_allclose(mean, expected, atol=2e-5)


def test_sigmoid_stretched_to_be_continuous_is_soft_round():
    x = tf.constant(np.linspace(-1.9, 1.9, 77))
    m = tf.floor(x) + 0.5
    stretched = m + (rounding.round_sigmoid(x, slope=10.0) - m) / np.tanh(2.5)
    np.testing.assert_allclose(rounding.soft_round(x, 5.0), stretched, atol=1e-12)
