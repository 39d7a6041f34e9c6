"""Members side by side compute what each would alone."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import envs  # noqa: F401 (registers its environments)
from agents import ppo, short_horizon_actor_critic
from rlsample.learning import population
from rlsample.rollouts.in_graph_collector import InGraphCollector
from rlsample.runs import config_from_dict

AGENTS = {"ppo": ppo.Config, "short_horizon_actor_critic": short_horizon_actor_critic.Config}
SEED = tf.constant([5, 6])


def learner_of(name, env="rlsample/Identity-v0", num_envs=8, **hyper):
    module = {"ppo": ppo, "short_horizon_actor_critic": short_horizon_actor_critic}[name]
    sampler = "reinmax" if name != "ppo" else "categorical"
    config = config_from_dict(
        {
            "agent": {"name": name, **hyper},
            "network": {"hidden_sizes": [16]},
            "env": {"id": env, "num_envs": num_envs},
            "sampler": sampler,
            "total_steps": 10_000,
        },
        agents=AGENTS,
    )
    made = config.env.make(num_envs=num_envs)
    return module.Learner(config, made, 4), made.unwrapped.functional


def one_rollout(learner, env, num_envs, num_steps):
    collector = InGraphCollector(env, num_envs, env.max_episode_steps)
    act = population.actor(learner, learner.start(0))
    return collector.collect(act, collector.start(SEED), num_steps, SEED)[0]


def of_member(transitions, member, num_envs):
    rows = slice(member * num_envs, (member + 1) * num_envs)
    return tf.nest.map_structure(lambda column: None if column is None else column[:, rows], transitions)


def assert_same(left, right, **tolerance):
    for one, other in zip(tf.nest.flatten(left), tf.nest.flatten(right), strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), **({"rtol": 1e-4, "atol": 1e-6} | tolerance))


@pytest.mark.slow
@pytest.mark.parametrize(
    "env", ["rlsample/Identity-v0", pytest.param("rlsample/RaggedDict-v0", marks=pytest.mark.slow)]
)
def test_ppo_learns_for_each_member_what_it_learns_for_one(env):
    options = {"num_steps": 8, "num_minibatches": 2, "num_epochs": 2, "population": 3}
    options |= {"learning_rate": [1e-2, 1e-3, 3e-3], "entropy_coefficient": [0.0, 0.1, 0.01]}
    learner, in_graph = learner_of("ppo", env, 4, **options)
    members = population.Population(learner, 3)
    states = members.start(0)
    transitions = one_rollout(members, in_graph, 12, 8)
    together = tf.function(members.learn, jit_compile=True, autograph=False)
    learned, metrics, finite = together(states, transitions, SEED, tf.ones([12], tf.bool))
    assert finite.shape == (12,)
    alone = tf.function(learner.learn, autograph=False)
    for member in range(3):
        state = population.member_of(states, member)
        assert_same(state, learner.start(member), rtol=0, atol=0)
        rows = of_member(transitions, member, 4)
        expected, its_metrics, _ = alone(state, rows, SEED, tf.ones([4], tf.bool))
        assert_same(population.member_of(learned, member), expected)
        assert_same({name: values[member] for name, values in metrics.items()}, its_metrics)


@pytest.mark.slow
def test_gradients_through_the_environment_stay_with_their_member():
    options = {"horizon": 4, "memory": 2, "critic_updates": 2, "critic_batch_size": 4, "population": 2}
    learner, in_graph = learner_of("short_horizon_actor_critic", "rlsample/CartPole-v1", 4, **options)
    members = population.Population(learner, 2)
    states = members.start(0)
    collector = InGraphCollector(in_graph, 8, 500)
    running = collector.start(SEED)

    @tf.function(jit_compile=True, autograph=False)
    def gradient(weights):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            state = states._replace(policy=weights)
            steps, _, _ = collector.collect(population.actor(members, state), running, 4, SEED)
            played = members.play(state, steps)
        return tape.gradient(played.loss, weights), played.loss

    slopes, losses = gradient(states.policy)
    moved = tf.concat([states.policy[:1], states.policy[1:] + 0.1], 0)
    others, other_losses = gradient(moved)
    np.testing.assert_allclose(slopes[0], others[0], rtol=1e-5, atol=1e-7)
    assert np.abs(slopes[1] - others[1]).max() > 1e-4
    assert float(losses[0]) == pytest.approx(float(other_losses[0]), rel=1e-6)
    assert np.isfinite(slopes).all()


def test_acting_is_each_members_own():
    learner, _ = learner_of("ppo", population=2)
    members = population.Population(learner, 2)
    states = members.start(0)
    features = tf.random.stateless_normal([16, 4], SEED)
    logits = members.logits(members.split(states), features)
    for member in range(2):
        parameters = learner.split(population.member_of(states, member))
        rows = slice(8 * member, 8 * member + 8)
        np.testing.assert_allclose(logits[rows], learner.logits(parameters, features[rows]), atol=1e-6)


def test_bad_input():
    learner, _ = learner_of("ppo")
    with pytest.raises(ValueError, match="Expected size to be a whole number >= 2"):
        population.Population(learner, 1)
    assert population.members_of(learner, 1) is learner
    with pytest.raises(ValueError, match="Expected population to be a whole number >= 1"):
        population.members_of(learner, 0)
