"""Runners in this process: what they collect, what becomes of what is late or lost, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections import deque

import numpy as np
import pytest
import tensorflow as tf

import envs  # noqa: F401 (registers its environments)
from agents import ppo as agent
from rlsample import runs, spaces
from rlsample.rollouts.environment_faults import EnvironmentFault
from rlsample.rollouts.gymnasium_collector import GymnasiumCollector
from rlsample.rollouts.numpy_network import NumpyActor, NumpyNetwork
from rlsample.rollouts.transition import LaggingTransition, Transition
from rlsample.runs.agents import Agents, make_policy
from rlsample.runs.scale_config import ScaleConfig, check_scale
from rlsample.scale.collector import ScaledCollector
from rlsample.scale.engine import Answer, RunnerFault
from rlsample.scale.environments import make_environments
from rlsample.scale.local_engine import LocalEngine
from rlsample.scale.runner import Failure, Request, Runner, RunnerPlan
from tests.helpers_runs import Silent

SEED = np.array([3, 4], np.int32)
STEPS = 12
ENV = {"id": "CartPole-v1", "vectorization_mode": "sync"}


def configure(scale, num_envs=4, turns=3, env="CartPole-v1", **more):
    rows = 16 * num_envs
    return runs.config_from_dict(
        {
            "agent": {"name": "ppo", "num_steps": 16, "jit_compile": False, **more.pop("agent", {})},
            "env": {**ENV, "id": env, "num_envs": num_envs},
            "network": {"name": "mlp", "hidden_sizes": [16]},
            "sampler": "categorical",
            "total_steps": turns * rows,
            "scale": scale,
            **more,
        },
        agents={"ppo": agent.Config},
    )


def network(scale=0.5):
    draw = np.random.default_rng(1).normal
    weights = [draw(size=shape, scale=scale).astype(np.float32) for shape in ((4, 8), (8,), (8, 2), (2,))]
    return NumpyNetwork(parts=None, weights=weights, activations=["tanh"], event_shape=(2,))


class Elsewhere:
    def __init__(self, num_envs):
        self.num_envs = num_envs


def collector(engine=None, runners=2, each=3, seed=7, **scale):
    plan = RunnerPlan(ENV, each)
    return ScaledCollector(
        Elsewhere(runners * each), engine or LocalEngine(plan), ScaleConfig(runners=runners, **scale), seed
    )


def same(one, other):
    for here, there in zip(tf.nest.flatten(one), tf.nest.flatten(other), strict=True):
        np.testing.assert_array_equal(here, there)


def test_one_runner_collects_what_one_process_does():
    config = runs.EnvConfig.model_validate({**ENV, "num_envs": 3})
    made = config.make()
    alone = GymnasiumCollector(made, spaces.factorise(made.single_action_space), seed=7)
    scaled = collector(runners=1)
    for turn in range(3):
        seed = np.array([turn, 5], np.int32)
        same(scaled.collect(NumpyActor(network(), seed), 40), alone.collect(NumpyActor(network(), seed), 40))
    mine, theirs = alone.pop_episodes(), scaled.pop_episodes()
    assert mine["charts/episodes"] > 5
    assert mine.items() <= theirs.items()


def test_runners_stand_side_by_side_with_the_environments_of_one_process():
    """Environment i has the seed of environment i of a single vector of them."""
    transitions = collector().collect(NumpyActor(network(), SEED), STEPS)
    made = runs.EnvConfig.model_validate({**ENV, "num_envs": 6}).make()
    np.testing.assert_array_equal(transitions.observation[0], made.reset(seed=7)[0])
    assert transitions.reward.shape == (STEPS, 6)
    assert not np.array_equal(transitions.action[:, :3], transitions.action[:, 3:])


def test_training_by_one_runner_is_training_without(monkeypatch):
    plain, scaled = Silent(), Silent()
    agent.train(configure({}), plain)
    monkeypatch.setattr(ScaleConfig, "spread", property(lambda self: True))
    agent.train(configure({}), scaled)
    assert [record["step"] for record in scaled.records] == [64, 128, 192]
    for record, other in zip(plain.records, scaled.records, strict=True):
        assert record.items() <= other.items()


def test_async_takes_each_fragment_one_turn_late_and_says_what_it_was_collected_with():
    scaled = collector(mode="async")
    first, second = network(), network(scale=2.0)
    zero = scaled.collect(NumpyActor(first, SEED), STEPS)
    assert scaled.pop_episodes()["scale/lag_max"] == 0
    one = scaled.collect(NumpyActor(second, SEED + 1), STEPS)
    two = scaled.collect(NumpyActor(second, SEED + 2), STEPS)
    metrics = scaled.pop_episodes()
    assert (metrics["scale/lag_min"], metrics["scale/lag_mean"], metrics["scale/lag_max"]) == (1, 1, 1)
    for transitions, acted in ((zero, first), (one, first), (two, second)):
        assert isinstance(transitions, LaggingTransition)
        rows = [np.reshape(part, (-1, *part.shape[2:])) for part in tf.nest.flatten(transitions[:3])]
        expected = acted.log_prob(rows[0], rows[1], rows[2]).reshape(STEPS, -1)
        np.testing.assert_array_equal(transitions.log_prob, expected)
    np.testing.assert_array_equal(zero.next_observation[-1], one.observation[0])


class Scripted(LocalEngine):
    """Answers as a script says: None in its turn, else what comes in place of what was collected, or a delay."""

    def __init__(self, script=(), delayed=()):
        super().__init__(RunnerPlan(ENV, 3))
        self.script, self.delayed, self.started, self.requests = deque(script), set(delayed), [], []

    def start(self, runner, seed):
        self.started.append((runner, seed))
        super().start(runner, seed)

    def request(self, runner, network, request):
        self.requests.append((runner, request.version, request.stream))
        super().request(runner, network, request)

    def answer(self):
        for _ in range(len(self._answers)):
            if self._answers[0].runner not in self.delayed:
                break
            self._answers.rotate(-1)
        answer = super().answer()
        loss = self.script.popleft() if self.script else None
        return answer if loss is None else Answer(answer.runner, loss if isinstance(loss, Failure) else None, str(loss))


def test_the_fragment_of_a_runner_that_was_lost_is_dropped_whole_and_another_takes_its_place():
    engine = Scripted([None, "was lost"])
    scaled = collector(engine)
    transitions = scaled.collect(NumpyActor(network(), SEED), STEPS)
    assert engine.started == [(0, 7), (1, 10), (1, 16)], "seeds beyond those of all six environments"
    assert engine.requests == [(0, 0, 0), (1, 0, 1), (1, 0, 3)], "another stream: other actions than those dropped"
    fresh = Runner(RunnerPlan(ENV, 3), 16)
    expected = fresh.collect(network(), Request(0, SEED, 3, STEPS, False)).transitions
    same([part[:, 3:] for part in tf.nest.flatten(transitions)], tf.nest.flatten(expected))
    metrics = scaled.pop_episodes()
    assert (metrics["scale/restarts"], metrics["scale/fragments_dropped"]) == (1, 1)


def test_a_runner_lost_too_often_ends_the_run():
    with pytest.raises(RunnerFault, match=r"Expected runner 0 to be lost at most 2 times.*Received: 3.*was lost: -9"):
        collector(Scripted(["was lost: -9"] * 3, delayed={1}), max_restarts=2).collect(NumpyActor(network(), SEED), 2)


def test_what_is_older_than_max_lag_is_dropped_and_counted():
    engine = Scripted(delayed={1})
    scaled = collector(engine, mode="async", max_lag=2)
    lags = []
    for turn in range(8):
        if turn == 5:
            engine.delayed = {0}  # From now on runner 1 answers, at first with what it collected long ago.
        transitions = scaled.collect(NumpyActor(network(), SEED + turn), STEPS)
        assert transitions.reward.shape == (STEPS, 6)
        metrics = scaled.pop_episodes()
        lags.append((metrics["scale/lag_min"], metrics["scale/lag_max"], metrics["scale/fragments_dropped"]))
    assert max(lag for _, lag, _ in lags) <= 2
    assert [dropped for *_, dropped in lags] == [0] * 5 + [1, 1, 1]
    assert metrics["scale/restarts"] == 0
    assert len({(stream, version) for _, version, stream in engine.requests}) == len(engine.requests)


def test_an_environment_that_fails_ends_the_run_with_its_traceback():
    scaled = collector(Scripted([Failure("ImportError", "Traceback: no module")]))
    with pytest.raises(EnvironmentFault, match=r"(?s)Expected runner 0 to work.*ImportError.*Traceback: no module"):
        scaled.collect(NumpyActor(network(), SEED), 2)


def test_an_environment_that_cannot_be_made_is_a_failure_with_its_traceback():
    plan = RunnerPlan({"id": "CartPole-v1", "kwargs": {"nonsense": 1}}, 2)
    failure = Runner(plan, 0).collect(network(), Request(0, SEED, 0, 2, False))
    assert failure.kind == "TypeError"
    assert "Traceback" in failure.text
    assert "nonsense" in failure.text


def test_where_nothing_lags_async_learns_what_sync_does():
    """V-trace of a policy's own steps is generalized advantage estimation."""
    config = configure({"mode": "async", "runners": 2})
    learner = agent.Learner(config, make_environments(config), 3)
    state = learner.start(0)
    transitions = collector(each=2).collect(NumpyActor(network(), SEED), 60)
    assert transitions.terminated.any()
    transitions = tf.nest.map_structure(tf.constant, transitions)
    plain, _ = learner._columns(state, transitions)
    own = plain["log_prob"]
    lagging, _ = learner._columns(state, LaggingTransition(*transitions, own))
    np.testing.assert_allclose(lagging["advantage"], plain["advantage"], atol=1e-5)
    np.testing.assert_allclose(lagging["target"], plain["target"], atol=1e-5)
    rarer, _ = learner._columns(state, LaggingTransition(*transitions, own + 0.7))
    assert np.abs(rarer["advantage"] - plain["advantage"]).max() > 0.1


