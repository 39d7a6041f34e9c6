"""The fault table: each fault is made for real, in a process of its own, with the command that users type."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rlsample import runs
from rlsample.rollouts.snapshot import Snapshot
from rlsample.runs import checkpoint

pytestmark = pytest.mark.reliability
ROOT = Path(__file__).parents[2]
SMALL = ["agent.jit_compile=false", "agent.num_steps=16", "network.hidden_sizes=[8]", "agent.num_minibatches=2"]
PLAIN = [*SMALL, "agent.num_epochs=1", "evaluation.episodes=2", "tracking.wandb=disabled", "checkpoint.every=64"]
FAULTY = ["--import", "tests.reliability.faulty", "env.id=Faulty-v1", "env.num_envs=4"]


def start(folder, *words, **options):
    command = [sys.executable, "-m", "scripts.train", "agents/configs/ppo_cartpole.yaml", *PLAIN, *words]
    settings = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, "--run-dir", str(folder)], **(settings | options))


def finished(process, timeout=120):
    output, errors = process.communicate(timeout=timeout)
    assert "Traceback" not in errors.split("\n\n")[0]
    return process.returncode, output, errors


def resumed(folder, *words):
    command = [sys.executable, "-m", "scripts.train", "--resume", str(folder), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    return done.returncode, done.stderr


def wait_until(condition, process, seconds=90):
    until = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    assert condition(), process.communicate(timeout=10)


@pytest.mark.parametrize("fault", ["raises", "another shape", "NaN observed", "NaN paid", "infinity paid"])
def test_an_environment_that_fails_leaves_a_checkpoint_and_says_how_to_go_on(tmp_path, fault):
    folder = tmp_path / "run"
    words = [*FAULTY, "total_steps=4000", f"env.kwargs={{fault: {fault}, after: 100}}", "env.vectorization_mode=sync"]
    code, _, errors = finished(start(folder, *words))
    assert code == 1
    assert "The run failed after 384 steps." in errors
    assert f"is kept. To go on from there: python -m scripts.train --resume {folder}" in errors
    assert "--import tests.reliability.faulty" in errors
    assert "Traceback" in (folder / "traceback.txt").read_text()
    assert checkpoint.load_snapshot(folder / "checkpoint")[0] == 384
    assert not (folder / "evaluation.json").exists()


def test_a_process_of_an_environment_that_dies_is_named(tmp_path):
    words = [*FAULTY, "total_steps=4000", "env.kwargs={fault: dies}", "env.vectorization_mode=async"]
    code, _, errors = finished(start(tmp_path / "run", *words))
    assert code == 1
    assert "ended with exit code -9" in errors
    assert "is kept. To go on" in errors


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.0, 4.0])
def test_a_signal_at_any_moment_of_the_start_ends_it(tmp_path, number, code, seconds):
    process = start(tmp_path / "run", "total_steps=100000000")
    time.sleep(seconds)
    process.send_signal(number)
    asked = time.monotonic()
    found, _, errors = finished(process)
    assert time.monotonic() - asked < 10
    # Before the interpreter runs our first line the signal has its own effect.
    assert found in (code, -number), errors


def test_a_signal_while_training_leaves_a_run_that_goes_on(tmp_path):
    folder = tmp_path / "run"
    process = start(folder, "total_steps=1000000000")
    wait_until(lambda: (folder / "checkpoint" / "manifest.json").exists(), process)
    process.send_signal(signal.SIGTERM)
    code, output, _ = finished(process)
    assert code == 143
    assert f"python -m scripts.train --resume {folder}" in output
    assert checkpoint.load_snapshot(folder / "checkpoint")[0] > 0


def test_an_environment_that_hangs_is_said_and_left_by_the_second_signal(tmp_path):
    folder = tmp_path / "run"
    words = [*FAULTY, "total_steps=4000", "env.kwargs={fault: hangs, after: 100}", "env.vectorization_mode=sync"]
    process = start(folder, *words)
    wait_until(lambda: (folder / "checkpoint" / "manifest.json").exists(), process)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    time.sleep(11)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    code, output, errors = finished(process, timeout=10)
    assert code == 130, errors
    assert "Still waiting for what is under way" in output
    assert checkpoint.load_snapshot(folder / "checkpoint")[0] == 384


@pytest.mark.parametrize("trial", range(5))
def test_a_killed_run_goes_on(tmp_path, trial):
    folder = tmp_path / "run"
    process = start(folder, "total_steps=1000000000")
    wait_until(lambda: (folder / "checkpoint" / "manifest.json").exists(), process)
    time.sleep(0.05 * trial)
    process.kill()
    process.communicate(timeout=30)
    step, _ = checkpoint.load_snapshot(folder / "checkpoint")
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.train", "--resume", str(folder)], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    wait_until(lambda: checkpoint.load_snapshot(folder / "checkpoint")[0] > step, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    steps = [record["global_step"] for record in runs.read_metrics(folder / "metrics.jsonl")]
    assert steps == sorted(set(steps))
    assert not list(folder.rglob("*.new"))


def test_nobody_reads_the_output(tmp_path):
    folder = tmp_path / "run"
    with start(folder, "total_steps=256") as process:
        process.stdout.close()
        assert process.wait(timeout=120) == 0, process.stderr.read()
    assert (folder / "evaluation.json").exists()


def test_a_terminal_that_knows_only_ascii(tmp_path):
    environment = os.environ | {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    code, output, errors = finished(start(tmp_path / "run", "total_steps=256", env=environment))
    assert code == 0, errors
    assert "return" in output


def test_the_run_folder_is_removed(tmp_path):
    folder = tmp_path / "run"
    fault = f"env.kwargs={{fault: removes the run folder, folder: '{folder}'}}"
    words = [*FAULTY, "total_steps=4000", fault, "env.vectorization_mode=sync"]
    code, _, errors = finished(start(folder, *words))
    assert code == 1
    assert f"Expected the run folder to stay. Received: removed='{folder}'" in errors
    assert not folder.exists()


def test_the_disk_is_full(tmp_path):
    folder = tmp_path / "run"

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    process = start(folder, "total_steps=1000000000", "network.hidden_sizes=[128,128]", preexec_fn=limit)
    code, _, errors = finished(process)
    assert code == 1
    assert "The run failed after" in errors
    assert "File too large" in errors or "Errno 27" in errors


def test_two_runs_in_one_folder(tmp_path):
    folder = tmp_path / "run"
    process = start(folder, "total_steps=1000000000")
    wait_until(lambda: (folder / "checkpoint" / "manifest.json").exists(), process)
    code, _, errors = finished(start(folder, "total_steps=256"))
    assert code == 2
    assert "Expected a run folder without a run in it" in errors
    code, errors = resumed(folder)
    assert code == 2
    assert "Expected a run that is not going on elsewhere" in errors
    process.send_signal(signal.SIGTERM)
    assert finished(process)[0] == 143


def test_a_file_is_in_the_way(tmp_path):
    (tmp_path / "run").write_text("mine")
    code, _, errors = finished(start(tmp_path / "run", "total_steps=256"))
    assert code == 2
    assert "Expected a folder for the run" in errors
    assert (tmp_path / "run").read_text() == "mine"


def test_no_damage_of_a_checkpoint_is_loaded_in_silence(tmp_path):
    generator = np.random.default_rng(0)
    for step in (1, 2):
        snapshot = Snapshot({"x": np.full(200, step)}, {"step": step})
        checkpoint.save(tmp_path, step, snapshot=snapshot, keep=2)
    names = [path for path in tmp_path.iterdir() if "000002" in path.name or path.name == "manifest.json"]
    whole = {path: path.read_bytes() for path in names}
    for trial in range(1000):
        path = names[trial % len(names)]
        content, place = bytearray(whole[path]), int(generator.integers(len(whole[path])))
        if trial % 2:
            content[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(content if trial % 2 else content[:place])
        try:
            with pytest.warns(RuntimeWarning) if path.name != "manifest-000002.json" else contextlib.nullcontext():
                step, restored = checkpoint.load_snapshot(tmp_path)
        finally:
            path.write_bytes(whole[path])
        assert restored.numbers["step"] == step
        assert (restored.arrays["x"] == step).all()
