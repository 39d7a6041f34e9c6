"""Runners in this process: what they collect, what becomes of what is late or lost, and what is refused."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections import deque

import gymnasium as gym
import keras
import numpy as np
import pytest
import tensorflow as tf

import agents
import envs  # noqa: F401 (registers its environments)
from agents import ppo as agent
from agents import recurrent_ppo
from rlsample import networks, runs, samplers, spaces
from rlsample.learning.n_step import NStep
from rlsample.learning.replay import Replay
from rlsample.rollouts.environments.faults import EnvironmentFault
from rlsample.rollouts.gymnasium_collector import GymnasiumCollector
from rlsample.rollouts.in_numpy.actor import NumpyActor
from rlsample.rollouts.in_numpy.network import dense_network
from rlsample.rollouts.in_numpy.policy import network_of
from rlsample.rollouts.off_policy.distant_loop import DistantLoop
from rlsample.rollouts.recurrent.memory import after, over_rollout
from rlsample.rollouts.recurrent.policy import policy_for
from rlsample.rollouts.transition import DistantTransition, Transition
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
    return dense_network(weights, ["tanh"], event_shape=(2,))


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
        assert isinstance(transitions, DistantTransition)
        rows = [np.reshape(part, (-1, *part.shape[2:])) for part in tf.nest.flatten(transitions[:3])]
        expected = acted.log_prob(rows[0], rows[1], rows[2]).reshape(STEPS, -1)
        np.testing.assert_array_equal(transitions.log_prob, expected)
    np.testing.assert_array_equal(zero.next_observation[-1], one.observation[0])


class Scripted(LocalEngine):
    """Answers as a script says: None in its turn, else what comes in place of what was collected, or a delay."""

    def __init__(self, script=(), delayed=(), env=ENV, each=3):
        super().__init__(RunnerPlan(env, each))
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
    expected = fresh.collect((network(),), Request(0, SEED, 3, STEPS, False)).transitions
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


def test_shorter_fragments_are_mostly_of_the_newest_policy():
    engine = Scripted()
    scaled = collector(engine, mode="async", fragment_steps=STEPS // 4)
    means = []
    for turn in range(3):
        transitions = scaled.collect(NumpyActor(network(), SEED + turn), STEPS)
        assert transitions.reward.shape == (STEPS // 4, 4 * 6)
        metrics = scaled.pop_episodes()
        means.append((metrics["scale/lag_mean"], metrics["scale/lag_max"]))
    assert means == [(0, 0), (0.25, 1), (0.25, 1)]
    assert len({(stream, version) for _, version, stream in engine.requests}) == len(engine.requests)


def test_an_environment_that_fails_ends_the_run_with_its_traceback():
    scaled = collector(Scripted([Failure("ImportError", "Traceback: no module")]))
    with pytest.raises(EnvironmentFault, match=r"(?s)Expected runner 0 to work.*ImportError.*Traceback: no module"):
        scaled.collect(NumpyActor(network(), SEED), 2)


def test_an_environment_that_cannot_be_made_is_a_failure_with_its_traceback():
    plan = RunnerPlan({"id": "CartPole-v1", "kwargs": {"nonsense": 1}}, 2)
    failure = Runner(plan, 0).collect((network(),), Request(0, SEED, 0, 2, False))
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
    lagging, _ = learner._columns(state, DistantTransition(*transitions, own))
    np.testing.assert_allclose(lagging["advantage"], plain["advantage"], atol=1e-5)
    np.testing.assert_allclose(lagging["target"], plain["target"], atol=1e-5)
    rarer, _ = learner._columns(state, DistantTransition(*transitions, own + 0.7))
    assert np.abs(rarer["advantage"] - plain["advantage"]).max() > 0.1


def test_async_trains():
    run = Silent()
    agent.train(configure({"mode": "async", "runners": 2}, turns=4), run)
    assert [record["scale/lag_max"] for record in run.records] == [0, 1, 1, 1]
    assert all(0 <= record["scale/waiting"] <= 1 and record["scale/bytes_per_second"] > 0 for record in run.records)
    assert np.isfinite([value for record in run.records for value in record.values()]).all()


def test_async_trains_from_shorter_fragments():
    run = Silent()
    agent.train(configure({"mode": "async", "runners": 2, "fragment_steps": 4}, turns=3), run)
    assert [record["scale/lag_max"] for record in run.records] == [0, 1, 1]
    assert [record["scale/lag_min"] for record in run.records] == [0, 0, 0]
    assert np.isfinite([value for record in run.records for value in record.values()]).all()


def test_a_runner_needs_no_tensorflow():
    code = """