def test_async_trains():
    run = Silent()
    agent.train(configure({"mode": "async", "runners": 2}, turns=4), run)
    assert [record["scale/lag_max"] for record in run.records] == [0, 1, 1, 1]
    assert all(0 <= record["scale/waiting"] <= 1 and record["scale/bytes_per_second"] > 0 for record in run.records)
    assert np.isfinite([value for record in run.records for value in record.values()]).all()


def test_a_runner_needs_no_tensorflow():
    code = """
import sys
import numpy as np
from rlsample.rollouts.numpy_network import NumpyNetwork
from rlsample.scale.runner import Request, Runner, RunnerPlan
weights = [np.zeros(shape, np.float32) for shape in ((16, 8), (8,), (8, 4), (4,))]
parts = [{"sizes": [16], "starts": [0]}]
network = NumpyNetwork(parts=parts, weights=weights, activations=["relu"], event_shape=(4,))
runner = Runner(RunnerPlan({"id": "FrozenLake-v1", "vectorization_mode": "sync"}, 2), seed=0)
fragment = runner.collect(network, Request(3, np.array([1, 2], np.int32), 0, 50, True))
assert fragment.version == 3 and fragment.returns and fragment.transitions.reward.shape == (50, 2), fragment
np.testing.assert_allclose(fragment.transitions.log_prob, np.log(0.25), rtol=1e-6)
assert not {"tensorflow", "keras", "ray"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        ({"runners": 0}, "scale.runners"),
        ({"runners": 3}, r"Expected scale.runners to share env.num_envs evenly. Received: num_envs=4, runners=3"),
        ({"mode": "later"}, "scale.mode"),
        ({"max_lag": 0}, "scale.max_lag"),
        ({"address": "auto"}, "Expected engine: ray where there is an address"),
        ({"engine": "ray", "address": "nonsense"}, "Expected HOST:PORT, or auto. Received: address='nonsense'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(scale, message):
    with pytest.raises(runs.ConfigError, match=message):
        configure(scale)


def test_an_agent_that_learns_from_no_runners_and_a_population_are_refused():
    words = {"agent": "dqn", "env": ENV, "total_steps": 10, "scale": {"runners": 2}}
    with pytest.raises(runs.ConfigError, match=r"Expected an agent that scales. Received: agent='dqn'"):
        runs.config_from_dict(words, agents=Agents(__import__("agents")))
    with pytest.raises(runs.ConfigError, match=r"Expected one agent alone, to be scaled. Received: population=2"):
        configure({"runners": 2}, agent={"population": 2})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"env": "rlsample/CartPole-v1"},
            "Expected an environment that Python steps, for runners",
        ),
        ({"network": {"name": "recurrent", "units": 4}}, "Expected a policy that acts in NumPy, for runners"),
        ({"network": {"name": "mlp", "activation": "gelu"}}, "Expected a policy that acts in NumPy, for runners"),
    ],
)
def test_what_runners_cannot_step_is_refused(changes, message):
    config = configure({"runners": 2}, **changes)
    if "env" in changes:
        config = config.model_copy(update={"env": runs.EnvConfig(id=changes["env"], num_envs=4)})
    with pytest.raises(runs.ConfigError, match=message):
        make_policy(agent, config)


def test_an_address_that_nobody_answers_at_and_ray_that_is_not_there_are_told(monkeypatch):
    with pytest.raises(runs.ConfigError, match=r"Expected a Ray cluster to answer within 2 s.*127.0.0.1:9"):
        check_scale(ScaleConfig(engine="ray", address="127.0.0.1:9", connect_seconds=2.0))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(runs.ConfigError, match=r"Expected Ray to be installed.*rlsample\[scale\]"):
        check_scale(ScaleConfig(engine="ray"))
    check_scale(ScaleConfig())


def test_what_lags_says_the_same_and_one_thing_more():
    assert LaggingTransition._fields == (*Transition._fields, "log_prob")
