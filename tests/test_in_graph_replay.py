"""Learning from a replay in one compiled program: the rows it keeps, the updates it makes, and where it goes on."""

from __future__ import annotations

import functools

import gymnasium as gym
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from rlsample import runs
from rlsample.learning import population
from rlsample.learning.bits import pack_bits, unpack_bits
from rlsample.learning.n_step import END, NStep, join_steps
from rlsample.learning.ring import add_rows, draw_rows, start_ring
from rlsample.rollouts.in_graph_collector import InGraphCollector, in_graph_env
from rlsample.rollouts.off_policy import from_replay
from rlsample.rollouts.off_policy.exploring import explore
from rlsample.rollouts.off_policy.in_graph import WithReplay
from rlsample.rollouts.off_policy.updates import Updates
from rlsample.rollouts.transitions import Transition
from rlsample.spaces import factorise
from tests.helpers_agents import AGENTS, small_config
from tests.helpers_runs import Silent


def learner_of(name, env="rlsample/Identity-v0", num_envs=4, **settings):
    config = small_config(name, env={"id": env, "num_envs": num_envs}, **settings)
    made = config.env.make(num_envs=num_envs * config.agent.population)
    learner = AGENTS.module(name).Learner(config, made.single_observation_space, made.single_action_space)
    return learner, made


def steps_of(num_steps, num_envs, seed=0):
    """Steps `[T, B]` of environments that end at random; every column says where and when it is from."""
    generator = np.random.default_rng(seed)
    place = (100 * np.arange(num_steps)[:, None] + np.arange(num_envs)).astype(np.float32)
    ends = generator.random((2, num_steps, num_envs)) < 0.15
    columns = {name: place + index for index, name in enumerate(("observation", "mask", "action", *END[:2]))}
    reward = generator.normal(size=place.shape).astype(np.float32)
    return columns | {"reward": reward, "terminated": ends[0], "truncated": ends[1]}


@pytest.mark.parametrize("num_steps", [1, 2, 4])
def test_rows_of_several_steps_are_those_that_python_makes(num_steps):
    steps, by_python = steps_of(30, 3), NStep(num_steps, 0.9)
    tensors = {name: tf.constant(column) for name, column in steps.items()}
    joined = {name: column.numpy() for name, column in join_steps(tensors, num_steps, 0.9).items()}
    every = np.ones(3, bool)
    made = [by_python.add({name: column[t] for name, column in steps.items()} | {"valid": every}) for t in range(30)]
    rows = {name: np.concatenate([each[name] for each in made]) for name in made[0]}
    counted = 0
    for t, env in np.ndindex(joined["reward"].shape):
        (index,) = np.flatnonzero(rows["observation"] == joined["observation"][t, env])
        for name, column in joined.items():
            assert rows[name][index] == column[t, env], name
        counted += 1
    assert counted == 3 * (30 - num_steps + 1)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 30])
def test_bits_are_those_of_numpy(width):
    flags = np.random.default_rng(width).random((4, 3, width)) < 0.5
    packed = tf.function(pack_bits, jit_compile=True)(tf.constant(flags))
    np.testing.assert_array_equal(packed, np.packbits(flags, -1))
    np.testing.assert_array_equal(unpack_bits(packed, width), flags)


def test_rows_that_are_skipped_are_never_drawn():
    ring = start_ring(4, tf.TensorSpec([], tf.int32), skip=2)
    for rows, size, there in (([90, 91], 0, None), ([1], 1, {1}), ([2, 3, 4], 4, {1, 2, 3, 4}), ([5], 4, {2, 3, 4, 5})):
        ring = add_rows(ring, tf.constant(rows))
        assert int(ring.size) == size
        assert there is None or set(draw_rows(ring, 200, (1, 2)).numpy()) == there
    with pytest.raises(ValueError, match=r"Expected skip from 0 to capacity=4. Received: skip=5"):
        start_ring(4, tf.TensorSpec([]), skip=5)


