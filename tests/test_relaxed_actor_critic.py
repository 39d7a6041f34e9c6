"""The relaxed actor-critic: its critics, one round of updates, and problems it must solve in seconds."""

from __future__ import annotations

import gymnasium as gym
import keras
import numpy as np
import pytest
import tensorflow as tf

import envs  # noqa: F401 (registers its environments)
from agents import relaxed_actor_critic as agent
from rlsample import runs
from rlsample.learning.critics import ConcatenatingCritic, LinearCritic, chord_loss
from tests.helpers_runs import Silent


def configure(env, total_steps, sampler="straight_through_gumbel_softmax", **hyper):
    small = {"hidden_sizes": (32,), "batch_size": 64, "warmup_steps": 64, "anneal_learning_rate": False}
    small |= {"actor_learning_rate": 1e-2, "critic_learning_rate": 1e-2, "average_rate": 0.05, "target_rate": 0.05}
    return runs.config_from_dict(
        {
            "agent": {"name": "relaxed_actor_critic", **small, **hyper},
            "env": {"id": env, "num_envs": 8},
            "sampler": sampler,
            "total_steps": total_steps,
        },
        agents={"relaxed_actor_critic": agent.Config},
    )


def score(config):
    run = Silent()
    policy = agent.train(config, run)
    return runs.evaluate(policy, config, episodes=20).mean_return, run


@pytest.mark.parametrize("sampler", ["exact", "gumbel_softmax", "score_function"])
def test_learns_to_copy_the_observation(sampler):
    config = configure("rlsample/Identity-v0", 768, sampler, discount=0.0)
    fresh = agent.make_policy(config, *spaces_of(config))
    before = runs.evaluate(fresh, config, episodes=20).mean_return
    after, _ = score(config)
    limit = gym.spec("rlsample/Identity-v0").max_episode_steps
    assert after >= 0.95 * limit > before


def spaces_of(config):
    made = config.env.make(1)
    return made.single_observation_space, made.single_action_space


@pytest.mark.parametrize("critic", ["linear", "concatenating"])
def test_learns_a_joint_action(critic):
    config = configure("rlsample/MultiDiscrete-v0", 1024, discount=0.0, critic=critic)
    before = runs.evaluate(agent.make_policy(config, *spaces_of(config)), config, episodes=20).mean_return
    after, run = score(config)
    assert after > before
    assert np.isfinite([value for record in run.records for value in record.values()]).all()


def test_the_maddpg_form_runs():
    config = configure("rlsample/Bandit-v0", 256, num_critics=1, entropy_coefficient=0.0, audit_draws=8)
    _, run = score(config)
    assert -1 <= run.records[-1]["sampler/cosine"] <= 1
    assert run.records[-1]["policy/coefficient"] == pytest.approx(0.0, abs=1e-12)
    assert run.records[-1]["step"] == 256


def test_masked_environments_are_played_legally():
    config = configure("rlsample/GridWorld-v0", 512)
    _, run = score(config)
    assert run.records


def test_a_run_shorter_than_the_warmup_learns_too():
    config = configure("rlsample/Bandit-v0", 200, warmup_steps=1000)
    _, run = score(config)
    assert run.records[-1]["step"] == 200
    assert run.records[-1]["update"] > 0


def test_the_temperature_moves_without_a_retrace():
    config = configure("rlsample/Bandit-v0", 64)
    policy = agent.make_policy(config, *spaces_of(config))
    averaged = agent.make_policy(config, *spaces_of(config))
    learner = agent.Learner(config.agent, policy, averaged, 10)
    batch = random_batch(policy, rounds=2)
    for temperature in (1.0, 0.5, 0.25):
        policy.head.temperature.assign(temperature)
        learner.learn(batch, np.array([0, 1], np.int32))
    assert learner._round.experimental_get_tracing_count() == 1


def test_divergence_is_reported():
    config = configure("rlsample/Bandit-v0", 64)
    policy = agent.make_policy(config, *spaces_of(config))
    learner = agent.Learner(config.agent, policy, agent.make_policy(config, *spaces_of(config)), 10)
    policy.model.trainable_variables[0].assign(policy.model.trainable_variables[0] * np.nan)
    with pytest.raises(ValueError, match="free of NaN"):
        learner.learn(random_batch(policy, rounds=1), np.array([0, 1], np.int32))


def random_batch(policy, rounds, size=8):
    generator = np.random.default_rng(0)
    features = policy.model.input_shape[-1]
    event = policy.factors.event_shape
    return agent.Batch(
        observation=generator.normal(size=(rounds, size, features)).astype(np.float32),
        mask=np.ones((rounds, size, *event), bool),
        action=generator.integers(event[-1], size=(rounds, size, *event[:-1])).astype(np.int32),
        reward=generator.normal(size=(rounds, size)).astype(np.float32),
        next_observation=generator.normal(size=(rounds, size, features)).astype(np.float32),
        next_mask=np.ones((rounds, size, *event), bool),
        terminated=np.zeros((rounds, size), bool),
    )


def test_linear_critic_is_linear_and_the_other_is_made_straight():
    generator = np.random.default_rng(0)
    observation = tf.constant(generator.normal(size=(64, 3)), tf.float32)
    one, other = (tf.one_hot(generator.integers(4, size=(64, 2)), 4) for _ in range(2))
    value = tf.constant(generator.normal(size=64), tf.float32)
    seed = tf.constant([1, 2])
    assert float(chord_loss(LinearCritic(3, (2, 4), (16,)), observation, one, other, seed)) < 1e-10

    def chord_after_fitting(weight):
        critic = ConcatenatingCritic(3, (2, 4), (16,))
        optimizer = keras.optimizers.Adam(1e-2)
        optimizer.build(critic.trainable_variables)

        @tf.function(autograph=False)
        def update(seed):
            with tf.GradientTape() as tape:
                fit = tf.reduce_mean(tf.square(critic(observation, one) - value))
                loss = fit + weight * chord_loss(critic, observation, one, other, seed)
            optimizer.apply(tape.gradient(loss, critic.trainable_variables))

        for step in range(300):
            update(tf.constant([step, 0]))
        return float(chord_loss(critic, observation, one, other, seed))

    bent = chord_after_fitting(0.0)
    assert bent > 1e-2
    assert chord_after_fitting(1.0) < 0.5 * bent


@pytest.mark.slow
def test_cartpole_is_solved_from_the_shipped_config():
    config = runs.load_config(
        "agents/configs/cartpole.yaml", ["tracking.wandb=disabled"], agents={"relaxed_actor_critic": agent.Config}
    )
    final, _ = score(config)
    assert final >= 475
