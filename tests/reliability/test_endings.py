"""Runs that are stopped, killed, or have nobody to read them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from rlsample.runs import checkpoint
from tests.reliability.commands import ROOT, Ended, has_checkpoint, start, wait_until

pytestmark = pytest.mark.reliability
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.0, 4.0])
def test_a_signal_after_so_many_seconds(tmp_path, row, number, code, seconds):
    process = start(tmp_path / "run", "total_steps=100000000")
    time.sleep(seconds)
    process.send_signal(number)
    asked = time.monotonic()
    ended = Ended(process, tmp_path / "run")
    taken = time.monotonic() - asked
    # Before the interpreter runs our first line the signal has its own effect, which is to end the process.
    good = ended.code in (code, -number) and taken < 60
    row("clear" if good else "unclear", f"exit code {ended.code}, {taken:.1f} s after it")


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_while_training(tmp_path, row, number, code):
    process = start(tmp_path / "run", "total_steps=1000000000")
    wait_until(has_checkpoint(tmp_path / "run"), process)
    process.send_signal(number)
    ended = Ended(process, tmp_path / "run")
    row(ended.outcome(code, "Stopping after this update", "stopped early", "go on"), said=ended.output[-500:])
    assert checkpoint.load_snapshot(tmp_path / "run" / "checkpoint")[0] > 0


def test_kills_at_random_moments(request, row):
    kills = request.config.getoption("--kills", default=5)
    command = [sys.executable, "-m", "tests.reliability.kills", "--kills", str(kills)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    lost, interval = found["most steps lost"], found["checkpoint interval"]
    good = lost <= interval and not found["left over"] and found["the same to the bit"]
    detail = f"all of {kills} gone on from, {found['while saving']} of them while saving, at most {lost} steps lost"
    row("survives" if good else "silent", detail if good else str(found))


def test_training_that_diverges(tmp_path, row):
    ended = Ended(start(tmp_path / "run", "agent.learning_rate=1e30", "total_steps=1000000"), tmp_path / "run")
    said = ["Expected finite", "Training diverged. Lower agent.learning_rate.", "The run failed after"]
    row(ended.outcome(1, *said), said=ended.errors[:2000])


def test_nobody_reads_the_output(tmp_path, row):
    process = start(tmp_path / "run", "total_steps=256", stderr=subprocess.DEVNULL)
    process.stdout.close()
    good = process.wait(timeout=180) == 0 and (tmp_path / "run" / "evaluation.json").exists()
    row("survives" if good else "unclear")


def test_a_terminal_that_knows_only_ascii(tmp_path, row):
    environment = os.environ | {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    ended = Ended(start(tmp_path / "run", "total_steps=256", env=environment), tmp_path / "run")
    row(ended.outcome(0, "return"), said=ended.errors[-1000:])
