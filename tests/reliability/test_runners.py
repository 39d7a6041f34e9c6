"""Runners on a Ray cluster of this machine: killed again and again, and so is the learner."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from rlsample.rollouts.in_numpy.actor import NumpyActor
from rlsample.rollouts.in_numpy.network import dense_network
from rlsample.runs.scale_config import ScaleConfig
from rlsample.scale.collector import ScaledCollector
from rlsample.scale.ray_cluster import RayCluster
from rlsample.scale.ray_engine import RayEngine
from rlsample.scale.runner import RunnerPlan
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


def runners_below(root):
    return [pid for pid, command in processes_below(root).items() if command.startswith("ray::Runner")]


def latest(folder, name):
    path = Path(folder) / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return json.loads(lines[-1])[name] if lines else 0


def steps(folder):
    return latest(folder, "global_step")


def wait(condition, seconds=600):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.2)


def test_runners_and_learner_killed(tmp_path, row):
    """Three runners, then the learner: nothing it started is left, and the run goes on with new runners."""
    folder = tmp_path / "run"
    process = start(folder, *SCALED, "total_steps=200000")
    wait(lambda: steps(folder) > 0)
    killed = set()
    for kill in range(1, 4):
        runner = max(set(runners_below(process.pid)) - killed)
        killed.add(runner)
        os.kill(runner, signal.SIGKILL)
        wait(lambda: latest(folder, "scale/restarts") >= kill)  # noqa: B023 (called at once)
    assert latest(folder, "scale/restarts") == 3
    left = processes_below(process.pid)
    with process:  # Closes its pipes.
        os.kill(process.pid, signal.SIGKILL)
    # Runners end at once. Ray's own agents look for their parent for a minute before they do.
    wait(lambda: not [pid for pid in left if Path(f"/proc/{pid}").exists()], 300)
    reached = steps(folder)
    again = resume(folder)
    wait(lambda: steps(folder) > reached)
    again.send_signal(signal.SIGTERM)
    out, errors = again.communicate(timeout=600)
    row(Outcome.SURVIVES if again.returncode == 143 else Outcome.UNCLEAR, "3 runners, then the learner", out + errors)


KILLS = 50


class Killer(threading.Thread):
    """Kills processes of runners, some time after each other, none of them twice."""

    def __init__(self, root, seed):
        super().__init__(daemon=True)
        self.killed, self.root, self.draw = set(), root, np.random.default_rng(seed)

    def run(self):
        while len(self.killed) < KILLS:
            time.sleep(self.draw.uniform(0.0, 0.5))
            left = sorted(set(runners_below(self.root)) - self.killed)
            if left:
                pid = int(self.draw.choice(left))
                self.killed.add(pid)
                os.kill(pid, signal.SIGKILL)


class Everywhere:
    num_envs = 6


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")
@pytest.mark.filterwarnings("ignore::FutureWarning:ray.*")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_no_step_is_counted_twice_and_none_is_lost_but_with_its_fragment(mode, row):
    """Fifty runners, killed whenever: of each environment the steps from its first on, to the end of a fragment."""
    scale = ScaleConfig(
        engine="ray", runners=3, mode=mode, max_lag=10**6, fragment_seconds=300, connect_seconds=300, max_restarts=KILLS
    )
    cluster = RayCluster(None, 300.0, cpus=4)
    env = {"id": "Counted-v0", "vectorization_mode": "sync"}
    plan = RunnerPlan(env, 2, ("tests.reliability.counted",))
    collector = ScaledCollector(Everywhere(), RayEngine(plan, scale), scale, seed=1)
    network = dense_network([np.zeros([2, 2], np.float32), np.zeros(2, np.float32)], [], (2,))
    seen, turn, restarts = [], 0, 0
    killer = Killer(os.getpid(), seed=3)
    while killer.ident is None or killer.is_alive() or restarts < KILLS:
        steps = collector.collect(NumpyActor(network, np.array([turn, 1], np.int32)), 50)
        assert steps.reward.shape == (50, 6)
        assert (steps.next_observation[..., 1] - steps.observation[..., 1] == steps.valid).all()
        seen.append(steps.observation[steps.valid])
        restarts = collector.pop_episodes()["scale/restarts"]
        if turn == 0:
            killer.start()
        turn += 1
    collector.close()
    cluster.close()
    rows = np.concatenate(seen).astype(int)
    environments = np.unique(rows[:, 0])
    for environment in environments:
        counts = np.sort(rows[rows[:, 0] == environment, 1])
        np.testing.assert_array_equal(counts, np.arange(len(counts)))
    assert restarts == KILLS
    row(Outcome.SURVIVES, f"{mode}: {KILLS} kills, {turn} turns, {len(rows):,} steps, {len(environments)} environments")


def test_a_run_ends_whose_runners_are_killed(tmp_path, row):
    """Fifty of them, while it goes on: it takes the steps it was asked for, each once."""
    folder, total = tmp_path / "run", 64 * 1200
    process = start(folder, *SCALED, f"total_steps={total}")
    wait(lambda: steps(folder) > 0)
    killer = Killer(process.pid, seed=4)
    killer.start()
    out, errors = process.communicate(timeout=1200)
    assert process.returncode == 0, out + errors
    assert not killer.is_alive(), f"it ended after {len(killer.killed)} kills: ask it for more steps"
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    taken = [record["global_step"] for record in records if "scale/restarts" in record]
    assert taken == sorted(set(taken))
    assert json.loads((folder / "evaluation.json").read_text())["global_step"] == total
    restarts = [record["scale/restarts"] for record in records if "scale/restarts" in record][-1]
    row(Outcome.SURVIVES if restarts == KILLS else Outcome.SILENT, f"{restarts:g} restarts in {total:,} steps")
