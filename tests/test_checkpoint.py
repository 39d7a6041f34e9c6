from __future__ import annotations

import random
import resource
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from rlsample.runs import checkpoint
from rlsample.runs.checkpoint import CheckpointError


def network(value: float, width: int = 8) -> keras.Model:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(width), keras.layers.Dense(2)])
    model.set_weights([np.full(weights.shape, value, np.float32) for weights in model.get_weights()])
    return model


def value_of(model: keras.Model) -> float:
    values = {float(value) for weights in model.get_weights() for value in np.unique(weights)}
    assert len(values) == 1
    return values.pop()


def test_weights_and_step_come_back(tmp_path):
    checkpoint.save(tmp_path / "new" / "folder", 30, model=network(1.5))
    model = network(0.0)
    assert checkpoint.load(tmp_path / "new" / "folder", model=model) == 30
    assert value_of(model) == 1.5


def test_every_dtype_comes_back_exactly(tmp_path):
    dtypes = ["float16", "bfloat16", "float32", "float64", "int64", "bool"]
    saved = keras.layers.Layer()
    loaded = keras.layers.Layer()
    for layer, value in ((saved, 1), (loaded, 0)):
        for dtype in dtypes:
            layer.add_weight(shape=(2,), dtype=dtype, initializer="ones" if value else "zeros", name=dtype)
    checkpoint.save(tmp_path, 1, layer=saved)
    checkpoint.load(tmp_path, layer=loaded)
    for variable, dtype in zip(loaded.variables, dtypes, strict=True):
        assert variable.dtype == dtype
        np.testing.assert_array_equal(tf.cast(variable.value, tf.float64), [1.0, 1.0])


def test_an_optimizer_comes_back_too(tmp_path):
    def trained(steps):
        model, optimizer = network(1.0), keras.optimizers.Adam(0.1)
        optimizer.build(model.trainable_variables)
        for _ in range(steps):
            optimizer.apply([tf.ones_like(variable) for variable in model.trainable_variables])
        return model, optimizer

    model, optimizer = trained(3)
    checkpoint.save(tmp_path, 3, model=model, optimizer=optimizer)
    model, optimizer = trained(0)
    checkpoint.load(tmp_path, model=model, optimizer=optimizer)
    optimizer.apply([tf.ones_like(variable) for variable in model.trainable_variables])
    expected, _ = trained(4)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), expected.get_weights(), strict=True))


def test_saving_again_replaces_and_leaves_strangers_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for step in range(5):
        checkpoint.save(tmp_path, step, model=network(step))
    assert len(list(tmp_path.iterdir())) == 4
    assert (tmp_path / "notes.txt").read_text() == "mine"
    model = network(0.0)
    assert checkpoint.load(tmp_path, model=model) == 4
    assert value_of(model) == 4.0


@pytest.mark.parametrize("place", ["_digest", "_digest_of", "_replace", "os.replace"])
@pytest.mark.parametrize("killed", [False, True], ids=["error", "kill"])
def test_an_interrupted_save_leaves_the_previous_checkpoint(tmp_path, monkeypatch, place, killed):
    checkpoint.save(tmp_path, 1, model=network(1.0))

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"rlsample.runs.checkpoint.{place}", interrupt)
        if killed:
            patch.setattr("rlsample.runs.checkpoint._sweep", lambda *arguments, **options: None)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(tmp_path, 2, model=network(2.0))
    model = network(0.0)
    assert checkpoint.load(tmp_path, model=model) == 1
    assert value_of(model) == 1.0
    checkpoint.save(tmp_path, 3, model=network(3.0))
    assert checkpoint.load(tmp_path, model=model) == 3
    assert sum(path.name.startswith("weights-") for path in tmp_path.iterdir()) == 2


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path):
    checkpoint.save(tmp_path, 1, model=network(1.0, width=4096))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises((OSError, tf.errors.OpError)):
            checkpoint.save(tmp_path, 2, model=network(2.0, width=4096))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    model = network(0.0, width=4096)
    assert checkpoint.load(tmp_path, model=model) == 1
    assert value_of(model) == 1.0
    assert len(list(tmp_path.iterdir())) == 3


def test_no_changed_byte_goes_unnoticed(tmp_path):
    checkpoint.save(tmp_path / "good", 1, model=network(1.0))
    files = sorted((tmp_path / "good").iterdir())
    chance = random.Random(0)
    model = network(0.0)
    for trial in range(300):
        folder = tmp_path / str(trial)
        shutil.copytree(tmp_path / "good", folder)
        path = folder / files[trial % len(files)].name
        content = bytearray(path.read_bytes())
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
        with pytest.raises(CheckpointError):
            checkpoint.load(folder, model=model)
        assert value_of(model) == 0.0


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b"[" * 100_000, b"\xff", b'{"content": {}, "sha256": 1}']
)
def test_a_manifest_that_is_none_is_refused(tmp_path, content):
    checkpoint.save(tmp_path, 1, model=network(1.0))
    (tmp_path / checkpoint.MANIFEST).write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load(tmp_path, model=network(0.0))


def test_cut_short_or_missing_files_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"no manifest\.json"):
        checkpoint.load(tmp_path, model=network(0.0))
    checkpoint.save(tmp_path, 1, model=network(1.0))
    data = next(tmp_path.glob("*.data-*"))
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=data.name):
        checkpoint.load(tmp_path, model=network(0.0))
    data.unlink()
    with pytest.raises(CheckpointError, match=data.name):
        checkpoint.load(tmp_path, model=network(0.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"format": 99}, "format 2"), ({"prefix": "../weights"}, "beside it"), ({"files": {"../x": ""}}, "beside it")],
)
def test_a_manifest_of_another_kind_is_refused(tmp_path, change, message):
    checkpoint.save(tmp_path, 1, model=network(1.0))
    content = dict(checkpoint._read_manifest(tmp_path / checkpoint.MANIFEST)) | change
    checkpoint._replace(tmp_path / checkpoint.MANIFEST, {"content": content, "sha256": checkpoint._digest_of(content)})
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(tmp_path, model=network(0.0))


def test_a_checkpoint_of_something_else_is_refused_before_anything_is_touched(tmp_path):
    checkpoint.save(tmp_path, 1, model=network(1.0))
    model = network(0.0, width=9)
    with pytest.raises(CheckpointError, match=r"Variable 0 is float32\[3, 8\] in it and float32\[3, 9\] here"):
        checkpoint.load(tmp_path, model=model)
    assert value_of(model) == 0.0
    with pytest.raises(CheckpointError, match="It holds 4 variables, here there are 2"):
        checkpoint.load(tmp_path, model=keras.Sequential([keras.Input((3,)), keras.layers.Dense(8)]))


def test_an_object_of_another_name_was_told_its_number_of_variables(tmp_path):
    checkpoint.save(tmp_path, 1, model=network(1.0))
    model = network(0.0)
    message = r"names \['model'\] that .* holds\. Received: names=\['policy'\]\. Call load\(folder, model=\.\.\.\)"
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(tmp_path, policy=model)
    assert value_of(model) == 0.0
    with pytest.raises(CheckpointError, match=r"names=\['critic', 'model'\]"):
        checkpoint.load(tmp_path, model=model, critic=network(0.0))
    with pytest.raises(CheckpointError, match=r"names=\[\]"):
        checkpoint.load(tmp_path)


def test_an_unbuilt_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="variables are built"):
        checkpoint.save(tmp_path, 1, model=keras.Sequential([keras.layers.Dense(2)]))
