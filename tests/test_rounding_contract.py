from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from rlsample import ops as rounding
from tests.helpers import MODES, value_and_gradient

# Every family in a soft and in a sharp setting; the inverses too where it makes sense.
CASES = {
    "straight_through": (rounding.round_straight_through, {}),
    "ramp": (rounding.round_ramp, {}),
    "soft_ramp": (rounding.round_ramp, {"slope": 2.0}),
    "published_ramp": (rounding.round_ramp, {"slope": 1e4, "start": 0.499}),
    "sigmoid": (rounding.round_sigmoid, {}),
    "soft_sigmoid": (rounding.round_sigmoid, {"slope": 20.0}),
    "fourier": (rounding.round_fourier, {}),
    "monotone_fourier": (rounding.round_fourier, {"terms": 4.5, "monotone": True}),
    "sine": (rounding.round_sine, {}),
    "steep_sine": (rounding.round_sine, {"compositions": 3.5}),
    "soft_round": (rounding.soft_round, {"alpha": 7.0}),
    "hard_soft_round": (rounding.soft_round, {"alpha": 1e4}),
    "inverse": (rounding.soft_round_inverse, {"alpha": 7.0}),
    "hard_inverse": (rounding.soft_round_inverse, {"alpha": 1e4}),
    "conditional_mean": (rounding.soft_round_conditional_mean, {"alpha": 7.0}),
}
# The sharpness at which each is the identity, and one at which it is round.
SOFT = {"ramp": 1.0, "fourier": 0.0, "sine": 0.0, "soft_round": 0.0}
SHARP = {"ramp": 1e6, "sigmoid": 1e6, "sine": 8.0, "soft_round": 1e4}


def second_derivative(function, x, **options):
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as outer:
        outer.watch(x)
        _, first = value_and_gradient(function, x, **options)
    return outer.gradient(first, x)


# ---- what all of them keep


@pytest.mark.parametrize("name", [name for name in CASES if name != "straight_through"])
def test_gradient_is_the_derivative(name):
    function, options = CASES[name]
    # Away from the kinks of the ramp, and not on the integers that an inverse leaves vertically.
    x = np.array([-1.83, -0.6, 0.013, 0.21, 0.47, 0.4981, 0.5102, 0.77, 1.3, 2.9])
    step = 1e-6
    expected = (function(tf.constant(x + step), **options) - function(tf.constant(x - step), **options)) / (2 * step)
    _, gradient = value_and_gradient(function, tf.constant(x), **options)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["soft_sigmoid", "fourier", "steep_sine", "soft_round", "inverse"])
def test_second_derivative(name):
    function, options = CASES[name]
    x, step = np.array([-1.83, 0.21, 0.47, 0.77]), 1e-5
    above = value_and_gradient(function, tf.constant(x + step), **options)[1]
    below = value_and_gradient(function, tf.constant(x - step), **options)[1]
    exact = second_derivative(function, tf.constant(x), **options)
    np.testing.assert_allclose(exact, (above - below) / (2 * step), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["graph", "xla"])
def test_compiled_agrees_with_eager(mode):
    x = tf.constant([-2.3, -1.0, -0.5, 0.0, 0.3, 0.4999, 0.5, 0.5001, 0.9, 7.25])

    def run(x):
        return {name: value_and_gradient(function, x, **options) for name, (function, options) in CASES.items()}

    compiled = MODES[mode](run)(x)
    for name, (expected, expected_gradient) in run(x).items():
        value, gradient = compiled[name]
        np.testing.assert_allclose(value, expected, atol=2e-6, err_msg=name)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float32, tf.float64], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("name", CASES)
def test_every_dtype_keeps_its_own_and_stays_finite_far_out(name, dtype):
    function, options = CASES[name]
    far = 6e4 if dtype == tf.float16 else 1e30
    x = tf.constant([-far, -3.0, -1e-6, 0.0, 1e-6, 0.25, 0.5, 2.0, far], dtype)
    value, gradient = value_and_gradient(function, x, **options)
    assert value.dtype == gradient.dtype == dtype
    value, gradient = tf.cast(value, tf.float64).numpy(), tf.cast(gradient, tf.float64).numpy()
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(value[[0, -1]], tf.cast(x, tf.float64).numpy()[[0, -1]])
    reference, _ = value_and_gradient(function, tf.cast(x, tf.float64), **options)
    np.testing.assert_allclose(
        value,
        reference,
        rtol=1e-6,
        atol={"float16": 1e-3, "bfloat16": 8e-3}.get(dtype.name, 2e-6),
    )