@pytest.mark.parametrize("total_steps", [160, 1000, 1_999_999_999])
@pytest.mark.parametrize("per_step", [1.0, 1 / 3, 0.01, 2.5])
def test_the_same_updates_are_due_in_the_graph(total_steps, per_step):
    updates = Updates(warmup_steps=16, total_steps=total_steps, per_step=per_step, steps_per_round=8)
    due = tf.function(updates.due_in_graph, jit_compile=True)
    for step in (0, 8, 16, 24, 56, 152, total_steps // 2, total_steps - 1, total_steps, total_steps + 8):
        if updates.total < 2**31:
            assert int(due(tf.constant(step))) == max(0, updates.due(step)), step


class TestExploration:
    SPACE = gym.spaces.MultiDiscrete([2, 3])

    def drawn(self, probability, mask=None):
        factors = factorise(self.SPACE)
        act = explore(lambda observation, mask, seed: tf.zeros([6000, 2], tf.int32), factors, tf.constant(probability))
        legal = None if mask is None else tf.broadcast_to(tf.constant(mask), [6000, 2, 3])
        return act(tf.zeros([6000, 1]), legal, tf.constant([1, 2])).numpy()

    def test_never_and_always(self):
        assert not self.drawn(0.0).any()
        counts = np.bincount(self.drawn(1.0) @ [3, 1], minlength=6)
        assert scipy.stats.chisquare(counts).pvalue > 1e-6

    def test_at_times_and_legally(self):
        mask = np.array([[True, True, False], [True, False, True]])
        actions = self.drawn(0.4, mask)
        assert np.take_along_axis(mask[None], actions[..., None], -1).all()
        # Uniform among four joint actions, of which one is what is done otherwise: 5 standard deviations.
        share, spread = actions.any(-1).mean(), np.sqrt(0.3 * 0.7 / 6000)
        assert abs(share - 0.3) < 5 * spread


def rollouts_of(learner, made, num_steps, count):
    """Rollouts of the learner's untrained policy, one after another."""
    collector = InGraphCollector(in_graph_env(made), made.num_envs, made.unwrapped.max_episode_steps)
    act, running, found = population.actor(learner, learner.start(0)), collector.start(tf.constant([1, 2])), []
    for index in range(count):
        seed = tf.constant([3, index])
        rollout, running, _ = collector.collect(act, running, num_steps, seed, next_masks=True)
        found.append(rollout)
    return found


def rows_kept(with_replay, state):
    """The rows of a replay, oldest first, unpacked."""
    ring = state.ring
    count = min(int(ring.size), with_replay.capacity)
    places = (int(ring.position) - count + np.arange(count)) % with_replay.capacity
    zeros = {name: tf.zeros([1, *spec.shape], spec.dtype) for name, spec in with_replay.learner.kept.items()}
    _, unpack = with_replay._pack({name: zeros[name] for name in with_replay._kept})
    return unpack([tf.gather(matrix, places) for matrix in ring.rows])


@pytest.mark.parametrize(
    ("name", "env", "masked"),
    [("dqn", "rlsample/GridWorld-v0", True), ("relaxed_actor_critic", "rlsample/RaggedDict-v0", False)],
)
def test_the_replay_holds_the_latest_rows_in_turn(name, env, masked):
    learner, made = learner_of(name, env, **({"agent": {"num_steps": 3}} if name == "dqn" else {}))
    with_replay = WithReplay(learner, 40, 4, masked)
    state, by_python, rows = with_replay.start(0), NStep(learner.num_steps, learner.agent.discount), []
    assert isinstance(state.ring.rows, list)
    for rollout in rollouts_of(learner, made, 5, 4):
        flags, updates = tf.ones([4], tf.bool), tf.constant(0)
        state, metrics, finite = with_replay.learn(state, rollout, tf.constant([0, 1]), flags, updates)
        assert all(float(value) == 0 for value in metrics.values())
        assert bool(tf.reduce_all(finite))
        joined = rollout._asdict()
        for t in range(5):
            step = {key: None if column is None else column[t].numpy() for key, column in joined.items()}
            blank = {key: np.zeros(4, bool) for key in ("mask", "next_mask") if step[key] is None}
            rows.append(by_python.add(step | blank | {"valid": np.ones(4, bool)}))
    kept = rows_kept(with_replay, state)
    every = {key: np.concatenate([each[key] for each in rows]) for key in rows[0]}
    found = {key: tf.reshape(column, [column.shape[0], -1]).numpy() for key, column in kept.items()}
    assert len(found["reward"]) == 40
    for key in (key for key in ("next_mask", "mask") if key in kept):
        every[key] = np.packbits(every[key], -1)

    def table(columns, count=None):
        parts = [np.asarray(columns[key]).reshape(len(columns["reward"]), -1) for key in sorted(kept)]
        return [tuple(row) for row in np.concatenate(parts, -1).astype(np.float64)]

    # Every row is one that Python makes of the same steps, and they are the latest: none is older than 10 steps a lane.
    wanted = table(every)
    assert set(table(found)) <= set(wanted)
    assert set(table(found)) <= set(wanted[-(40 + 4 * learner.num_steps) :])
    assert ("next_mask" in kept) == masked


@pytest.mark.parametrize("name", ["dqn", "relaxed_actor_critic"])
def test_a_program_that_is_traced_once_makes_the_updates_that_are_due(name):
    hyper = (
        {"jit_compile": name == "dqn", "audit_draws": 0} if name != "dqn" else {"prioritized": False, "num_steps": 3}
    )
    learner, made = learner_of(name, agent=hyper, total_steps=320)
    loop = from_replay.InGraphReplayLoop(made, learner)
    assert loop.steps_per_turn == 16
    before = [np.array(leaf) for leaf in tf.nest.flatten(loop.state.learned)]
    warming = loop.advance(1)
    assert not set(learner.metrics) & set(warming)  # the first round ends with the warm-up: nothing is due yet
    for old, new in zip(before, tf.nest.flatten(loop.state.learned), strict=True):
        np.testing.assert_array_equal(old, new)
    metrics = [loop.advance(count) for count in (1, 3, 15)]
    assert set(learner.metrics) <= set(metrics[-1])
    assert loop.traces == 1
    adam = loop.state.learned.adam if name == "dqn" else loop.state.learned.policy_adam
    assert int(adam.count) == learner.updates.total == learner.updates.due(320)


def test_how_turns_are_grouped_into_calls_changes_nothing():
    states = []
    for calls in ((2, 6), (1, 1, 5, 1)):
        learner, made = learner_of("dqn", agent={"prioritized": False}, total_steps=320)
        loop = from_replay.InGraphReplayLoop(made, learner)
        for count in calls:
            loop.advance(count)
        states.append(tf.nest.flatten(loop.state))
    for one, other in zip(*states, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_members_of_a_population_learn_what_each_would_alone():
    learner, _ = learner_of("dqn", "rlsample/GridWorld-v0", agent={"prioritized": False, "num_steps": 2})
    with_replay = WithReplay(learner, 64, 4, masked=True)
    members = population.Population(with_replay, 2)
    _, made = learner_of("dqn", "rlsample/GridWorld-v0", num_envs=8)
    (rollout,) = rollouts_of(learner, made, 8, 1)
    states, seed, flags = members.start(0), tf.constant([5, 6]), tf.ones([8], tf.bool)
    learn = tf.function(members.learn, jit_compile=True, autograph=False)
    together, metrics, _ = learn(states, rollout, seed, flags, tf.constant(3))
    for member in range(2):
        own = slice(4 * member, 4 * member + 4)
        rows = Transition(*(None if column is None else column[:, own] for column in rollout))
        alone, its_metrics, _ = with_replay.learn(
            population.member_of(states, member), rows, seed, flags[own], tf.constant(3)
        )
        for one, other in zip(
            tf.nest.flatten(population.member_of(together, member)), tf.nest.flatten(alone), strict=True
        ):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
        for key, value in its_metrics.items():
            np.testing.assert_allclose(metrics[key][member], value, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dqn", "relaxed_actor_critic"])
def test_a_population_trains(name):
    hyper = {"population": 2} | ({"prioritized": False} if name == "dqn" else {})
    run = Silent()
    policy = AGENTS.module(name).train(small_config(name, agent=hyper), run)
    assert run.records[-1]["step"] == 160
    assert policy.model.built


def test_what_does_not_fit_is_refused():
    train = functools.partial(AGENTS.module("dqn").train, run=Silent())
    for settings in ({"env": "CartPole-v1", "agent": {"population": 2}}, {"agent": {"population": 2}}):
        with pytest.raises(ValueError, match=r"an in-graph environment for a population.*without priorities"):
            train(small_config("dqn", **settings))
    hyper = {"prioritized": False, "num_steps": 5}
    for env in ({}, {"env": "CartPole-v1"}):
        with pytest.raises(
            ValueError, match=r"num_steps of at most the \d+ steps of an environment before .* Receiv.*warmup"
        ):
            train(small_config("dqn", agent=hyper | ({"num_steps": 50} if env else {}), **env))


@pytest.mark.parametrize("hyper", [{"replay_capacity": 10**11}, {"replay_capacity": 10**7, "population": 10**4}])
def test_a_replay_in_tensors_is_as_large_as_it_says_for_each_member(hyper):
    config = small_config("dqn", agent={"prioritized": False} | hyper)
    made = config.env.make(1)
    with pytest.raises(ValueError, match=r"a replay of at most .* of memory there are. Received: capacity=1000"):
        AGENTS.module("dqn").make_policy(config, made.single_observation_space, made.single_action_space)


def test_priorities_are_drawn_from_on_the_host(monkeypatch):
    monkeypatch.setattr(from_replay, "InGraphReplayLoop", None)
    run = Silent()
    AGENTS.module("dqn").train(small_config("dqn", agent={"prioritized": True}), run)
    assert run.records[-1]["update"] == 144


@pytest.mark.slow
@pytest.mark.parametrize(("name", "config"), [("relaxed_actor_critic", "cartpole"), ("dqn", "dqn_cartpole")])
def test_cartpole_is_solved_in_the_program(name, config):
    from rlsample import runs

    words = ["tracking.wandb=disabled", "env.id=rlsample/CartPole-v1"]
    loaded = runs.load_config(f"agents/configs/{config}.yaml", words, agents=AGENTS)
    policy = AGENTS.module(name).train(loaded, Silent())
    assert runs.evaluate(policy, loaded, episodes=20).mean_return >= 475


@pytest.mark.slow
def test_without_xla_a_large_replay_is_learned_from_too():
    """TensorFlow's graph optimizer saves memory there, by temporary variables that the next call must not find."""
    words = ["network=mlp", "agent.jit_compile=false", "agent.replay_capacity=1000000", "env.num_envs=4"]
    config = runs.load_config(
        "agents/configs/relaxed_actor_critic_t_maze.yaml", [*words, "total_steps=1500"], agents=AGENTS
    )
    run = Silent()
    AGENTS.module("relaxed_actor_critic").train(config, run)
    assert np.isfinite(run.records[-1]["losses/critic"])