import sys
import numpy as np
from rlsample.rollouts.in_numpy.network import dense_network
from rlsample.scale.runner import Request, Runner, RunnerPlan
weights = [np.zeros(shape, np.float32) for shape in ((16, 8), (8,), (8, 4), (4,))]
parts = [{"sizes": [16], "starts": [0]}]
network = dense_network(weights, ["relu"], event_shape=(4,), parts=parts)
runner = Runner(RunnerPlan({"id": "FrozenLake-v1", "vectorization_mode": "sync"}, 2), seed=0)
fragment = runner.collect((network,), Request(3, np.array([1, 2], np.int32), 0, 50, True))
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
        ({"fragment_steps": 0}, "scale.fragment_steps"),
        ({"fragment_steps": 4}, "Expected mode: async where fragments have a length of their own. Received: mode='s"),
        ({"fragment_steps": 5, "mode": "async"}, "Expected scale.fragment_steps to divide agent.num_steps. Received"),
        ({"address": "auto"}, "Expected engine: ray where there is an address"),
        ({"engine": "ray", "address": "nonsense"}, "Expected HOST:PORT, or auto. Received: address='nonsense'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(scale, message):
    with pytest.raises(runs.ConfigError, match=message):
        configure(scale)


def test_an_agent_that_learns_from_no_runners_and_a_population_are_refused():
    words = {"agent": "world_model_actor_critic", "env": ENV, "total_steps": 10, "scale": {"runners": 2}}
    with pytest.raises(runs.ConfigError, match=r"Expected an agent that scales. Received: agent='world_model_actor_c"):
        runs.config_from_dict(words, agents=Agents(agents))
    with pytest.raises(runs.ConfigError, match=r"Expected an agent whose minibatches several devices share.*'dqn'"):
        runs.config_from_dict(words | {"agent": "dqn", "scale": {"devices": 2}}, agents=Agents(agents))
    lengths = {"mode": "async", "fragment_steps": 8}
    with pytest.raises(runs.ConfigError, match=r"Expected an agent that learns from rollouts, for fragments.*'dqn'"):
        runs.config_from_dict(words | {"agent": "dqn", "scale": lengths}, agents=Agents(agents))
    with pytest.raises(runs.ConfigError, match=r"Expected one agent alone, to be scaled. Received: population=2"):
        configure({"runners": 2}, agent={"population": 2})


def test_environments_of_each_runner():
    """RLlib's meaning: all together are so many times the runners."""
    words = {"agent": {"name": "ppo"}, "sampler": "categorical", "total_steps": 100}
    known, scale = {"ppo": agent.Config}, {"runners": 3, "envs_per_runner": 4}
    for env in ({"id": "CartPole-v1"}, {"id": "CartPole-v1", "num_envs": None}, {"id": "CartPole-v1", "num_envs": 12}):
        config = runs.config_from_dict(words | {"env": env, "scale": scale}, agents=known)
        assert config.env.num_envs == 12
        assert make_environments(config).collector(spaces.factorise(gym.spaces.Discrete(2)), 0).envs.num_envs == 12
    alone = runs.config_from_dict(words | {"env": {"id": "CartPole-v1"}, "scale": {"envs_per_runner": 5}}, agents=known)
    assert (alone.env.num_envs, alone.scale.spread) == (5, False)
    message = r"Expected env.num_envs to be scale.runners \* scale.envs_per_runner.*num_envs=8, runners=3, envs_.*=4"
    with pytest.raises(runs.ConfigError, match=message):
        runs.config_from_dict(words | {"env": {"id": "CartPole-v1", "num_envs": 8}, "scale": scale}, agents=known)


def keras_model():
    layers = [keras.Input((4,)), keras.layers.UnitNormalization(), keras.layers.Dense(8)]
    return networks.create(keras.Sequential(layers)).to_config()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"env": "rlsample/CartPole-v1"},
            "Expected an environment that Python steps, for runners",
        ),
        ({"network": keras_model}, r"Expected a policy that acts in NumPy, for runners.*layer='UnitNormalization'"),
        (
            {"sampler": "decoupled_straight_through"},
            r"Expected a policy that acts in NumPy.*softmax\(logits\), for NumPy",
        ),
    ],
)
def test_what_runners_cannot_step_is_refused(changes, message):
    config = configure(
        {"runners": 2}, **{name: value() if callable(value) else value for name, value in changes.items()}
    )
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


