"""Exported policies: run as files, equal to the model, free of noise."""

from __future__ import annotations

import importlib.util

import keras
import numpy as np
import pytest
import tensorflow as tf

from rlsample import heads

HAS_ONNX = all(importlib.util.find_spec(package) for package in ("tf2onnx", "onnxruntime"))
FORMATS = [
    "tf_saved_model",
    pytest.param("onnx", marks=pytest.mark.skipif(not HAS_ONNX, reason="needs the extra onnx")),
]
HEADS = {
    "categorical": lambda: heads.CategoricalHead(3, unimix=0.1),
    "ragged": lambda: heads.FactoredHead([2, 4], logit_clip=5.0),
    "ordinal": lambda: heads.OrdinalHead(5),
    "value": lambda: heads.ValueHead(),
}


def features(rows):
    return np.random.default_rng(rows).normal(size=(rows, 6)).astype(np.float32)


def model_with(head):
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, "tanh"), head])


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", HEADS)
def test_the_file_gives_the_models_outputs_for_any_number_of_rows(name, format, tmp_path):
    model = model_with(HEADS[name]())
    heads.export(model, tmp_path / "policy", features(3), format)
    if format == "tf_saved_model":
        loaded = tf.saved_model.load(str(tmp_path / "policy"))
        np.testing.assert_allclose(loaded.serve(features(5)), model(features(5)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("format", FORMATS)
def test_several_inputs(format, tmp_path):
    inputs = keras.Input((6,)), keras.Input((4, 2))
    model = keras.Model(inputs, heads.EmbeddingHead(4)(*inputs))
    heads.export(model, tmp_path / "policy", [features(3), np.ones((3, 4, 2), np.float32)], format)


class Sampling(keras.Model):
    def __init__(self):
        super().__init__()
        self.head = heads.CategoricalHead(3)

    def call(self, inputs):
        return self.head.sample(self.head(inputs), self.head.next_seed()).one_hot


def test_a_model_that_draws_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(ValueError, match=r"without noise inside\..*Export the model that ends in the head's logits"):
        heads.export(Sampling(), tmp_path / "policy", features(3))
    assert not (tmp_path / "policy").exists()


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Did you mean 'onnx'"):
        heads.export(model_with(heads.ValueHead()), tmp_path / "policy", features(3), "onx")


@pytest.mark.skipif(HAS_ONNX, reason="the extra is installed")
def test_onnx_without_its_packages_names_the_extra(tmp_path):
    with pytest.raises(ModuleNotFoundError, match=r"rlsample\[onnx\]"):
        heads.export(model_with(heads.ValueHead()), tmp_path / "policy", features(3), "onnx")
