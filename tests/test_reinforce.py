"""REINFORCE: its loss against log-probabilities, what it learns from, and problems it must solve in seconds."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import envs  # noqa: F401 (registers its environments)
from agents import reinforce as agent
from rlsample import heads, ops, runs
from rlsample.rollouts.transition import Transition
from tests.helpers_runs import Silent


def configure(env, total_steps, collector="in_graph", num_envs=16, sampler="categorical", **hyper):
    small = {"num_steps": 16, "learning_rate": 3e-2, "discount": 0.0, "jit_compile": False}
    where = {"id": env, "num_envs": num_envs}
    if collector == "gymnasium":
        where["vectorization_mode"] = "sync"
    return runs.config_from_dict(
        {
            "agent": {"name": "reinforce", **small, **hyper},
            "env": where,
            "network": {"hidden_sizes": [32]},
            "sampler": sampler,
            "total_steps": total_steps,
        },
        agents={"reinforce": agent.Config},
    )


def score(config, deterministic=True):
    run = Silent()
    policy = agent.train(config, run)
    asked = config.model_copy(update={"evaluation": runs.EvaluationConfig(deterministic=deterministic)})
    return runs.evaluate(policy, asked, episodes=20).mean_return, run


def rows(event_shape, seed=0, steps=5, num_envs=3):
    """Logits, a mask, legal actions, weights and which rows count."""
    generator = np.random.default_rng(seed)
    logits = 3 * generator.normal(size=(steps, num_envs, *event_shape)).astype(np.float32)
    mask = generator.random(logits.shape) < 0.6
    action = generator.integers(event_shape[-1], size=logits.shape[:-1])
    np.put_along_axis(mask, action[..., None], True, -1)
    weight = generator.normal(size=(steps, num_envs)).astype(np.float32)
    return logits, mask, action.astype(np.int32), weight, generator.random((steps, num_envs)) < 0.7


@pytest.mark.parametrize("space", [4, [4, 4, 4]], ids=["one factor", "several"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("sampler", ["categorical", {"name": "decoupled_straight_through", "forward_temperature": 2.0}])
def test_the_loss_is_minus_log_prob_weighted(space, masked, sampler):
    head = heads.CategoricalHead(4, sampler) if space == 4 else heads.FactoredHead(space, sampler)
    logits, mask, action, weight, valid = rows(head.factors.event_shape)
    results = []
    for loss in (
        agent.weighted_cross_entropy,
        lambda policy, action, weight, valid: (
            -tf.reduce_sum(tf.where(valid, weight * policy.log_prob(action), 0.0)) / np.sum(valid)
        ),
    ):
        with tf.GradientTape() as tape:
            given = tf.constant(logits)
            tape.watch(given)
            value = loss(head.distribution(given, mask if masked else None), action, weight, valid)
        results.append((value, tape.gradient(value, given)))
    (value, slope), (reference, reference_slope) = results
    np.testing.assert_allclose(value, reference, rtol=1e-5)
    np.testing.assert_allclose(slope, reference_slope, atol=1e-6)
    assert np.any(slope)


def test_the_gradient_is_weighted_probabilities_less_the_one_hot():
    logits, mask, action, weight, _ = rows((4,))
    with tf.GradientTape() as tape:
        given = tf.constant(logits)
        tape.watch(given)
        loss = agent.weighted_cross_entropy(heads.CategoricalHead(4).distribution(given, mask), action, weight)
    wanted = weight[..., None] * (ops.softmax(logits, mask=mask) - tf.one_hot(action, 4)) / weight.size
    np.testing.assert_allclose(tape.gradient(loss, given), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("collector", "baseline"),
    [("in_graph", True), ("in_graph", False), pytest.param("gymnasium", True, marks=pytest.mark.slow)],
)
@pytest.mark.thinned(3)
def test_learns_to_copy_the_observation(collector, baseline):
    """32 symbols an episode, two rollouts with a baseline; acting at random copies 8 of them."""
    steps = {} if baseline else {"num_steps": 32}
    result, run = score(configure("rlsample/Identity-v0", 24 * 256, collector, baseline=baseline, **steps))
    assert result >= 28
    assert run.records[-1]["step"] == 24 * 256
    assert (run.records[-1]["losses/value"] > 0) == baseline
    assert np.isfinite([value for record in run.records for value in record.values()]).all()


@pytest.mark.slow
def test_compiled_and_whole_populations():
    config = configure("rlsample/Bandit-v0", 4096, jit_compile=True, population=2, learning_rate=(1e-2, 3e-2))
    result, run = score(config)
    functional = config.env.make(1).unwrapped.functional
    assert result == pytest.approx(float(np.max(functional.means)), abs=1.5)
    assert run.records[-1]["update"] == 4096 / 256


@pytest.mark.parametrize(
    ("env", "collector"),
    [
        ("rlsample/GridWorld-v0", "in_graph"),
        pytest.param("rlsample/RaggedDict-v0", "gymnasium", marks=pytest.mark.slow),
        ("rlsample/MultiDiscrete-v0", "in_graph"),
    ],
)
@pytest.mark.thinned(3)
def test_learns_with_masks_and_several_factors(env, collector):
    config = configure(env, 16 * 256, collector, discount=0.9)
    made = config.env.make(1)
    fresh = agent.make_policy(config, made.single_observation_space, made.single_action_space)
    drawing = config.model_copy(update={"evaluation": runs.EvaluationConfig(deterministic=False)})
    before = runs.evaluate(fresh, drawing, episodes=20).mean_return
    assert score(config, deterministic=False)[0] > before


def test_the_ends_of_episodes():
    done = np.array([[0, 0], [1, 0], [0, 0], [1, 0], [0, 0]], bool)
    wanted = [[True, False], [True, False], [True, False], [True, False], [False, False]]
    np.testing.assert_array_equal(agent.episode_ends(tf.constant(done)), wanted)


def as_tensors(steps):
    return tf.nest.map_structure(lambda column: None if column is None else tf.constant(column), steps)


@pytest.mark.parametrize("reset_rows", [False, True])
def test_without_a_baseline_only_whole_returns_count_and_what_is_after_the_rollout_changes_nothing(reset_rows):
    config = configure("rlsample/Identity-v0", 512, baseline=False, normalize_advantages=False, discount=0.9)
    learner = agent.Learner(config, config.env.make(3), 4)
    state = learner.start(0)
    generator, features = np.random.default_rng(0), *learner.policy.observation_space.shape
    shape = (6, 3)
    terminated = np.zeros(shape, bool)
    terminated[2, 0] = terminated[3, 1] = True
    valid = np.ones(shape, bool)
    valid[3, 0] = not reset_rows
    observation, following = generator.normal(size=(2, *shape, features)).astype(np.float32)
    steps = Transition(
        observation=observation,
        mask=None,
        action=generator.integers(4, size=shape).astype(np.int32),
        reward=generator.normal(size=shape).astype(np.float32),
        next_observation=following,
        next_mask=None,
        terminated=terminated,
        truncated=np.zeros(shape, bool),
        valid=valid if reset_rows else None,
    )
    tensors = as_tensors(steps)
    rollout, _ = learner.rollout(state, tensors)
    wanted = np.zeros(shape, bool)
    wanted[:3, 0] = wanted[:4, 1] = True
    np.testing.assert_array_equal(rollout.valid, wanted)
    np.testing.assert_array_equal(rollout.value, 0)
    everywhere = tf.ones([3], tf.bool)
    after, _, finite = learner.learn(state, tensors, tf.constant([0, 1]), everywhere)
    assert finite.numpy().all()
    changed = steps._replace(reward=np.where(wanted, steps.reward, 100.0).astype(np.float32))
    same, _, _ = learner.learn(state, as_tensors(changed), tf.constant([0, 1]), everywhere)
    np.testing.assert_array_equal(after.policy, same.policy)
    assert np.any(after.policy != state.policy)


def test_nothing_is_learned_from_what_is_not_finite():
    config = configure("rlsample/Identity-v0", 512)
    learner = agent.Learner(config, config.env.make(2), 4)
    state, features = learner.start(0), *learner.policy.observation_space.shape
    zeros = np.zeros((16, 2), np.float32)
    steps = Transition(
        observation=np.zeros((16, 2, features), np.float32),
        mask=None,
        action=zeros.astype(np.int32),
        reward=np.where(np.arange(2) == 1, np.inf, zeros).astype(np.float32),
        next_observation=np.zeros((16, 2, features), np.float32),
        next_mask=None,
        terminated=zeros > 0,
        truncated=zeros > 0,
        valid=None,
    )
    tensors = as_tensors(steps)
    after, _, finite = learner.learn(state, tensors, tf.constant([0, 1]), tf.ones([2], tf.bool))
    assert finite.numpy().tolist() == [True, False]
    np.testing.assert_array_equal(after.policy, state.policy)


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"learning_rate": 0.0}, "Expected learning_rate > 0"),
        ({"entropy_coefficient": -1.0}, "entropy_coefficient >= 0"),
        ({"base_line": False}, "Did you mean 'baseline'"),
    ],
)
def test_bad_hyper_parameters(hyper, message):
    with pytest.raises(runs.ConfigError, match=message):
        configure("rlsample/Identity-v0", 256, **hyper)


@pytest.mark.slow
def test_cartpole_is_solved_from_the_shipped_config():
    config = runs.load_config("agents/configs/reinforce_cartpole.yaml", agents={"reinforce": agent.Config})
    assert score(config)[0] >= 475
