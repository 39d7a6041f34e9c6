"""Runners on a Ray cluster of this machine: killed again and again, and so is the learner."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.reliability.commands import Outcome, resume, start

if importlib.util.find_spec("ray") is None:
    pytest.skip("needs the extra scale", allow_module_level=True)
pytestmark = pytest.mark.reliability

SCALED = ["env.id=CartPole-v1", "env.num_envs=4", "scale.engine=ray", "scale.runners=2", "scale.connect_seconds=300"]


def processes_below(root):
    """Ids and command lines of all processes that a process started, and those started."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()[1:]]
    found, parents = {}, {root}
    while parents:
        below = {int(pid): command for pid, parent, command in rows if int(parent) in parents}
        found |= below
        parents = set(below)
    return found


def steps(folder):
    path = Path(folder) / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return json.loads(lines[-1])["global_step"] if lines else 0


def wait(condition, seconds=600):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.2)


def test_runners_and_learner_killed(tmp_path, row):
    """Three runners, then the learner: nothing it started is left, and the run goes on with new runners."""
    folder = tmp_path / "run"
    process = start(folder, *SCALED, "total_steps=200000")
    for kill in range(3):
        before = steps(folder)
        wait(lambda: steps(folder) > before)  # noqa: B023 (called at once)
        runners = [pid for pid, command in processes_below(process.pid).items() if command.startswith("ray::Runner")]
        os.kill(runners[kill % len(runners)], signal.SIGKILL)
    before = steps(folder)
    wait(lambda: steps(folder) > before)
    restarts = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["scale/restarts"]
    assert restarts == 3
    left = processes_below(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait(lambda: not [pid for pid in left if Path(f"/proc/{pid}").exists()], 60)
    reached = steps(folder)
    again = resume(folder)
    wait(lambda: steps(folder) > reached)
    again.send_signal(signal.SIGTERM)
    out, errors = again.communicate(timeout=600)
    row(Outcome.SURVIVES if again.returncode == 143 else Outcome.UNCLEAR, "3 runners, then the learner", out + errors)
