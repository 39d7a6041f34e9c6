"""Deep Q-learning: its targets by enumeration, its replay, and problems it must solve in seconds."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import envs  # noqa: F401 (registers its environments)
from agents import dqn as agent
from rlsample import runs
from rlsample.learning.prioritized_replay import EPSILON, PrioritizedReplay
from rlsample.learning.replay import Replay
from rlsample.rollouts.in_numpy.policy import epsilon_greedy_actor
from tests.helpers_runs import Silent

NAME = "dqn"


def configure(env, total_steps, num_envs=8, **hyper):
    small = {"batch_size": 64, "warmup_steps": 64, "anneal_learning_rate": False, "jit_compile": False}
    small |= {"learning_rate": 1e-2, "target_rate": 0.05, "steps_per_round": 16, "num_steps": 1}
    return runs.config_from_dict(
        {
            "agent": {"name": NAME, **small, **hyper},
            "env": {"id": env, "num_envs": num_envs},
            "network": {"hidden_sizes": [32]},
            "sampler": "categorical",
            "total_steps": total_steps,
        },
        agents={NAME: agent.Config},
    )


def learner_of(config):
    made = config.env.make(1)
    learner = agent.Learner(config, made.single_observation_space, made.single_action_space)
    learner.state = learner.start(0)
    return learner


def update(learner, state, row):
    """The state after one update on a minibatch."""
    return learner.learn_from(state, dict(zip(agent.Batch._fields, map(tf.constant, row), strict=True)), (0, 1))[0]


def score(config):
    run = Silent()
    policy = agent.train(config, run)
    return runs.evaluate(policy, config, episodes=20).mean_return, run


def rows(learner, count=12, seed=0):
    """A minibatch of random rows, some of them at the end of an episode."""
    generator, event = np.random.default_rng(seed), learner.policy.factors.event_shape
    (features,) = learner.policy.observation_space.shape
    exists = learner.policy.factors.mask(None, batch=count)
    exists = np.ones((count, *event), bool) if exists is None else exists
    action = np.argmax(np.where(exists, generator.random(exists.shape), -1), -1).astype(np.int32)
    mask = exists & (generator.random(exists.shape) < 0.6)
    np.put_along_axis(mask, action[..., None], True, -1)
    return agent.Batch(
        observation=generator.normal(size=(count, features)).astype(np.float32),
        action=action,
        reward=generator.normal(size=count).astype(np.float32),
        discount=generator.random(count).astype(np.float32),
        next_observation=generator.normal(size=(count, features)).astype(np.float32),
        next_mask=mask,
        terminated=generator.random(count) < 0.3,
        weight=generator.random(count).astype(np.float32),
    )


def joint_values(values, mask):
    """The values of all legal joint actions of one row, by enumeration: {action: value}."""
    values, mask = values.reshape(-1, values.shape[-1]), mask.reshape(-1, mask.shape[-1])
    outcomes = {(): 0.0}
    for factor, legal in zip(values, mask, strict=True):
        places = np.flatnonzero(legal)
        outcomes = {(*action, int(k)): value + factor[k] for action, value in outcomes.items() for k in places}
    return outcomes


@pytest.mark.parametrize("env", ["rlsample/Identity-v0", "rlsample/RaggedDict-v0"])
@pytest.mark.parametrize("double_q", [True, False])
def test_targets_are_those_of_all_legal_joint_actions(env, double_q):
    learner = learner_of(configure(env, 640, double_q=double_q, policy_temperature=2.0))
    row, generator = rows(learner), np.random.default_rng(1)
    network, target = (generator.normal(size=learner.state.network.shape).astype(np.float32) for _ in range(2))
    state = learner.state._replace(network=tf.constant(network), target=tf.constant(target))
    found = learner.target(state, agent.Batch(*map(tf.constant, row)))
    online, other = (2.0 * learner.network(weights, row.next_observation).numpy() for weights in (network, target))
    for index in range(len(row.reward)):
        legal = row.next_mask[index]
        judged, valued = joint_values((online if double_q else other)[index], legal), joint_values(other[index], legal)
        value = 0.0 if row.terminated[index] else row.discount[index] * valued[max(judged, key=judged.get)]
        np.testing.assert_allclose(found[index], row.reward[index] + value, rtol=1e-4, atol=1e-4)


def test_the_value_of_an_action():
    values = tf.constant([[[1.0, 2.0, -np.inf], [4.0, 5.0, 6.0]]])
    assert agent.chosen(values, tf.constant([[1, 2]])).numpy().tolist() == [8.0]
    assert agent.chosen(values[:, 0], tf.constant([0])).numpy().tolist() == [1.0]


@pytest.mark.parametrize(("rate", "period"), [(0.25, 1), (1.0, 3), (0.5, 2)])
def test_the_target_follows(rate, period):
    learner = learner_of(configure("rlsample/Bandit-v0", 640, target_rate=rate, target_period=period))
    row, state = rows(learner), learner.state
    for count in range(1, 5):
        before = state
        state = update(learner, state, row)
        share = rate if count % period == 0 else 0.0
        np.testing.assert_allclose(state.target, before.target + share * (state.network - before.target), atol=1e-7)
        assert np.any(state.network != before.network)


def filled(replay, learner, count=40):
    replay.add(rows(learner, count)._asdict() | {"weight": np.ones(count, np.float32)})
    return replay


def test_priorities_are_the_errors_and_the_weights_count():
    config = configure("rlsample/Identity-v0", 640, prioritized=True, updates_per_step=1 / 16, learning_rate=1e-3)
    learner = learner_of(config)
    replay, state = filled(PrioritizedReplay(40, 1.0), learner), learner.state
    initial, drawn = replay.probabilities(), PrioritizedReplay.sample(replay, np.random.default_rng(3), (1, 64), 0.4)
    learner.learn(replay, np.random.default_rng(3), 80)
    assert learner.update == 1
    row = agent.Batch(*(tf.constant(drawn[name][0]) for name in agent.Batch._fields))
    value = agent.chosen(learner.values(state.network, row.observation), row.action)
    errors = np.abs(value - learner.target(state, row)) + EPSILON
    places = drawn["place"][0]
    priorities = replay.probabilities() / replay.probabilities()[places[0]] * errors[0]
    np.testing.assert_allclose(priorities[places], errors, rtol=1e-4)
    untouched = np.setdiff1d(np.arange(40), places)
    np.testing.assert_allclose(priorities[untouched], 1.0, rtol=1e-4)
    assert np.ptp(initial) == 0
    # Rows of weight 0 teach nothing.
    after = update(learner, state, row._replace(weight=tf.zeros([64])))
    np.testing.assert_array_equal(after.network, state.network)


def test_the_correction_rises_to_one():
    learner = learner_of(configure("rlsample/Bandit-v0", 640, priority_correction=0.4))
    assert [learner._correction(step) for step in (0, 320, 640, 1000)] == pytest.approx([0.4, 0.7, 1.0, 1.0])


def test_epsilon_falls_and_stays():
    learner = learner_of(configure("rlsample/Bandit-v0", 1000, exploration_share=0.5, epsilon_end=0.1))
    assert [float(learner.exploration(step)) for step in (0, 250, 500, 900)] == pytest.approx([1.0, 0.55, 0.1, 0.1])


@pytest.mark.parametrize(
    ("env", "dueling"),
    [("rlsample/Identity-v0", False), ("rlsample/Identity-v0", True), ("rlsample/RaggedDict-v0", False)],
)
def test_actions_are_greedy_or_uniform_and_always_legal(env, dueling):
    learner = learner_of(configure(env, 640, dueling=dueling))
    row, seed = rows(learner, 3000), np.array([1, 2], np.int32)
    greedy = epsilon_greedy_actor(learner.policy, 0.0, seed)(row.observation, row.next_mask)
    np.testing.assert_array_equal(greedy, learner.policy.mode(row.observation, row.next_mask))
    assert greedy.dtype == row.action.dtype
    actions = epsilon_greedy_actor(learner.policy, 0.3, seed)(row.observation, row.next_mask)
    assert actions.shape == row.action.shape
    assert np.take_along_axis(row.next_mask, actions[..., None], -1).all()
    # Random actions are at times the greedy ones: with n legal joint actions once in n.
    legal = row.next_mask.sum(-1).reshape(3000, -1).prod(-1)
    expected = 0.3 * (1 - 1 / legal)
    differs = (actions != greedy).reshape(3000, -1).any(-1)
    spread = np.sqrt((expected * (1 - expected)).sum())
    assert abs(differs.sum() - expected.sum()) < 5 * spread  # fails by chance once in a million seeds


def test_the_policy_is_one_like_the_others():
    config = configure("rlsample/Identity-v0", 640, policy_temperature=4.0)
    learner = learner_of(config)
    row = rows(learner, 6)
    values = learner.values(learner.state.network, row.observation).numpy()
    probabilities = np.exp(values / 4)
    policy = learner.publish_averaged()
    envs_ = config.env.make(6)
    observation, _ = envs_.reset(seed=0)
    assert policy.act(observation).shape == policy.act(observation, seed=(0, 1)).shape == (6,)
    np.testing.assert_allclose(
        policy.head.distribution(policy.model(row.observation)).probs(),
        probabilities / probabilities.sum(-1, keepdims=True),
        rtol=1e-5,
    )
    np.testing.assert_array_equal(policy.mode(row.observation, np.ones_like(values, bool)), values.argmax(-1))


def test_a_dueling_network_tells_value_from_advantages_and_is_for_one_factor():
    learner = learner_of(configure("rlsample/Identity-v0", 640, dueling=True))
    model, observation = learner.policy.model, rows(learner).observation
    (value,) = (layer for layer in model.layers if isinstance(layer, keras.Model))
    np.testing.assert_allclose(np.mean(model(observation), -1), value(observation)[:, 0], atol=1e-5)
    with pytest.raises(ValueError, match=r"an action of one factor for a dueling network.*agent.dueling=false"):
        learner_of(configure("rlsample/MultiDiscrete-v0", 640, dueling=True))


@pytest.mark.parametrize(
    "hyper", [{}, {"prioritized": True, "num_steps": 3, "dueling": True, "double_q": False, "discount": 0.5}]
)
@pytest.mark.thinned(2)
def test_learns_to_copy_the_observation(hyper):
    """32 symbols an episode; acting at random copies 8 of them."""
    result, run = score(configure("rlsample/Identity-v0", 800, **({"discount": 0.0} | hyper)))
    assert result >= 31
    assert np.isfinite([value for record in run.records for value in record.values()]).all()


@pytest.mark.parametrize(
    "env", ["rlsample/MultiDiscrete-v0", pytest.param("rlsample/RaggedDict-v0", marks=pytest.mark.slow)]
)
def test_learns_a_joint_action(env):
    config = configure(env, 640, discount=0.0)
    made = config.env.make(1)
    fresh = agent.make_policy(config, made.single_observation_space, made.single_action_space)
    before = runs.evaluate(fresh, config, episodes=20).mean_return
    assert score(config)[0] > before


@pytest.mark.slow
def test_a_long_way_among_walls():
    result, _ = score(configure("rlsample/GridWorld-v0", 2048, discount=0.9, num_steps=3))
    assert result > 0.5


def test_divergence_is_reported():
    learner = learner_of(configure("rlsample/Bandit-v0", 640))
    learner.state = learner.state._replace(network=learner.state.network * np.nan)
    with pytest.raises(ValueError, match=r"Expected finite losses and gradients.*Lower agent.learning_rate"):
        learner.learn(filled(Replay(40), learner), np.random.default_rng(1), 128)


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"epsilon_end": 1.5}, "agent.epsilon_end"),
        ({"target_rate": 0.0}, "agent.target_rate"),
        ({"num_steps": 0}, "agent.num_steps"),
        ({"prioritised": True}, "Did you mean 'prioritized'"),
    ],
)
def test_bad_hyper_parameters(hyper, message):
    with pytest.raises(runs.ConfigError, match=message):
        configure("rlsample/Identity-v0", 256, **hyper)


@pytest.mark.slow
def test_cartpole_is_solved_from_the_shipped_config():
    words = ["tracking.wandb=disabled"]
    config = runs.load_config("agents/configs/dqn_cartpole.yaml", words, agents={NAME: agent.Config})
    assert score(config)[0] >= 475


@pytest.mark.parametrize("total_steps", [1, 2])
def test_a_run_that_is_over_before_there_is_anything_to_learn(total_steps):
    config = configure("CartPole-v1", total_steps, num_envs=1)
    agent.train(config, run := Silent())
    assert len(run.records) == 1
