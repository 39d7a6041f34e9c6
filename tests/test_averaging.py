"""Running averages of weights, and when they move."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rlsample.learning.averaging import move_towards, rate_at
from tests.helpers import MODES


@pytest.mark.parametrize("mode", MODES)
def test_the_ends_are_taken_to_the_bit(mode):
    generator = np.random.default_rng(0)
    slow, fast = (tf.constant(generator.normal(size=1000), tf.float32) for _ in range(2))
    slow, fast = (tf.concat([part, [end]], 0) for part, end in ((slow, 1e8), (fast, np.inf)))
    move = MODES[mode](lambda rate: move_towards([slow], [fast], rate)[0])
    np.testing.assert_array_equal(move(tf.constant(1.0)), fast)
    np.testing.assert_array_equal(move(tf.constant(0.0)), slow)
    half = (slow[:-1] + fast[:-1]) / 2
    np.testing.assert_allclose(move(tf.constant(0.5))[:-1], half, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_it_moves_every_so_many_updates(mode):
    rate = MODES[mode](lambda count: rate_at(count, 0.25, 3))
    assert [float(rate(tf.constant(count))) for count in range(7)] == [0.25, 0, 0, 0.25, 0, 0, 0.25]
    with pytest.raises(ValueError, match=r"Expected period to be a whole number >= 1. Received: period=0"):
        rate_at(tf.constant(1), 0.25, 0)
