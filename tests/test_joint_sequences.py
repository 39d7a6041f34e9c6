"""The multi-agent actor-critic with a memory: what sequences of the replay say, and what is learned from them."""

from __future__ import annotations

import gymnasium as gym
import lbforaging  # noqa: F401 (registers its environments)
import numpy as np
import pytest
import tensorflow as tf

import envs  # noqa: F401 (likewise)
from agents import multi_agent_actor_critic, recurrent_multi_agent_actor_critic
from rlsample import ops, runs
from rlsample.learning.critics import with_factor
from rlsample.rollouts.several_agents.collector import JointCollector
from rlsample.rollouts.several_agents.registration import register
from rlsample.rollouts.several_agents.remembering import RecurrentJointPolicy
from tests.helpers_agents import AGENTS, small_config
from tests.helpers_runs import Silent
from tests.test_joint_memory import CELLS, NETWORK, UNITS
from tests.test_several_agents import Leaving

LENGTH, BURN_IN, DRAWN, COUNT = 6, 2, 4, 2
ROWS = DRAWN * (LENGTH - BURN_IN)
SEED = tf.constant([3, 4])


def learner(env="rlsample/Foraging-v0", sampler="straight_through", cell="gru", num_envs=2, **settings):
    made = {"sequence_length": LENGTH, "burn_in": BURN_IN, "discount": 0.5, "entropy_coefficient": 0.0} | settings
    where, network = {"id": env, "num_envs": num_envs}, NETWORK | {"cell": cell}
    config = small_config("multi_agent_actor_critic", agent=made, env=where, network=network, sampler=sampler)
    vector = gym.make_vec(env, num_envs=1)
    of = recurrent_multi_agent_actor_critic.Learner(config, vector.single_observation_space, vector.single_action_space)
    moved = tf.nest.map_structure(
        lambda part: part + 0.3 * np.random.default_rng(0).normal(size=part.shape), of.state[:4]
    )
    actors, targets, critics, target_critics = tf.nest.map_structure(lambda part: tf.cast(part, tf.float32), moved)
    of.state = of.state._replace(actors=actors, target_actors=0.9 * targets, critics=critics)
    of.state = of.state._replace(target_critics=tf.nest.map_structure(lambda part: 0.9 * part, target_critics))
    return of


def sequences(of, seed=0, **columns):
    """Random steps, as the replay gives them: an episode begins now and then."""
    generator, (count, categories) = np.random.default_rng(seed), of.agents.factors.event_shape
    shape, size = (DRAWN, LENGTH), of.agents.flattening.size
    everything = {
        "observation": generator.random((*shape, size), np.float32),
        "mask": np.ones((*shape, count, categories), bool),
        "action": generator.integers(categories, size=(*shape, count), dtype=np.int32),
        "probs": generator.dirichlet(np.ones(categories), (*shape, count)).astype(np.float32),
        "reward": generator.random((*shape, count), np.float32),
        "next_observation": generator.random((*shape, size), np.float32),
        "next_mask": np.ones((*shape, count, categories), bool),
        "terminated": generator.random((*shape, count)) < 0.2,
        "present": generator.random((*shape, count)) < 0.8,
        "starts": generator.random(shape) < 0.3,
        "memory": generator.normal(size=(DRAWN, of.kept["memory"].shape[0])).astype(np.float32),
    }
    return {name: tf.constant(value) for name, value in (everything | columns).items()}


def rows_of(column):
    """`[B, W, ...]` -> the rows after the burn-in, those of a step one after another: `[N, ...]`."""
    later = np.swapaxes(np.asarray(column)[:, BURN_IN:], 0, 1)
    return later.reshape(ROWS, *later.shape[2:])


def by_hand(of, network, drawn):
    """Outputs of a network for the steps after the burn-in, and for what follows on each: a step at a time."""
    model, state = network._parts[0].model, drawn["memory"][:, network.columns]
    outputs, following = [], []
    for step in range(LENGTH):
        if step == BURN_IN:
            state = tf.stop_gradient(state)
        state = tf.where(drawn["starts"][:, step, None], 0.0, state)
        no = tf.zeros([1, DRAWN], tf.bool)
        output, state = model((drawn["observation"][:, step], state, no))
        if step >= BURN_IN:
            outputs.append(output)
            following.append(model((drawn["next_observation"][:, step], state, no))[0])
    return tf.concat(outputs, 0), tf.concat(following, 0)


def judged(of, own, critics, drawn, joint, ahead=False):
    """The least of an agent's critics' values of joint actions in each row, or of what follows, by hand."""
    values = []
    for network, weights in zip(of.critics[own], critics[own], strict=True):
        network.assign(weights)
        features = by_hand(of, network, drawn)[ahead]
        values.append(network._parts[1].model(features, joint))
    return tf.reduce_min(values, 0)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.thinned(3)
