"""REINFORCE with a memory: its gradients against a plain loop over time, with and without a baseline."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

import envs  # noqa: F401 (registers its environments)
from agents import recurrent_reinforce, reinforce
from rlsample import runs
from rlsample.rollouts.transition import Transition
from tests.helpers_agents import AGENTS
from tests.helpers_runs import Silent

T, E, S = 7, 3, 5
DISCOUNT, ENTROPY = 0.9, 0.03


def configure(env="rlsample/GridWorld-v0", num_envs=E, **hyper):
    small = {"num_steps": T, "discount": DISCOUNT, "baseline_updates": 1, "jit_compile": False}
    return runs.config_from_dict(
        {
            "agent": {"name": "reinforce", "entropy_coefficient": ENTROPY, **small, **hyper},
            "env": {"id": env, "num_envs": num_envs},
            "network": {"name": "recurrent", "units": S, "encoder": {"name": "mlp", "hidden_sizes": [6]}},
            "sampler": "categorical",
            "total_steps": 4 * T * num_envs,
        },
        agents=AGENTS,
    )


def learner_of(config):
    """A learner whose optimizers make the gradient the new weights; its weights and memories are far from 0."""
    learner = recurrent_reinforce.Learner(config, config.env.make(), num_turns=4)
    gradient_for_weights = SimpleNamespace(
        start=learner.policy_optimizer.start, step=lambda slope, adam, weights, rate: (slope, adam)
    )
    learner.policy_optimizer = learner.baseline_optimizer = gradient_for_weights
    noise, state = np.random.default_rng(5), learner.start(0)
    return learner, state._replace(
        policy=tf.constant(noise.normal(size=state.policy.shape), tf.float32),
        baseline=tf.constant(noise.normal(size=state.baseline.shape), tf.float32),
        memory=tuple(tf.constant(noise.uniform(-1, 1, size=part.shape), tf.float32) for part in state.memory),
    )


def made_up_steps(learner, reset_rows):
    """A rollout in which episodes end in both ways, with masks; and rows that only reset, as Gymnasium gives them."""
    noise, (size,) = np.random.default_rng(1), learner.policy.observation_space.shape
    observation, following = noise.normal(size=(2, T, E, size)).astype(np.float32)
    mask = noise.random((T, E, learner.policy.factors.num_categories)) < 0.6
    action = noise.integers(mask.shape[-1], size=(T, E))
    np.put_along_axis(mask, action[..., None], True, -1)
    terminated, truncated, valid = np.zeros((T, E), bool), np.zeros((T, E), bool), np.ones((T, E), bool)
    terminated[2, 0] = truncated[3, 1] = terminated[T - 1, 2] = True
    if reset_rows:
        valid[3, 0] = valid[4, 1] = False
    fields = {
        "observation": observation,
        "mask": mask,
        "action": action.astype(np.int32),
        "reward": noise.normal(size=(T, E)).astype(np.float32),
        "next_observation": following,
        "terminated": terminated,
        "truncated": truncated,
    }
    fields = {name: tf.constant(column) for name, column in fields.items()}
    return Transition(**fields, next_mask=None, valid=tf.constant(valid) if reset_rows else None)


def one_by_one(network, weights, steps, before):
    """What a network says of each step and of what it led to, and what it remembers in the end: step after step."""
    layers, said, following, state = network.split(weights), [], [], before
    goes_on = tf.zeros([1, E], tf.bool)
    for step in range(T):
        output, state = network.apply(layers, (steps.observation[step], state, goes_on))
        said.append(output)
        following.append(network.apply(layers, (steps.next_observation[step], state, goes_on))[0])
        ended = steps.terminated[step] | steps.truncated[step]
        if steps.valid is not None:
            ended |= ~steps.valid[step]
        state = tf.where(ended[:, None], 0.0, state)
    return tf.stack(said), tf.stack(following), state


def returns_of(steps, following, counts):
    """The return of each step and whether its episode ends, from the last step to the first."""
    returns, whole = np.zeros((T, E), np.float32), np.zeros((T, E), bool)
    for env in range(E):
        later, ends = 0.0, False
        for step in reversed(range(T)):
            over = bool(steps.terminated[step, env] | steps.truncated[step, env])
            if over or step == T - 1:
                later = 0.0 if steps.terminated[step, env] else following[step, env]
            later, ends = steps.reward[step, env] + DISCOUNT * later, ends or over
            returns[step, env], whole[step, env] = later, ends and counts[step, env]
    return returns, whole


@pytest.mark.parametrize("reset_rows", [False, True])
@pytest.mark.parametrize("baseline", [False, True])
def test_both_gradients_are_those_of_a_plain_loop_over_time(baseline, reset_rows):
    learner, state = learner_of(configure(baseline=baseline, normalize_advantages=False))
    steps = made_up_steps(learner, reset_rows)
    counts = np.ones((T, E), bool) if steps.valid is None else steps.valid.numpy()
    after, _, finite = learner.learn(state, steps, tf.constant([0, 1]), tf.ones([E], tf.bool))
    assert finite.numpy().all()

    with tf.GradientTape(persistent=True) as tape:
        tape.watch((state.policy, state.baseline))
        values, following, judged = one_by_one(learner.baseline, state.baseline, steps, state.memory[1])
        logits, _, remembered = one_by_one(learner.network, state.policy, steps, state.memory[0])
        values, following = (part[..., 0] * float(baseline) for part in (values, following))
        returns, whole = returns_of(steps, following.numpy(), counts)
        rows = np.where(counts if baseline else whole)
        log_probs = tf.nn.log_softmax(tf.where(steps.mask, logits, -1e9))
        taken = tf.gather(log_probs, steps.action, batch_dims=2)
        entropy = -tf.reduce_sum(tf.where(steps.mask, tf.exp(log_probs) * log_probs, 0.0), -1)
        cost = -(returns - values.numpy()) * taken - ENTROPY * entropy
        loss = tf.reduce_mean(tf.gather_nd(cost, np.transpose(rows)))
        value_loss = tf.reduce_mean(tf.gather_nd(0.5 * tf.square(returns - values), np.transpose(rows)))
    np.testing.assert_allclose(after.policy, tape.gradient(loss, state.policy), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(after.memory[0], remembered, atol=1e-5)
    if baseline:
        np.testing.assert_allclose(after.baseline, tape.gradient(value_loss, state.baseline), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(after.memory[1], judged, atol=1e-5)
    else:
        np.testing.assert_array_equal(after.baseline, state.baseline)


def test_the_gradient_reaches_back_to_what_was_seen_before():
    """The last step's gradient depends on the first observation of its episode, not on that of the one before."""
    learner, state = learner_of(configure(normalize_advantages=False))
    steps = made_up_steps(learner, False)  # In environment 0 an episode ends with step 2.
    observation = tf.Variable(steps.observation)
    with tf.GradientTape() as tape:
        last = tf.reduce_sum(learner._logits(state, steps._replace(observation=tf.convert_to_tensor(observation)))[-1])
    reached = np.any(tape.gradient(last, observation) != 0, -1)
    np.testing.assert_array_equal(reached[:, 0], np.arange(T) > 2)
    np.testing.assert_array_equal(reached[:, 2], True)


