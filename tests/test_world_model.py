"""The world-model actor-critic: its gradients in imagination, what it refuses, and what it must learn."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import envs  # noqa: F401 (registers its environments)
from agents import world_model_actor_critic as agent
from rlsample import runs
from rlsample.learning.model_steps import Imagined
from tests.helpers_runs import Silent

NAME = "world_model_actor_critic"
SEED = tf.constant([3, 4])


def configure(env="rlsample/Identity-v0", sampler="straight_through", total_steps=400, **hyper):
    small = {"batch_size": 8, "members": 2, "horizon": 3, "jit_compile": False}
    return runs.config_from_dict(
        {
            "agent": {"name": NAME, **small, **hyper},
            "env": {"id": env, "num_envs": 4},
            "network": {"hidden_sizes": [8]},
            "sampler": sampler,
            "total_steps": total_steps,
        },
        agents={NAME: agent.Config},
    )


def learner_of(**settings):
    config = configure(**settings)
    made = config.env.make(1)
    return agent.Learner(config, made.single_observation_space, made.single_action_space)


def batch_of(learner, rows=8):
    generator = np.random.default_rng(0)
    (features,), categories = learner.policy.observation_space.shape, learner.policy.factors.num_categories
    seen = generator.normal(size=(2, rows, features)).astype(np.float32)
    action = generator.integers(categories, size=rows).astype(np.int32)
    columns = seen[0], np.ones((rows, categories), bool), action, seen[0, :, 0], seen[1], seen[1, :, 0] > 0
    return agent.Batch(*map(tf.constant, columns))


def climbed(learner, weights, batch):
    """What the actor climbs with the given weights, entropy apart: a mean of G_0 and what its gradient comes from."""
    imagined = learner.imagine(learner.state, weights, batch, SEED)
    values = learner.values(learner.state.target, learner.state, imagined.observation)
    outcome = imagined.reward, values[1:], imagined.goes_on
    returns = agent.imagined_returns(*outcome, learner.agent.discount, learner.agent.trace_decay)
    return imagined, returns, values


class TestTheGradient:
    def test_of_a_pathwise_sampler_is_the_difference_quotient_of_the_imagined_return(self):
        """Softmax actions are smooth in the weights; with hard ones the value would jump."""
        learner = learner_of(sampler="softmax")
        batch = batch_of(learner)

        @tf.function(autograph=False)
        def earned(weights):
            return tf.reduce_mean(climbed(learner, weights, batch)[1][0])

        weights = learner.state.policy
        with tf.GradientTape() as tape:
            tape.watch(weights)
            value = earned(weights)
        gradient = tape.gradient(value, weights).numpy()
        for seed in range(3):
            way = np.random.default_rng(seed).normal(size=len(weights)).astype(np.float32)
            quotient = float(earned(weights + 3e-2 * way) - earned(weights - 3e-2 * way)) / 6e-2
            assert quotient == pytest.approx(
                float(gradient @ way), rel=5e-2, abs=2e-3 * float(np.linalg.norm(gradient))
            )
        assert np.linalg.norm(gradient) > 1e-3

    @pytest.mark.parametrize("sampler", ["categorical", {"name": "leave_one_out", "num_samples": 4}])
    def test_of_reinforce_weighs_scores_by_advantages(self, sampler):
        learner = learner_of(sampler=sampler)
        imagined, returns, values = climbed(learner, learner.state.policy, batch_of(learner))
        log_prob = tf.constant(np.random.default_rng(1).normal(size=returns.shape), tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(log_prob)
            scores = agent.scores(learner.policy.head.sampler, imagined._replace(noted=[log_prob]), returns, values)
        slope = tape.gradient(scores, log_prob).numpy()
        np.testing.assert_allclose(scores, 0.0, atol=1e-6)
        advantages = returns.numpy() - values.numpy()[:-1]
        if sampler != "categorical":
            groups = returns.numpy().reshape(3, 2, 4)
            advantages = np.stack(
                [groups[..., own] - np.delete(groups, own, -1).mean(-1) for own in range(4)], -1
            ).reshape(3, 8)
        np.testing.assert_allclose(slope, imagined.reached.numpy() * advantages, rtol=1e-4, atol=1e-4)

    def test_a_pathwise_sampler_has_no_score(self):
        learner = learner_of()
        imagined, returns, values = climbed(learner, learner.state.policy, batch_of(learner))
        np.testing.assert_array_equal(agent.scores(learner.policy.head.sampler, imagined, returns, values), 0.0)

    def test_of_rollouts_in_groups_every_group_begins_in_one_state(self, monkeypatch):
        learner, seen = learner_of(sampler={"name": "leave_one_out", "num_samples": 4}), []
        imagine = learner.imagine
        monkeypatch.setattr(learner, "imagine", lambda *a: seen.append(a[2]) or imagine(*a))
        learner.learn_behaviour(learner.state, batch_of(learner), SEED)
        groups = seen[0].observation.numpy().reshape(2, 4, -1)
        np.testing.assert_array_equal(groups, np.repeat(groups[:, :1], 4, 1))
        assert np.any(groups[0, 0] != groups[1, 0])


def test_the_critic_learns_what_was_imagined():
    """A state worth 1 for 99 steps and one at which the episode ends: V tends to their returns."""
    learner = learner_of(critic_learning_rate=1e-2, anneal_learning_rate=False)
    observation = tf.repeat(batch_of(learner).observation[tf.newaxis, :2], 4, 0)
    returns, ones = tf.constant([[99.0, 1.0]] * 3), tf.ones([3, 2])
    state = learner.state
    update = tf.function(
        lambda state: learner.learn_values(state, Imagined(observation, ones, ones, ones, []), returns)[0]
    )
    for _ in range(150):
        state = update(state)
    values = learner.values(state.critic, state, observation[:1]).numpy()[0]
    np.testing.assert_allclose(values, [99.0, 1.0], atol=3.0)


def test_what_is_illegal_in_a_state_of_the_replay_is_not_imagined_there():
    learner = learner_of()
    batch = batch_of(learner)
    mask = np.zeros(batch.mask.shape, bool)
    mask[:, 2] = True
    imagined = learner.imagine(learner.state, learner.state.policy, batch._replace(mask=tf.constant(mask)), SEED)
    log_prob, entropy = (noted.numpy() for noted in imagined.noted)
    np.testing.assert_array_equal(log_prob[0], 0.0)  # there is but one action
    assert np.all(log_prob[1:] < 0)
    assert np.all(entropy[1:] > 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampler": "exact"}, "a pathwise sampler or one of categorical, score_function, leave_one_out"),
        ({"batch_size": 9}, "agent.batch_size to be a multiple of 2"),
        ({"sampler": {"name": "leave_one_out", "num_samples": 3}}, "agent.batch_size to be a multiple of 6"),
        ({"env": "FrozenLake-v1"}, "observations that can be imagined"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    config = configure(**settings)
    made = config.env.make(1)
    with pytest.raises(ValueError, match=message):
        agent.make_policy(config, made.single_observation_space, made.single_action_space)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["straight_through", "categorical"])
def test_learns_cartpole_from_few_steps(sampler):
    """A policy that acts at random lasts for 22 steps."""
    words = ["tracking.wandb=disabled", "total_steps=3000", f"sampler={sampler}"]
    config = runs.load_config("agents/configs/world_model_cartpole.yaml", words, agents={NAME: agent.Config})
    policy = agent.train(config, Silent())
    assert runs.evaluate(policy, config, episodes=20).mean_return > 100
