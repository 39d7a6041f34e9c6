"""Runners as Ray actors on this machine: the same numbers as in one process, real kills, and nothing that calls out."""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import time

import gymnasium as gym
import numpy as np
import pytest

from agents import ppo as agent
from rlsample import samplers
from rlsample.rollouts.environments.faults import EnvironmentFault
from rlsample.rollouts.in_numpy.actor import NumpyActor
from rlsample.rollouts.in_numpy.policy import network_of
from rlsample.rollouts.policy import Policy
from rlsample.runs.scale_config import ScaleConfig
from rlsample.scale.collector import ScaledCollector
from rlsample.scale.engine import RunnerFault
from rlsample.scale.local_engine import LocalEngine
from rlsample.scale.ray_cluster import RayCluster
from rlsample.scale.ray_engine import RayEngine
from rlsample.scale.runner import RunnerPlan
from scripts.engines import launcher
from tests.helpers_runs import Silent
from tests.test_scale import ENV, SEED, Elsewhere, collector, configure, network, same

if importlib.util.find_spec("ray") is None:  # Not imported: what it is told before counts.
    pytest.skip("needs the extra scale", allow_module_level=True)
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray.*"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
SECONDS = 120.0


@pytest.fixture(scope="module")
def cluster():
    """One for all: the engines of the tests find it started, and leave it so."""
    started = RayCluster(None, SECONDS, cpus=16)
    yield started
    started.close()


def scaled(env=ENV, runners=2, each=3, seed=7, **options):
    options = {"fragment_seconds": SECONDS, "connect_seconds": SECONDS, **options}
    scale = ScaleConfig(engine="ray", runners=runners, **options)
    engine = RayEngine(RunnerPlan(env, each), scale)
    return ScaledCollector(Elsewhere(runners * each), engine, scale, seed), engine


def processes(engine):
    return [engine._ray.get(actor.process.remote()) for actor in engine.actors.values()]


def test_the_cluster_collects_what_one_process_does_to_the_bit(cluster):
    far, engine = scaled()
    near = collector()
    for turn in range(3):
        same(*(each.collect(NumpyActor(network(), SEED + turn), 50) for each in (near, far)))
    # A lambda travels as it is; a function of this module would take the module's imports along.
    loaded = [each.__ray_call__.remote(lambda _: list(__import__("sys").modules)) for each in engine.actors.values()]
    assert not {"tensorflow", "keras"} & {name for names in engine._ray.get(loaded) for name in names}
    far.close()


def test_training_on_the_cluster_is_training_in_one_process_to_the_bit(cluster):
    records, weights = [], []
    for engine in ("local", "ray"):
        run = Silent()
        policy = agent.train(configure({"engine": engine, "runners": 2, "fragment_seconds": SECONDS}), run)
        weights.append([np.asarray(weight) for weight in policy.model.trainable_variables])
        records.append([{k: v for k, v in r.items() if not k.startswith("scale/")} for r in run.records])
    assert records[0] == records[1]
    same(*weights)


def kill_and_go_on(far, engine, runner, turn):
    """Kills a runner, and collects until that was noticed: async does not wait for one that says nothing."""
    before = far.pop_episodes()["scale/restarts"]
    os.kill(processes(engine)[runner], signal.SIGKILL)
    for repeat in range(50):
        transitions = far.collect(NumpyActor(network(), SEED + 100 * turn + repeat), 20)
        assert transitions.reward.shape == (20, far.envs.num_envs)
        assert np.isfinite(transitions.reward).all()
        metrics = far.pop_episodes()
        if metrics["scale/restarts"] == before + 1:
            return metrics
    raise AssertionError("nobody noticed")


@pytest.mark.parametrize("mode", ["sync", pytest.param("async", marks=pytest.mark.slow)])
def test_runners_that_are_killed_are_replaced_and_the_learner_goes_on(cluster, mode):
    far, engine = scaled(mode=mode)
    far.collect(NumpyActor(network(), SEED), 20)
    for turn in range(3):
        metrics = kill_and_go_on(far, engine, turn % 2, turn + 1)
        assert metrics["scale/fragments_dropped"] >= turn + 1
    far.close()