def test_nothing_is_remembered_of_a_rollout_that_is_not_finite():
    learner, state = learner_of(configure())
    steps = made_up_steps(learner, False)
    steps = steps._replace(reward=tf.where(tf.range(E) == 1, np.inf, steps.reward))
    after, _, finite = learner.learn(state, steps, tf.constant([0, 1]), tf.ones([E], tf.bool))
    assert finite.numpy().tolist() == [True, False, True]
    tf.nest.map_structure(np.testing.assert_array_equal, after, state)


@pytest.mark.slow
def test_a_population_without_a_baseline_trains():
    run = Silent()
    policy = reinforce.train(configure("rlsample/TMaze-v0", population=2, baseline=False, num_steps=16), run)
    assert np.any(policy.act(policy.observation_space.sample())[1])
    assert np.isfinite(run.records[-1]["losses/policy"])


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["env.vectorization_mode=sync", "agent.jit_compile=false"]])
def test_it_solves_what_nothing_solves_without_memory(words):
    short = ["env.kwargs.length=3", "total_steps=50000"]
    config = runs.load_config("agents/configs/reinforce_t_maze.yaml", [*short, *words], agents=AGENTS)
    assert runs.evaluate(reinforce.train(config, Silent()), config).mean_return == 1


@pytest.mark.slow
def test_the_shipped_configuration_solves_its_maze():
    config = runs.load_config("agents/configs/reinforce_t_maze.yaml", agents=AGENTS)
    assert runs.evaluate(reinforce.train(config, Silent()), config).mean_return == 1
