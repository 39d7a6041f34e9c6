"""Running normalization against NumPy, eager and compiled, shared, and through a saved model."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from rlsample.learning.normalization import EPSILON, RunningNormalization, normalized

ROWS = np.random.default_rng(0).normal([3.0, -20.0, 0.0], [0.1, 5.0, 0.0], (4, 25, 3)).astype(np.float32)


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_statistics_are_those_of_all_rows_so_far(mode):
    layer = RunningNormalization()
    layer.build((None, 3))
    update = layer.update if mode == "eager" else tf.function(layer.update, jit_compile=mode == "xla")
    for part in (ROWS[:1], ROWS[1:3], ROWS[3:]):
        update(tf.constant(part))
    rows = ROWS.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(layer.mean, rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(layer.variance, rows.var(0), rtol=1e-4, atol=1e-9)
    expected = (rows - rows.mean(0)) / np.sqrt(rows.var(0) + EPSILON)
    np.testing.assert_allclose(layer(rows.astype(np.float32)), expected, atol=1e-3)


def test_before_the_first_rows_features_pass_as_they_are():
    layer = RunningNormalization()
    np.testing.assert_allclose(layer(ROWS[0, :, :1]), ROWS[0, :, :1], rtol=1e-4)


def test_far_values_are_clipped():
    layer = RunningNormalization(limit=2.0)
    np.testing.assert_allclose(layer(tf.constant([[50.0, -50.0, 0.0]])), [[2.0, -2.0, 0.0]])


def test_models_that_share_a_layer_see_the_same_and_keep_it_when_saved(tmp_path):
    layer = RunningNormalization(name="normalization")
    one, two = (
        normalized(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, kernel_initializer="ones")]), layer)
        for _ in range(2)
    )
    layer.update(tf.constant(ROWS))
    np.testing.assert_array_equal(one(ROWS[0]), two(ROWS[0]))
    one.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(ROWS[0]), one(ROWS[0]), rtol=1e-6)