def test_policies_and_gradients_are_those_of_steps_one_by_one(cell, shared):
    of = learner(cell=cell, shared_network=shared)
    drawn = sequences(of)
    row = of.rows(drawn)
    upstream = tf.constant(np.random.default_rng(1).normal(size=(ROWS, COUNT, 6)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(of.state.actors)
        logits = of.network(of.state.actors, row.observation)
        total = tf.reduce_sum(upstream * logits)
    gradient = tape.gradient(total, of.state.actors)
    of.network.assign(of.state.actors)
    variables = of.policy.model.trainable_variables
    with tf.GradientTape() as tape:
        expected, following = by_hand(of, of.network, drawn)
        total = tf.reduce_sum(upstream * expected)
    slopes = tape.gradient(total, variables)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    np.testing.assert_allclose(of.network(of.state.actors, row.next_observation), following, atol=1e-5)
    np.testing.assert_allclose(gradient, np.concatenate([np.ravel(part) for part in slopes]), rtol=1e-3, atol=1e-4)


def test_rows_are_the_steps_after_the_burn_in_with_the_ends_of_each_agent():
    of = learner()
    drawn = sequences(of)
    row = of.rows(drawn)
    for name in ("mask", "action", "probs", "reward", "next_mask", "terminated", "present"):
        np.testing.assert_array_equal(getattr(row, name), rows_of(drawn[name]), err_msg=name)


@pytest.mark.parametrize("num_critics", [1, 2])
def test_the_loss_of_the_critics_is_that_of_loops_over_agents(num_critics):
    of = learner(num_critics=num_critics)
    drawn = sequences(of)
    row = of.rows(drawn)
    _, loss = of._update_critics(of.state, row, SEED)
    of.network.assign(of.state.target_actors)
    ahead = of.policy.head.distribution(by_hand(of, of.network, drawn)[1], row.next_mask)
    drawn_ahead = tf.one_hot(ahead.sample(ops.split(SEED, 4)[0]).action, 6)
    expected = 0.0
    for own in range(COUNT):
        value = judged(of, own, of.state.target_critics, drawn, drawn_ahead, ahead=True)
        target = row.reward[:, own] + 0.5 * np.where(row.terminated[:, own], 0.0, value)
        for which, weights in enumerate(of.state.critics[own]):
            of.critics[own][which].assign(weights)
            features, _ = by_hand(of, of.critics[own][which], drawn)
            found = of.critics[own][which]._parts[1].model(features, tf.one_hot(row.action, 6))
            expected += np.mean(row.present[:, own].numpy() * np.square(found - target))
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


def test_with_exact_the_gradient_of_the_actors_is_that_of_counterfactual_values():
    of = learner(sampler="exact")
    drawn = sequences(of)
    row = of.rows(drawn)
    of.network.assign(of.state.actors)
    with tf.GradientTape() as tape:
        probs = tf.nn.softmax(by_hand(of, of.network, drawn)[0])
        taken, value = tf.one_hot(row.action, 6), 0.0
        for own in range(COUNT):
            there = tf.cast(row.present[:, own], tf.float32)
            for action in range(6):
                joint = with_factor(taken, own, tf.one_hot(tf.fill([ROWS], action), 6))
                q = tf.stop_gradient(judged(of, own, of.state.critics, drawn, joint))
                value -= tf.reduce_mean(there * probs[:, own, action] * q)
    slopes = tape.gradient(value, of.policy.model.trainable_variables)
    _, (loss, _, norm), _ = of._update_actors(of.state, row, SEED)
    np.testing.assert_allclose(loss, value, rtol=1e-4)
    np.testing.assert_allclose(norm, tf.linalg.global_norm(slopes), rtol=1e-3)


@pytest.mark.parametrize("critic", ["linear", "concatenating", "interpolated"])
@pytest.mark.parametrize("others", ["replay", pytest.param("policy", marks=pytest.mark.slow)])
@pytest.mark.thinned(4)
def test_every_critic_moves_everybody_s_memory(critic, others):
    of = learner("rlsample/SpeakerListener-v0", "straight_through_gumbel_softmax", critic=critic, others=others)
    row = of.rows(sequences(of))
    state, loss = of._update_critics(of.state, row, SEED)
    state, values, _ = of._update_actors(state, row, SEED)
    assert np.isfinite([loss, *values]).all()
    weights = of.network.split(state.actors - of.state.actors)[0]
    assert all(np.abs(each).max() > 0 for each in weights)
    for networks, after, before in zip(of.critics, state.critics, of.state.critics, strict=True):
        moved = tf.nest.map_structure(lambda new, old: new - old, after[0], before[0])
        assert all(np.abs(each).max() > 0 for layers in networks[0].split(moved) for each in layers)


@pytest.mark.parametrize("env", ["test/Leaving-v0", "rlsample/SpeakerListener-v0"])
def test_the_replay_keeps_what_was_remembered_before_each_step(env):
    register("test/Leaving-v0", Leaving)
    of = learner(env, critic="interpolated", num_envs=3)
    of.update = 1  # from when on probabilities are those of the policy
    collector = JointCollector(gym.make_vec(env, num_envs=3), of.agents, seed=1)
    maker, replay = of.row_maker(collector), of.replay()
    act = of.actor(np.array([1, 2], np.int32), step=10**6)
    for _ in range(12):
        rows = maker.add(collector.step(act(collector.observation, collector.mask))._asdict())
        replay.add({name: rows[name] for name in of.kept})
    drawn = replay.sample(np.random.default_rng(0), (DRAWN,))
    assert drawn["starts"].any()
    steps = {name: tf.constant(drawn[name]) for name in ("observation", "next_observation", "starts", "memory")}
    of.network.assign(of.state.actors)
    logits, _ = by_hand(of, of.network, steps)
    probs = of.policy.head.distribution(logits, tf.constant(rows_of(drawn["mask"]))).probs()
    np.testing.assert_allclose(probs, rows_of(drawn["probs"]), atol=1e-5)
    for network in of.networks:
        assert np.abs(drawn["memory"][:, network.columns]).max() > 0
    assert drawn["memory"].shape[-1] == UNITS * (COUNT + COUNT)


def test_an_episode_that_begins_is_acted_on_without_memory():
    of = learner("rlsample/SpeakerListener-v0")
    collector = JointCollector(gym.make_vec("rlsample/SpeakerListener-v0", num_envs=2), of.agents, seed=1)
    maker = of.row_maker(collector)
    act, before = of.actor(np.array([1, 2], np.int32), step=10**6), []
    for _ in range(5):
        rows = maker.add(collector.step(act(collector.observation, collector.mask))._asdict())
        before += [(bool(start), not np.any(row)) for start, row in zip(rows["starts"], rows["memory"], strict=True)]
    assert {True, False} == {start for start, _ in before}
    assert all(start == nothing for start, nothing in before)


@pytest.mark.parametrize(
    ("env", "settings", "cell"),
    [
        pytest.param("rlsample/SpeakerListener-v0", {}, "gru", marks=pytest.mark.slow),
        pytest.param("test/Leaving-v0", {"critic": "interpolated", "num_critics": 2}, "lstm", marks=pytest.mark.slow),
        pytest.param("Foraging-8x8-2p-2f-coop-v3", {"shared_network": True}, "gru", marks=pytest.mark.slow),
        pytest.param("mpe2/simple_speaker_listener-v4", {"standardize_rewards": True}, "gru", marks=pytest.mark.slow),
    ],
)
def test_it_trains_by_its_configuration(env, settings, cell):
    register("test/Leaving-v0", Leaving)
    run, where = Silent(), {"id": env, "num_envs": 4}
    made = {"sequence_length": LENGTH, "burn_in": BURN_IN} | settings
    network = NETWORK | {"cell": cell}
    config = small_config("multi_agent_actor_critic", agent=made, env=where, network=network, total_steps=192)
    policy = multi_agent_actor_critic.train(config, run)
    assert isinstance(policy, RecurrentJointPolicy)
    assert run.records[-1]["step"] == 192
    assert run.records[-1]["update"] > 20
    assert np.isfinite([run.records[-1][name] for name in multi_agent_actor_critic.METRICS]).all()
    actions, state = policy.act(gym.vector.utils.batch_space(policy.observation_space, 3).sample())
    assert state.shape == (3, policy.state_size)
    assert len(actions) == COUNT


@pytest.mark.parametrize(
    ("settings", "total_steps", "message"),
    [
        ({"burn_in": 6}, 160, "agent.burn_in below agent.sequence_length"),
        ({"sequence_length": 20}, 160, "total_steps above 160, after which the first sequences are learned from"),
        ({"replay_capacity": 20}, 160, "agent.replay_capacity of at least 24, a sequence of each environment"),
    ],
)
def test_sequences_that_do_not_fit_are_told_first(settings, total_steps, message):
    made = {"sequence_length": LENGTH, "burn_in": BURN_IN} | settings
    config = small_config("multi_agent_actor_critic", agent=made, network=NETWORK, total_steps=total_steps)
    with pytest.raises(runs.ConfigError, match=message):
        runs.agents.make_policy(AGENTS.module("multi_agent_actor_critic"), config)
