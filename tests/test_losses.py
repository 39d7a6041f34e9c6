"""Losses against their formulas, their gradients, and rows that do not count."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rlsample.learning import losses

LOG_RATIO = tf.constant([0.0, 0.5, -0.5, 0.5, -0.5, 0.1])
ADVANTAGES = tf.constant([1.0, 2.0, 2.0, -1.0, -1.0, 3.0])
VALID = tf.constant([True, True, False, True, True, False])


def test_the_surrogate_takes_the_worse_of_two():
    ratio = np.exp(LOG_RATIO)
    expected = -np.mean(np.minimum(ratio * ADVANTAGES, np.clip(ratio, 0.8, 1.2) * ADVANTAGES))
    np.testing.assert_allclose(losses.clipped_surrogate_loss(LOG_RATIO, ADVANTAGES, 0.2), expected, rtol=1e-6)


def test_the_surrogate_has_no_slope_where_moving_on_would_gain_nothing():
    with tf.GradientTape(persistent=True) as tape:
        tape.watch((LOG_RATIO, ADVANTAGES))
        loss = losses.clipped_surrogate_loss(LOG_RATIO, ADVANTAGES, 0.2)
    slope = tape.gradient(loss, LOG_RATIO).numpy()
    # Row 1 is above the range with a positive advantage, row 4 below it with a negative one.
    np.testing.assert_array_equal(slope != 0, [True, False, True, True, False, True])
    np.testing.assert_allclose(slope[3], np.exp(0.5) / 6, rtol=1e-6)
    assert tape.gradient(loss, ADVANTAGES) is None


@pytest.mark.parametrize("clip_range", [None, 0.1])
def test_value_loss(clip_range):
    values, returns, old = (np.float32([0.0, 1.0, 2.0]), np.float32([1.0, 1.0, -1.0]), np.float32([-0.5, 1.05, 2.5]))
    errors = (values - returns) ** 2
    if clip_range is not None:
        errors = np.maximum(errors, (old + np.clip(values - old, -clip_range, clip_range) - returns) ** 2)
    result = losses.value_loss(values, returns, old, clip_range)
    np.testing.assert_allclose(result, errors.mean() / 2, rtol=1e-6)


def test_values_are_pulled_to_their_targets_and_targets_are_not_moved():
    values, returns = tf.constant([0.0, 1.0]), tf.constant([1.0, 1.0])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch((values, returns))
        loss = losses.value_loss(values, returns)
    np.testing.assert_allclose(tape.gradient(loss, values), [-0.5, 0.0])
    assert tape.gradient(loss, returns) is None


@pytest.mark.parametrize(("largest", "values"), [(2.0, [4.0, 0.5, 0.125, 2.0]), (None, [4.5, 0.5, 0.125, 2.0])])
def test_huber(largest, values):
    errors = tf.constant([-3.0, -1.0, 0.5, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(errors)
        found = losses.huber(errors, largest)
    np.testing.assert_allclose(found, values)
    np.testing.assert_allclose(tape.gradient(found, errors), np.clip(errors, -(largest or 9), largest or 9))


def test_huber_of_what_is_not_finite_and_of_no_largest_error():
    errors = tf.constant([np.inf, -np.inf])
    np.testing.assert_array_equal(losses.huber(errors, None), [np.inf, np.inf])
    np.testing.assert_array_equal(losses.huber(errors, 1.0), [np.inf, np.inf])
    for largest in (0.0, -1.0):
        with pytest.raises(ValueError, match=rf"largest to be a finite number > 0. Received: largest={largest}"):
            losses.huber(errors, largest)


def test_approximate_kl_is_unbiased_and_never_negative():
    old, new = np.array([0.2, 0.3, 0.5]), np.array([0.3, 0.3, 0.4])
    each = [losses.approximate_kl(tf.constant([np.log(new[k] / old[k])])).numpy() for k in range(3)]
    assert min(each) >= 0
    np.testing.assert_allclose(np.dot(old, each), np.sum(old * np.log(old / new)), rtol=1e-6)


def test_clip_fraction_counts_ratios_outside():
    assert float(losses.clip_fraction(LOG_RATIO, 0.2)) == pytest.approx(4 / 6)


def test_standardize():
    result = losses.standardize(ADVANTAGES).numpy()
    assert result.mean() == pytest.approx(0, abs=1e-6)
    assert result.std() == pytest.approx(1, rel=1e-5)
    assert not np.isnan(losses.standardize(tf.ones([3]))).any()


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, a, v: losses.clipped_surrogate_loss(x, a, 0.2, v),
        lambda x, a, v: losses.clipped_surrogate_loss(x, losses.standardize(a, v), 0.2, v),
        lambda x, a, v: losses.value_loss(x, a, x + 0.3, 0.2, v),
        lambda x, a, v: losses.approximate_kl(x, v),
        lambda x, a, v: losses.clip_fraction(x, 0.2, v),
        lambda x, a, v: losses.masked_mean(x, v),
    ],
)
@pytest.mark.parametrize("junk", [1e3, np.nan])
def test_rows_that_do_not_count_are_as_if_absent(loss, junk):
    """Whatever they hold, neither value nor gradient sees them."""
    keep = np.flatnonzero(VALID)
    alone = loss(tf.gather(LOG_RATIO, keep), tf.gather(ADVANTAGES, keep), None)
    spoiled = tf.where(VALID, LOG_RATIO, junk)
    with tf.GradientTape() as tape:
        tape.watch(spoiled)
        value = loss(spoiled, tf.where(VALID, ADVANTAGES, junk), VALID)
    np.testing.assert_allclose(value, alone, rtol=1e-5)
    slope = tape.gradient(value, spoiled)
    if slope is not None:
        np.testing.assert_array_equal(tf.boolean_mask(slope, ~VALID), [0, 0])


def test_no_valid_row_is_no_loss():
    assert losses.masked_mean(LOG_RATIO, tf.zeros([6], tf.bool)) == 0
