"""Gradients through environments: against finite differences, closed forms and enumeration."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests.helpers_envs import DIFFERENTIABLE_ENVS, MINIATURE_GAMES, functional_env, one_hots, relaxed_actions, seed_of

STEPS = 2
# Away from where clips and walls make the map bend.
MILD_STATES = {
    "rlsample/CartPole-v1": ([-1.0, -1.0, -0.1, -1.0], [1.0, 1.0, 0.1, 1.0]),
    "rlsample/Acrobot-v1": ([-2.0, -2.0, -2.0, -2.0], [2.0, 2.0, 2.0, 2.0]),
    "rlsample/MountainCar-v0": ([-0.9, -0.02], [0.3, 0.02]),
}


def starting_state(name, env, num_envs):
    if name in MILD_STATES:
        return tf.constant(
            np.random.default_rng(3).uniform(*MILD_STATES[name], size=(num_envs, len(MILD_STATES[name][0])))
        )
    return env.initial(seed_of(1), num_envs)


LONG_TO_COMPILE = ("rlsample/Foraging-v0", "rlsample/Acrobot-v1")
UNDER_XLA = [
    pytest.param(name, marks=pytest.mark.slow) if name in LONG_TO_COMPILE else name for name in DIFFERENTIABLE_ENVS
]


def smooth_return(env, state, sequence):
    """Rewards plus a curved function of each state along the way, so that every path to the action counts: `[B]`."""
    total = tf.zeros(sequence[0].shape[0], env.dtype)
    for t, action in enumerate(sequence):
        state, _, reward, _ = env.step(state, action, seed_of(2, t))
        floats = [leaf for leaf in tf.nest.flatten(state) if leaf.dtype.is_floating]
        total += reward
        for leaf in floats:
            flat = tf.reshape(leaf, [leaf.shape[0], -1])
            weights = tf.cast(tf.range(1, flat.shape[1] + 1), env.dtype)
            total += tf.linalg.matvec(tf.sin(flat) + tf.square(flat), weights)
    return total


@pytest.mark.parametrize("name", DIFFERENTIABLE_ENVS)
@pytest.mark.thinned(2)
def test_gradients_along_relaxed_actions_match_finite_differences(name):
    env, num_envs, step = functional_env(name, dtype="float64"), 3, 1e-5
    generator = np.random.default_rng(4)
    state = starting_state(name, env, num_envs)
    sequence = tf.stack([relaxed_actions(env, num_envs, generator) for _ in range(STEPS)])

    @tf.function
    def value_and_gradient(sequence):
        with tf.GradientTape() as tape:
            tape.watch(sequence)
            value = smooth_return(env, state, tf.unstack(sequence))
        return value, tape.gradient(value, sequence)

    _, gradient = value_and_gradient(sequence)
    assert np.abs(gradient.numpy()).max() > 1e-3
    for _ in range(5):
        # Any direction will do: the map is defined off the simplex as well. Environments do not see each other.
        direction = tf.constant(generator.normal(size=sequence.shape))
        ahead, behind = (value_and_gradient(sequence + sign * step * direction)[0] for sign in (1, -1))
        slope = tf.reduce_sum(gradient * direction, axis=[0, *range(2, sequence.shape.rank)])
        np.testing.assert_allclose((ahead - behind) / (2 * step), slope, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", UNDER_XLA)
def test_gradients_are_the_same_under_xla(name):
    env = functional_env(name)
    state = tf.nest.map_structure(
        lambda leaf: tf.cast(leaf, env.dtype) if leaf.dtype.is_floating else leaf, starting_state(name, env, 4)
    )
    sequence = tf.stack([relaxed_actions(env, 4, np.random.default_rng(t)) for t in range(2)])

    def gradient(sequence):
        with tf.GradientTape() as tape:
            tape.watch(sequence)
            value = smooth_return(env, state, tf.unstack(sequence))
        return tape.gradient(value, sequence)

    np.testing.assert_allclose(
        tf.function(gradient, jit_compile=True)(sequence), tf.function(gradient)(sequence), rtol=1e-3, atol=1e-4
    )


def test_rewards_of_linear_tasks_carry_gradients_themselves():
    for name in ("Bandit-v0", "Identity-v0", "MultiDiscrete-v0", "RaggedDict-v0", "GridWorld-v0", "TMaze-v0"):
        env = functional_env(f"rlsample/{name}")
        assert env.differentiable
        state, action = env.initial(seed_of(1), 2), relaxed_actions(env, 2, np.random.default_rng(0))
        with tf.GradientTape() as tape:
            tape.watch(action)
            reward = env.step(state, action, seed_of(2)).reward
        assert tape.gradient(reward, action) is not None


@pytest.mark.parametrize("name", MINIATURE_GAMES)
def test_games_say_that_they_have_no_gradient(name):
    env = functional_env(name)
    assert not env.differentiable
    action = relaxed_actions(env, 2, np.random.default_rng(0))
    with tf.GradientTape() as tape:
        tape.watch(action)
        step = env.step(env.initial(seed_of(1), 2), action, seed_of(2))
    assert tape.gradient([step.reward, step.observation], action) is None


def exact_by_enumeration(env, logits, state):
    """Gradient of the expected reward, through the rewards of all actions."""
    rewards = tf.stack(
        [env.reward(state, tf.fill([len(logits)], k), state, seed_of(0)) for k in range(logits.shape[1])], 1
    )
    with tf.GradientTape() as tape:
        tape.watch(logits)
        expected = tf.reduce_sum(tf.nn.softmax(logits) * rewards, axis=1)
    return expected, tape.gradient(expected, logits)


@pytest.mark.parametrize("name", ["rlsample/Bandit-v0", "rlsample/Identity-v0"])
def test_closed_forms_match_enumeration(name):
    env = functional_env(name, dtype="float64")
    logits = tf.constant(np.random.default_rng(5).normal(size=(6, env.factors.num_categories)))
    state = env.initial(seed_of(3), 6)
    arguments = (logits,) if name == "rlsample/Bandit-v0" else (logits, state)
    expected, gradient = exact_by_enumeration(env, logits, state)
    np.testing.assert_allclose(env.expected_reward(*arguments), expected, rtol=1e-12)
    np.testing.assert_allclose(env.exact_gradient(*arguments), gradient, rtol=1e-10, atol=1e-14)


def test_gridworld_gradient_of_independent_moves_is_exact():
    """The relaxed walk's reward is the expectation over all hard walks, and so is its gradient."""
    env = functional_env("rlsample/GridWorld-v0", layout=("S..", ".#.", "..G"), dtype="float64")
    logits = tf.constant(np.random.default_rng(6).normal(size=(4, 1, 4)))

    def total(sequence):
        state = env.initial(seed_of(1), sequence[0].shape[0])
        rewards = []
        for action in sequence:
            state, _, reward, _ = env.step(state, action, seed_of(2))
            rewards.append(reward)
        return tf.add_n(rewards)

    walks = tf.constant(list(itertools.product(range(4), repeat=4)))  # [256, 4]
    returns = total(tf.unstack(walks, axis=1))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        log_probs = tf.nn.log_softmax(logits[:, 0])
        log_prob = tf.add_n([tf.gather(log_probs[t], walks[:, t]) for t in range(4)])
        enumerated = tf.reduce_sum(tf.exp(log_prob) * returns)
        relaxed = total(tf.unstack(tf.nn.softmax(logits)))[0]
    np.testing.assert_allclose(relaxed, enumerated, rtol=1e-12)
    np.testing.assert_allclose(tape.gradient(relaxed, logits), tape.gradient(enumerated, logits), rtol=1e-9, atol=1e-13)


def test_gradients_stop_at_a_reset():
    env = functional_env("rlsample/CartPole-v1")
    action = one_hots(env, tf.constant([0, 1]))
    with tf.GradientTape() as tape:
        tape.watch(action)
        state = env.transition(env.initial(seed_of(1), 2), action)
        total = tf.reduce_sum(env.reset_where(tf.constant([True, False]), state, seed_of(2)))
    gradient = tape.gradient(total, action).numpy()
    assert (gradient[0] == 0).all()
    assert (gradient[1] != 0).all()
