"""Disks that are full, folders that are taken or removed, checkpoints that are damaged."""

from __future__ import annotations

import resource
import shutil
import signal
import warnings

import keras
import numpy as np
import pytest

from rlsample.rollouts.snapshot import Snapshot
from rlsample.runs import checkpoint
from tests.reliability.commands import FAULTY, Ended, has_checkpoint, resume, start, wait_until

pytestmark = pytest.mark.reliability


def test_the_run_folder_is_removed(tmp_path, row):
    folder = tmp_path / "run"
    fault = f"env.kwargs={{fault: removes the run folder, folder: '{folder}'}}"
    ended = Ended(start(folder, *FAULTY, fault, "env.vectorization_mode=sync"), folder)
    row(ended.outcome(1, f"Expected the run folder to stay. Received: removed='{folder}'"), said=ended.errors[:2000])
    assert not folder.exists()


def test_the_disk_is_full(tmp_path, row):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    words = ["total_steps=1000000000", "network.hidden_sizes=[128,128]"]
    ended = Ended(start(tmp_path / "run", *words, preexec_fn=limit), tmp_path / "run")
    row(ended.outcome(1, "The run failed after", "too large"), said=ended.errors[:2000])


def test_the_disk_becomes_full(tmp_path, row):
    folder = tmp_path / "run"
    process = start(folder, "total_steps=1000000000", "network.hidden_sizes=[128,128]")
    wait_until(has_checkpoint(folder), process)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (40_000, 40_000))
    ended = Ended(process, folder)
    row(ended.outcome(1, "The run failed after", "too large", "is kept. To go on from there"), said=ended.errors[:2000])
    assert checkpoint.load_snapshot(folder / "checkpoint")[0] > 0


def test_another_run_in_the_same_folder(tmp_path, row):
    folder = tmp_path / "run"
    process = start(folder, "total_steps=1000000000")
    wait_until(has_checkpoint(folder), process)
    second, third = Ended(start(folder, "total_steps=256"), folder), Ended(resume(folder), folder)
    process.send_signal(signal.SIGTERM)
    first = Ended(process, folder)
    outcomes = [
        first.outcome(143, "stopped early"),
        second.outcome(2, "Expected a run folder without a run in it"),
        # That it can be resumed is not said to who resumes it.
        "clear" if "Expected a run that is not going on elsewhere" in third.errors and third.code == 2 else "unclear",
    ]
    row(max(outcomes, key=["survives", "clear", "unclear", "silent"].index), said=second.errors + third.errors)


def test_a_file_is_in_the_way(tmp_path, row):
    (tmp_path / "run").write_text("mine")
    ended = Ended(start(tmp_path / "run", "total_steps=256"), tmp_path / "run")
    row(ended.outcome(2, "Expected a folder for the run"), said=ended.errors)
    assert (tmp_path / "run").read_text() == "mine"


def network(value):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(8), keras.layers.Dense(2)])
    model.set_weights([np.full(weights.shape, value, np.float32) for weights in model.get_weights()])
    return model


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "removed"])
def test_a_thousand_files_of_checkpoints(tmp_path, row, damage):
    generator, model, bad = np.random.default_rng(0), network(0.0), []
    for step in (1, 2):
        snapshot = Snapshot({"x": np.full(200, step)}, {"step": step})
        checkpoint.save(tmp_path, step, snapshot=snapshot, keep=2, model=network(step))
    names = sorted(path for path in tmp_path.iterdir() if "000002" in path.name or path.name == "manifest.json")
    for path in names:
        whole = path.read_bytes()
        for trial in range(1000 // len(names) + 1 if damage in ("flipped", "cut") else 1):
            _damage(path, whole, damage, generator)
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                step, restored = checkpoint.load_snapshot(tmp_path)
                loaded = checkpoint.load(tmp_path, model=model)
            path.write_bytes(whole)
            # The manifest of the newest is there twice; while one of the two is whole, nothing is lost.
            right = {1} if not path.name.startswith("manifest") else {1, 2}
            same = restored.numbers["step"] == step == loaded and (restored.arrays["x"] == step).all()
            same = same and all((weights == step).all() for weights in model.get_weights())
            if not same or step not in right or bool(said) != (path.name != "manifest-000002.json"):
                bad.append((path.name, trial, step))
    row("silent" if bad else "survives", str(bad[:3]) if bad else "the one before is used, and that is said")


def _damage(path, whole, damage, generator):
    content, place = bytearray(whole), int(generator.integers(len(whole)))
    if damage == "removed":
        path.unlink()
    elif damage == "flipped":
        content[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(content)
    else:
        path.write_bytes(content[: place if damage == "cut" else 0])


def test_every_checkpoint_is_damaged(tmp_path, row):
    folder = tmp_path / "run"
    process = start(folder, "total_steps=1000000000")
    wait_until(has_checkpoint(folder), process)
    process.send_signal(signal.SIGTERM)
    assert Ended(process, folder).code == 143
    for path in (folder / "checkpoint").glob("*-0*"):
        path.write_bytes(path.read_bytes()[:-1])
    ended = Ended(resume(folder), folder)
    good = ended.code == 2 and "Received: a file that is" in ended.errors and "Traceback" not in ended.errors
    row("clear" if good else "unclear", said=ended.errors)
    shutil.rmtree(folder)
