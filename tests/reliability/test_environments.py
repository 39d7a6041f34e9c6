"""Environments that fail, lie, die or hang."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from rlsample.runs import checkpoint
from tests.reliability.commands import FAULTY, Ended, start, wait_until

pytestmark = pytest.mark.reliability

SYNC, ASYNC = "env.vectorization_mode=sync", "env.vectorization_mode=async"
KEPT = 384
"""Environment steps of the last checkpoint before step 100 of any of four copies."""


def fault(name, **more):
    return [
        *FAULTY,
        f"env.kwargs={{fault: {name}, after: 100}}",
        *(f"env.{key}={value}" for key, value in more.items()),
    ]


def started(folder, name, *words, **more):
    """A run in which an environment hangs, when it does."""
    process = start(folder, *fault(name, **more), f"env.kwargs.folder={folder.parent}", *words)
    wait_until((folder.parent / "hanging").exists, process)
    return process


def children(process):
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()


def gone(numbers, seconds=60):
    until = time.monotonic() + seconds
    while any(Path(f"/proc/{each}").exists() for each in numbers) and time.monotonic() < until:
        time.sleep(0.1)
    return not any(Path(f"/proc/{each}").exists() for each in numbers)


MESSAGES = {
    "raises": ") to work. Received: RuntimeError: the door is jammed, in step 100, action",
    "fails in reset": "RuntimeError: the door is jammed, in a reset after 100 steps",
    "another shape": "observation to be of Box(-1.0, 1.0, (2,), float32), as the space says",
    "NaN observed": "nan",
    "NaN paid": "Expected finite rewards of at most 1e+18. Received: environment=0, reward=nan",
    "infinity paid": "Expected finite rewards of at most 1e+18. Received: environment=0, reward=inf",
}


@pytest.mark.parametrize(
    ("name", "mode"),
    [*((name, SYNC) for name in MESSAGES), ("raises", ASYNC)],
    ids=[*MESSAGES, "raises in its process"],
)
def test_an_environment(tmp_path, row, name, mode):
    ended = Ended(start(tmp_path / "run", *fault(name), mode), tmp_path / "run")
    row(ended.outcome(1, MESSAGES[name], f"What it had learned after {KEPT} is kept."), said=ended.errors[:2000])
    assert "--import tests.reliability.faulty" in ended.errors
    assert "Traceback" in (ended.folder / "traceback.txt").read_text()
    assert checkpoint.load_snapshot(ended.folder / "checkpoint")[0] == KEPT
    assert not (ended.folder / "evaluation.json").exists()


def test_a_process_of_an_environment_dies(tmp_path, row):
    ended = Ended(start(tmp_path / "run", *fault("dies"), ASYNC), tmp_path / "run")
    row(ended.outcome(1, "ended with exit code -9", f"after {KEPT} is kept."), said=ended.errors[:2000])


@pytest.mark.parametrize("mode", [SYNC, ASYNC], ids=["in the process", "in its own process"])
@pytest.mark.parametrize("name", ["hangs", "hangs outside of Python"])
def test_an_environment_that(tmp_path, row, name, mode):
    process = start(tmp_path / "run", *fault(name, step_seconds=5), mode)
    ended = Ended(process, tmp_path / "run")
    said = ["A call took longer than the 5 s of env.step_seconds.", "Received: nothing", f"after {KEPT} is kept."]
    if name == "hangs" or mode == SYNC:
        said += ["Expected Faulty-v1 (environment", "in step 100, action", "here:\n\n"]
    else:
        said += ["Expected Faulty-v1 to answer", "environment 0, 1, 2, 3, in step", "actions ["]
    row(ended.outcome(1, *said), said=ended.errors[:3000])
    assert checkpoint.load_snapshot(ended.folder / "checkpoint")[0] == KEPT


def test_an_environment_that_is_never_made(tmp_path, row):
    ended = Ended(start(tmp_path / "run", *fault("is never made", step_seconds=5)), tmp_path / "run")
    row(
        ended.outcome(1, "Expected Faulty-v1 to answer. Received: nothing, while it was made."),
        said=ended.errors[:2000],
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("mode", [SYNC, ASYNC], ids=["in the process", "in its own process"])
@pytest.mark.parametrize("name", ["hangs", "hangs outside of Python"])
def test_a_signal_to_one_that(tmp_path, row, name, mode, number):
    process = started(tmp_path / "run", name, mode)
    workers = children(process)
    process.send_signal(number)
    asked = time.monotonic()
    ended = Ended(process, tmp_path / "run")
    seconds = time.monotonic() - asked
    said = ["Stopping after this update", "A call took longer than the 5 s for which a stop waits."]
    row(ended.outcome(128 + number, *said, f"after {KEPT} is kept."), f"ended {seconds:.1f} s after it", ended.errors)
    assert seconds < 60  # 10 on a machine that has nothing else to do.
    assert gone(workers)


@pytest.mark.parametrize("mode", [SYNC, ASYNC], ids=["in the process", "in its own process"])
@pytest.mark.parametrize("name", ["hangs", "hangs outside of Python"])
def test_two_signals_to_one_that(tmp_path, row, name, mode):
    process = started(tmp_path / "run", name, mode)
    workers = children(process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    asked = time.monotonic()
    ended = Ended(process, tmp_path / "run")
    seconds = time.monotonic() - asked
    # What it says of going on would be for nobody: who stops it twice wants it gone.
    good = ended.code == 130 and "Stopped at once." in ended.output + ended.errors and seconds < 30
    row("clear" if good else "unclear", f"ended {seconds:.1f} s after the second")
    assert checkpoint.load_snapshot(ended.folder / "checkpoint")[0] == KEPT
    assert gone(workers)


def test_a_kill_leaves_no_process_of_an_environment(tmp_path, row):
    process = started(tmp_path / "run", "hangs", ASYNC)
    workers = children(process)
    assert len(workers) == 4
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    row("survives" if gone(workers) else "silent", "they end with it")