@pytest.mark.parametrize("name", [name for name in CASES if "inverse" not in name and "conditional" not in name])
def test_large_values_keep_their_fraction(name):
    function, options = CASES[name]
    fraction = tf.constant([0.125, 0.5, 0.625])
    near, slope = value_and_gradient(function, fraction, **options)
    far, far_slope = value_and_gradient(function, fraction + 4096, **options)
    np.testing.assert_allclose(far - 4096, near, atol=5e-4)
    np.testing.assert_allclose(far_slope, slope, rtol=1e-5, atol=1e-6)


# ---- sharpness


@pytest.mark.parametrize("name", SOFT)
def test_least_sharpness_is_the_identity(name):
    x = tf.constant([-1.7, 0.0, 0.3, 0.5, 2.2])
    value, gradient = value_and_gradient(rounding.ROUNDERS[name], x, **{rounding.SHARPNESS[name]: SOFT[name]})
    np.testing.assert_allclose(value, x, atol=1e-6)
    np.testing.assert_allclose(gradient, tf.ones_like(x), rtol=1e-6)


@pytest.mark.parametrize("name", SHARP)
def test_great_sharpness_is_round(name):
    x = tf.constant([-1.7, 0.0, 0.3, 0.49, 0.51, 2.2])
    value = rounding.ROUNDERS[name](x, **{rounding.SHARPNESS[name]: SHARP[name]})
    np.testing.assert_allclose(value, tf.round(x), atol=1e-3 if name != "sine" else 0.05)


def test_every_rounder_is_named_with_its_sharpness():
    assert rounding.ROUNDERS.keys() == rounding.SHARPNESS.keys()
    assert [name for name, option in rounding.SHARPNESS.items() if option is None] == ["straight_through"]


@pytest.mark.parametrize("make", [tf.Variable, keras.Variable, tf.constant], ids=["tf", "keras", "tensor"])
def test_annealing_never_retraces(make):
    options = {name: option for name, option in rounding.SHARPNESS.items() if option}
    traces = 0
    sharpness = make(3.0)

    @tf.function(jit_compile=True)
    def run(x, *given):
        nonlocal traces
        traces += 1
        now = given[0] if given else sharpness
        return {name: rounding.ROUNDERS[name](x, **{option: now}) for name, option in options.items()}

    x = tf.constant([0.1, 0.4, 0.7])
    for value in (3.0, 4.5, 6.0):
        if make is tf.constant:
            found = run(x, tf.constant(value))
        else:
            sharpness.assign(value)
            found = run(x)
        for name, option in options.items():
            expected = rounding.ROUNDERS[name](x, **{option: value})
            np.testing.assert_allclose(found[name], expected, atol=2e-6, err_msg=name)
    assert traces == 1


@pytest.mark.parametrize("name", ["ramp", "sigmoid", "fourier", "sine", "soft_round"])
def test_sharpness_may_differ_by_row(name):
    function, option = rounding.ROUNDERS[name], rounding.SHARPNESS[name]
    x = tf.constant([[0.1, 0.4, 0.7]] * 2)
    both = function(x, **{option: tf.constant([[2.0], [5.0]])})
    for row, sharpness in enumerate((2.0, 5.0)):
        np.testing.assert_allclose(both[row], function(x[row], **{option: sharpness}), atol=1e-6)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf"), True, None, "hard"])
@pytest.mark.parametrize("name", ["ramp", "sigmoid", "fourier", "sine", "soft_round"])
def test_bad_sharpness_is_an_error(name, bad):
    option = rounding.SHARPNESS[name]
    with pytest.raises(ValueError, match=f"Expected {option} to be a finite number"):
        rounding.ROUNDERS[name]([0.5], **{option: bad})


@pytest.mark.parametrize("name", ["ramp", "sigmoid", "fourier", "sine", "soft_round"])
def test_bad_sharpness_in_compiled_code_fails_or_shows(name):
    function, option = rounding.ROUNDERS[name], rounding.SHARPNESS[name]
    x = tf.constant([0.0, 0.3, 0.7])
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"Expected {option}"):
        tf.function(lambda s: function(x, **{option: s}))(tf.constant(-1.0))
    poisoned = tf.function(lambda s: function(x, **{option: s}), jit_compile=True)(tf.constant(-1.0))
    assert np.isnan(poisoned).all()


def test_integers_are_refused():
    with pytest.raises(ValueError, match=r"Expected a floating-point tensor to round. Received: dtype='int32'"):
        rounding.round_straight_through(tf.constant([1, 2]))
