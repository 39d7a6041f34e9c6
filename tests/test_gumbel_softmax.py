from __future__ import annotations

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from rlsample import gumbel_softmax, ops, samplers
from tests.helpers import MODES

SEED = (1, 2)
# Left, up, right.
LOG_PROBS = np.log([0.1, 0.7, 0.2]).astype(np.float32)


def slope(function, logits):
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = function(logits)
    return tape.gradient(value, logits)


def test_a_policy_says_up_seventy_times_in_a_hundred():
    # Chi-square at a false-failure rate of 1e-6, at any temperature.
    for temperature in (0.1, 1.0, 10.0):
        drawn = gumbel_softmax(tf.tile([LOG_PROBS], [50_000, 1]), temperature, hard=True, seed=SEED)
        counts = tf.reduce_sum(drawn, 0)
        assert scipy.stats.chisquare(counts, [5_000, 35_000, 10_000]).pvalue > 1e-6


def test_hard_is_one_hot_forward_with_the_soft_gradient():
    logits, weights = tf.tile([LOG_PROBS], [50, 1]), tf.constant([1.0, -2.0, 0.5])
    soft, hard = (gumbel_softmax(logits, 0.5, hard=hard, seed=SEED) for hard in (False, True))
    assert hard.numpy().tolist() == np.eye(3)[np.argmax(soft, -1)].tolist()
    np.testing.assert_allclose(tf.reduce_sum(soft, -1), 1, rtol=1e-6)
    assert ((soft > 0) & (soft < 1)).numpy().all()
    soft_slope, hard_slope = (
        slope(lambda x, hard=hard: gumbel_softmax(x, 0.5, hard=hard, seed=SEED) * weights, logits)
        for hard in (False, True)
    )
    np.testing.assert_allclose(hard_slope, soft_slope, atol=1e-7)
    np.testing.assert_allclose(soft_slope, ops.softmax_vjp(soft, tf.ones_like(soft) * weights) / 0.5, atol=1e-6)


def test_temperature_goes_from_uniform_to_one_hot():
    logits = tf.tile([LOG_PROBS], [200, 1])
    spread = [float(tf.reduce_mean(tf.reduce_max(gumbel_softmax(logits, t, seed=SEED), -1))) for t in (100, 1, 0.01)]
    assert spread[0] < 0.36 < spread[1] < 0.99 < spread[2]


def test_argmax_jumps_where_two_logits_meet_and_softmax_does_not():
    def at(function, x1):
        return function(tf.constant([[x1, 0.0]]))[0, 0]

    jump = {}
    for name, function in {"argmax": lambda x: tf.one_hot(tf.argmax(x, -1), 2), "softmax": ops.softmax}.items():
        jump[name] = float(at(function, 1e-4) - at(function, -1e-4))
    assert jump["argmax"] == 1
    assert 0 < jump["softmax"] < 1e-4


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
@pytest.mark.parametrize("hard", [False, True])
def test_any_axis(axis, hard):
    logits = tf.random.stateless_normal([2, 3, 4], (5, 6))
    mask = np.ones([2, 3, 4], bool)
    mask[1, 2, 3] = False
    drawn = gumbel_softmax(logits, 0.7, hard, axis, SEED, mask)
    assert drawn.shape == logits.shape
    np.testing.assert_allclose(tf.reduce_sum(drawn, axis), 1, rtol=1e-6)
    assert drawn[1, 2, 3] == 0
    moved = np.moveaxis(logits, axis, -1), np.moveaxis(mask, axis, -1)
    expected = gumbel_softmax(moved[0], 0.7, hard, -1, SEED, moved[1])
    np.testing.assert_array_equal(drawn, np.moveaxis(expected, -1, axis))
    gradient = slope(lambda x: gumbel_softmax(x, 0.7, hard, axis, SEED, mask)[0], logits)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(tf.reduce_sum(gradient, axis), 0, atol=1e-6)
    assert gradient[1, 2, 3] == 0


def test_a_mask_and_a_temperature_for_each_row_along_another_axis():
    logits = tf.zeros([4, 3])
    mask = np.array([[True], [False], [True], [True]])
    drawn = gumbel_softmax(logits, tf.constant([0.01, 1.0, 100.0]), axis=0, seed=SEED, mask=mask)
    assert (drawn[1].numpy() == 0).all()
    largest = tf.reduce_max(drawn, 0).numpy()
    assert largest[0] > 0.9 > largest[1] > 0.36 > largest[2]


def test_it_is_the_sampler():
    logits = tf.random.stateless_normal([5, 3], (5, 6))
    for hard, name in ((False, "gumbel_softmax"), (True, "straight_through_gumbel_softmax")):
        expected = samplers.create(name)(logits, SEED, temperature=0.3).one_hot
        np.testing.assert_array_equal(gumbel_softmax(logits, 0.3, hard, seed=SEED), expected)


@pytest.mark.parametrize("mode", MODES)
def test_no_seed_means_a_fresh_one_at_every_call(mode):
    draw = MODES[mode](lambda logits: gumbel_softmax(logits))
    draws = [draw(tf.zeros([4, 3])).numpy() for _ in range(4)]
    assert len({each.tobytes() for each in draws}) == 4


def test_keras_global_seed_makes_fresh_seeds_repeat():
    def series():
        keras.utils.set_random_seed(7)
        return np.stack([gumbel_softmax(tf.zeros([4, 3])) for _ in range(3)])

    np.testing.assert_array_equal(series(), series())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtypes_come_back(dtype):
    drawn = gumbel_softmax(tf.zeros([4, 3], dtype), 0.1, hard=True, seed=SEED)
    assert drawn.dtype == dtype
    assert set(np.unique(tf.cast(drawn, tf.float32))) == {0, 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": -1.0}, "temperature"),
        ({"axis": 2}, "axis to be one of those of the logits"),
        ({"axis": True}, "axis"),
        ({"axis": 0.0}, "axis"),
        ({"mask": [False] * 3}, "at least one legal category"),
        ({"seed": "1"}, "seed"),
        ({"logits": 1.0}, "axis"),
        ({"logits": [[1, 2, 3]]}, "floating-point"),
        ({"logits": [[np.nan, 0.0, 0.0]]}, "without NaN"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        gumbel_softmax(**{"logits": tf.zeros([2, 3])} | arguments)