@pytest.mark.slow
def test_a_runner_that_hangs_is_replaced_until_it_was_lost_too_often(cluster):
    far, engine = scaled(fragment_seconds=3.0, max_restarts=1)
    far.collect(NumpyActor(network(), SEED), 5)
    os.kill(processes(engine)[1], signal.SIGSTOP)
    start = time.monotonic()
    assert far.collect(NumpyActor(network(), SEED + 1), 5).reward.shape == (5, 6)
    assert time.monotonic() - start < SECONDS
    assert far.pop_episodes()["scale/restarts"] == 1
    os.kill(processes(engine)[1], signal.SIGSTOP)
    with pytest.raises(RunnerFault, match=r"Expected runner 1 to be lost at most 1 times.*Received: 2; .*took longer"):
        far.collect(NumpyActor(network(), SEED + 2), 5)


def test_an_environment_that_cannot_be_made_in_a_runner_is_told_with_its_traceback(cluster):
    far, _ = scaled(env={"id": "CartPole-v1", "kwargs": {"nonsense": 1}})
    with pytest.raises(EnvironmentFault, match=r"(?s)Expected runner \d to work. Received: TypeError.*Traceback.*nons"):
        far.collect(NumpyActor(network(), SEED), 5)


def test_runners_that_the_cluster_has_no_room_for_are_told(cluster):
    far, _ = scaled(cpus_per_runner=1000.0, fragment_seconds=1.0, connect_seconds=1.0)
    with pytest.raises(RunnerFault, match=r"Expected the runners to start.*2 of 1000 CPUs each, in a cluster that has"):
        far.collect(NumpyActor(network(), SEED), 5)


@pytest.mark.slow
def test_commands_on_the_cluster_end_with_their_own_codes_and_those_lost_as_killed(cluster, tmp_path):
    options = argparse.Namespace(engine="ray", address=None, jobs=3)
    waits = "import time; print('begun', flush=True); time.sleep(600)"
    commands = ["print('mine'); raise SystemExit(3)", waits, waits]
    logs = [tmp_path / "logs" / f"{index}.log" for index in range(3)]
    with launcher(options) as launch:
        started = [launch([sys.executable, "-c", code], log) for code, log in zip(commands, logs, strict=True)]
        await_text(logs[1]), await_text(logs[2])
        assert started[1].poll() is None
        started[1].send_signal(signal.SIGTERM)
        cluster.ray.kill(started[2]._actor)
        codes = [code_of(process) for process in started]
    assert codes == [3, -signal.SIGTERM, -9]
    assert logs[0].read_text() == "mine\n"


def await_text(path):
    end = time.monotonic() + SECONDS
    while not (path.exists() and path.read_text()) and time.monotonic() < end:
        time.sleep(0.1)


def code_of(process):
    end = time.monotonic() + SECONDS
    while (code := process.poll()) is None and time.monotonic() < end:
        time.sleep(0.1)
    return code


@pytest.mark.slow
def test_an_address_where_something_else_answers_is_told():
    code = """
import socket
from rlsample.scale.engine import RunnerFault
from rlsample.scale.ray_cluster import RayCluster

with socket.socket() as listening:
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    try:
        RayCluster(f"127.0.0.1:{listening.getsockname()[1]}", seconds=3.0, cpus=1)
    except RunnerFault as fault:
        print(fault, flush=True)
"""
    out = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    assert "Expected a Ray cluster at scale.address=127.0.0.1:" in out.stdout
    assert "Received: nothing in 3 s" in out.stdout


def test_whatever_is_observed_reaches_the_runners(cluster):
    envs = {"id": "Blackjack-v1"}
    policy = Policy(gym.make("Blackjack-v1").observation_space, gym.spaces.Discrete(2), samplers.create("categorical"))
    far, _ = scaled(env=envs)
    near = ScaledCollector(Elsewhere(6), LocalEngine(RunnerPlan(envs, 3)), ScaleConfig(runners=2), 7)
    act = NumpyActor(network_of(policy), SEED)
    same(*(each.collect(act, 20) for each in (near, far)))
    far.close()


class Unreadable:
    weights = ()

    def __reduce__(self):
        return divmod, (1, 0)


def test_what_a_runner_cannot_read_ends_the_run_and_no_runner_is_lost_for_it(cluster):
    far, _ = scaled()
    sent = network()
    sent.layers.append(Unreadable())
    with pytest.raises(EnvironmentFault, match=r"Expected runner 0 to work\. Received: RayTaskError"):
        far.collect(NumpyActor(sent, SEED), 20)