def test_what_comes_from_afar_says_the_same_and_more():
    assert DistantTransition._fields == (*Transition._fields, "log_prob", "memory")


RECURRENT = {"name": "recurrent", "units": 4, "encoder": {"name": "mlp", "hidden_sizes": [8]}}


def remembering(turns, monkeypatch=None, **scale):
    config = configure(scale, network=RECURRENT, turns=turns, agent={"num_minibatches": 2})
    if monkeypatch is not None:
        monkeypatch.setattr(ScaleConfig, "spread", property(lambda self: True))
    run = Silent()
    agent.train(config, run)
    return run.records


def test_a_memory_by_one_runner_learns_what_it_does_without(monkeypatch):
    """To rounding: there the learner says what is remembered at the start of a rollout, here the runner does."""
    plain = remembering(turns=2)
    scaled = remembering(turns=2, monkeypatch=monkeypatch)
    assert [record["step"] for record in scaled] == [64, 128]
    for record, other in zip(plain, scaled, strict=True):
        for name in record.keys() - {"sampler/relaxed_entropy", "step"}:
            if not name.startswith("sampler/"):  # Measured at another step.
                np.testing.assert_allclose(other[name], record[name], rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(("cell", "size"), [("gru", 4), ("lstm", 8)])
def test_a_fragment_says_what_was_remembered_before_it_and_how_probable_its_actions_were(cell, size):
    config = configure({"mode": "async", "runners": 2}, network=RECURRENT | {"cell": cell})
    learner = recurrent_ppo.Learner(config, make_environments(config), 3)
    state = learner.start(0)
    learner.publish(state)
    act = NumpyActor(network_of(learner.policy), SEED, beside=learner.beside(state))
    scaled = collector(each=2, mode="async")
    zero, one = (scaled.collect(act, 30) for _ in range(2))
    assert all(not part.any() for part in zero.memory), "episodes begin"
    assert [part.shape for part in one.memory] == [(1, 4, size)] * 2
    assert zero.terminated.any()
    for transitions in (zero, one):
        tensors = tf.nest.map_structure(tf.constant, transitions)
        rollout, columns, kept = learner._rollout(state, tensors)
        assert kept is state.memory, "runners remember"
        where = transitions.valid
        np.testing.assert_allclose(rollout.log_prob.numpy()[where], transitions.log_prob[where], atol=1e-5)
        same(columns["memory"], [part[0] for part in transitions.memory])
        if transitions is zero:
            goes_on = ~zero.terminated[-1] & ~zero.truncated[-1] & zero.valid[-1]
            models = learner.network.at(state.policy), learner.critic.at(state.critic)
            for model, before, theirs in zip(models, columns["memory"], one.memory, strict=True):
                _, states = over_rollout(model, tensors.observation, before, columns["starts"])
                mine = after(tensors, states)
                np.testing.assert_allclose(mine.numpy()[goes_on], theirs[0][goes_on], atol=1e-5)


def test_a_runner_in_the_place_of_one_that_was_lost_remembers_nothing():
    policy = policy_for(gym.spaces.Box(-9, 9, (4,)), gym.spaces.Discrete(2), samplers.create("exact"), RECURRENT)
    engine = Scripted([None, None, None, "was lost"])
    scaled, act = collector(engine), NumpyActor(network_of(policy), SEED)
    scaled.collect(act, STEPS)
    (memory,) = scaled.collect(act, STEPS).memory
    assert memory[:, :3].any()
    assert not memory[:, 3:].any()


@pytest.mark.slow
@pytest.mark.parametrize("fragment_steps", [None, 4])
def test_async_trains_with_a_memory(fragment_steps):
    records = remembering(turns=3, mode="async", runners=2, fragment_steps=fragment_steps)
    assert [record["scale/lag_max"] for record in records] == [0, 1, 1]
    assert np.isfinite([value for record in records for value in record.values()]).all()


OFF_POLICY = {
    "dqn": {"num_steps": 3, "dueling": True, "prioritized": True},
    "relaxed_actor_critic": {},
}


@pytest.mark.parametrize("mode", ["sync", pytest.param("async", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", sorted(OFF_POLICY))
def test_agents_with_a_replay_train_by_runners(name, mode):
    words = {"warmup_steps": 64, "steps_per_round": 32, "batch_size": 8, "jit_compile": False}
    config = runs.config_from_dict(
        {
            "agent": {"name": name, **words, **OFF_POLICY[name]},
            "env": {**ENV, "num_envs": 4},
            "network": {"name": "mlp", "hidden_sizes": [8]},
            "sampler": "reinmax",
            "total_steps": 640,
            "scale": {"mode": mode, "runners": 2},
        },
        agents=Agents(agents),
    )
    run = Silent()
    policy = importlib.import_module(f"agents.{name}").train(config, run)
    assert policy.act(np.zeros((3, 4))).shape == (3,)
    assert [record["step"] for record in run.records] == list(range(64, 641, 32))
    assert [record["scale/lag_max"] for record in run.records[1:]] == [int(mode == "async")] * 18
    assert "losses/value" in run.records[-1] or "losses/critic" in run.records[-1]
    assert sum(record.get("charts/episodes", 0) for record in run.records) > 5


def test_rows_of_several_steps_reach_over_none_that_were_lost():
    """Observations count the steps of an environment: a row of three steps ends three after it begins, or at an end."""
    script = [None] * 4 + ["was lost"] + [None] * 3
    env = {"id": "Counting-v0", "vectorization_mode": "sync"}
    engine = Scripted(script, env=env, each=2)
    replay, kept = Replay(1000), ["observation", "next_observation", "reward"]
    weights = [np.zeros(shape, np.float32) for shape in ((1, 2), (2,))]
    loop = DistantLoop.__new__(DistantLoop)
    loop.step, loop._kept, loop._replay, loop._num_steps = 0, kept, replay, 4
    loop._rows, loop._make_rows = {}, lambda: NStep(3, 1.0)
    loop._collector = loop._distant = collector(engine, each=2)
    loop._act = NumpyActor(dense_network(weights, [], (2,)), SEED, epsilon=1.0)
    taken = sum(loop._take() for _ in range(4))
    assert taken == 4 * 4 * 4
    rows, _ = replay.snapshot()
    reach = rows["next_observation"][:, 0] - rows["observation"][:, 0]
    np.testing.assert_array_equal(reach, rows["reward"])
    assert set(reach) == {3}
    # Two rows are under way in each environment at the end, and were in those that were lost.
    assert len(reach) == taken - 4 * 2 - 2 * 2


class Counting(gym.Env):
    """Says how many steps were taken in it; different numbers in each."""

    observation_space, action_space = gym.spaces.Box(0, 1e9, (1,)), gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 1000 * (seed or 0)
        return np.array([self.count], np.float32), {}

    def step(self, action):
        self.count += 1
        return np.array([self.count], np.float32), 1.0, False, False, {}


gym.register("Counting-v0", Counting)
