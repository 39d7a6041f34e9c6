"""The three ports against Gymnasium's own environments, step by step."""

import math

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

from tests.helpers_envs import PORTS, functional_env, seed_of

TRAJECTORIES = 1000
# Starts are drawn far from those of an episode too, so that clips, wraps, walls and both ends are met.
WIDE_STARTS = {
    "CartPole-v1": ([-2.4, -3.0, -0.2, -3.0], [2.4, 3.0, 0.2, 3.0]),
    "Acrobot-v1": ([-math.pi, -math.pi, -12.0, -28.0], [math.pi, math.pi, 12.0, 28.0]),
    "MountainCar-v0": ([-1.2, -0.07], [0.6, 0.07]),
}


def margin(name, env, state):
    """Distance of a state from the nearest threshold that ends an episode."""
    if name == "CartPole-v1":
        return np.minimum(abs(abs(state[:, 0]) - 2.4), abs(abs(state[:, 2]) - math.radians(12)))
    if name == "Acrobot-v1":
        return abs(-np.cos(state[:, 0]) - np.cos(state[:, 0] + state[:, 1]) - 1.0)
    return np.minimum(abs(state[:, 0] - 0.5), abs(state[:, 1] - env.goal_velocity))


def record(name, max_steps, **arguments):
    """Transitions of 1,000 random trajectories of Gymnasium's environment, each cut at its end.

    Returns:
        state, action, next_state, reward, terminated, each with one row per transition, and the row's time.
    """
    env, generator = gym.make(name, **arguments).unwrapped, np.random.default_rng(0)
    rows = []
    for trajectory in range(TRAJECTORIES):
        env.reset(seed=trajectory)
        if trajectory % 2:
            env.state = generator.uniform(*WIDE_STARTS[name])
        for time in range(max_steps):
            state, action = np.array(env.state, np.float64), int(generator.integers(env.action_space.n))
            _, reward, terminated, _, _ = env.step(action)
            rows.append((state, action, np.array(env.state, np.float64), reward, terminated, time))
            if terminated:
                break
    return tuple(np.array(column) for column in zip(*rows, strict=True))


def assert_agrees(name, env, recorded, tolerance):
    state, action, next_state, reward, terminated, _ = recorded
    step = env.step(tf.constant(state, env.dtype), tf.constant(action, tf.int32), seed_of(0))
    difference = step.state.numpy() - next_state
    if name == "Acrobot-v1":  # -pi and pi are one angle
        difference[:, :2] = (difference[:, :2] + math.pi) % (2 * math.pi) - math.pi
        assert abs(step.state.numpy()[:, :2]).max() <= math.pi + 1e-6
    np.testing.assert_array_less(abs(difference), tolerance * (1 + abs(next_state)))
    clear = margin(name, env, next_state) > 10 * tolerance
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(step.terminated.numpy()[clear], terminated[clear])
    np.testing.assert_array_equal(step.reward.numpy()[clear], reward[clear])


def check_port(name, max_steps, **arguments):
    recorded = record(name, max_steps, **arguments)
    assert recorded[4].any()
    # One Runge-Kutta step of Acrobot at full speed amplifies the last bit of float32 a hundredfold.
    single = 2e-4 if name == "Acrobot-v1" else 1e-6
    for dtype, tolerance in (("float64", 1e-11), ("float32", single)):
        assert_agrees(name, functional_env(f"rlsample/{name}", dtype=dtype, **arguments), recorded, tolerance)


@pytest.mark.parametrize("name", PORTS)
def test_every_step_agrees_with_gymnasium(name):
    check_port(name, max_steps=25)


@pytest.mark.slow
@pytest.mark.parametrize("name", PORTS)
def test_every_step_of_whole_episodes_agrees_with_gymnasium(name):
    check_port(name, max_steps=500)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("CartPole-v1", {"sutton_barto_reward": True}), ("MountainCar-v0", {"goal_velocity": 0.03})],
)
def test_arguments_agree_with_gymnasium(name, arguments):
    check_port(name, max_steps=10, **arguments)


def test_acrobot_of_the_paper_agrees_with_gymnasium(monkeypatch):
    from gymnasium.envs.classic_control.acrobot import AcrobotEnv

    monkeypatch.setattr(AcrobotEnv, "book_or_nips", "nips")
    recorded = record("Acrobot-v1", 10)
    assert_agrees(
        "Acrobot-v1", functional_env("rlsample/Acrobot-v1", book_or_nips="nips", dtype="float64"), recorded, 1e-11
    )
    book = functional_env("rlsample/Acrobot-v1", dtype="float64")
    with pytest.raises(AssertionError):
        assert_agrees("Acrobot-v1", book, recorded, 1e-11)


@pytest.mark.parametrize("name", PORTS)
def test_trajectories_stay_together_without_help(name):
    state, action, next_state, _, _, time = record(name, 20)
    env = functional_env(f"rlsample/{name}", dtype="float64")
    step = tf.function(lambda state, action: env.transition(state, action), reduce_retracing=True)
    starts = np.flatnonzero(time == 0)
    lengths = np.diff(np.append(starts, len(time)))
    current = state[starts]
    for t in range(20):
        alive = lengths > t
        rows = starts[alive] + t
        current[alive] = step(tf.constant(current[alive]), tf.constant(action[rows], tf.int32)).numpy()
        difference = current[alive] - next_state[rows]
        if name == "Acrobot-v1":
            difference[:, :2] = (difference[:, :2] + math.pi) % (2 * math.pi) - math.pi
        assert abs(difference).max() < 1e-6


@pytest.mark.parametrize("name", PORTS)
def test_spaces_and_starts_agree_with_gymnasium(name):
    ours, theirs = gym.make(f"rlsample/{name}"), gym.make(name)
    assert ours.action_space == theirs.action_space
    assert ours.observation_space == theirs.observation_space
    functional = functional_env(f"rlsample/{name}")
    drawn = functional.initial(seed_of(1), 4000).numpy()
    reset = np.array([theirs.reset(seed=seed) and theirs.unwrapped.state for seed in range(1000)])
    span = max(functional.bounds[1] - functional.bounds[0], 1e-9)
    # The extremes of 1,000 uniform draws are within 2 % of the bounds but for a chance of 4e-9 a column.
    np.testing.assert_allclose(drawn.min(0), reset.min(0), atol=0.02 * span)
    np.testing.assert_allclose(drawn.max(0), reset.max(0), atol=0.02 * span)


@pytest.mark.parametrize("name", PORTS)
def test_observations_agree_with_gymnasium(name):
    ours, theirs = gym.make(f"rlsample/{name}").unwrapped, gym.make(name).unwrapped
    theirs.reset(seed=0)
    ours.state = theirs.state
    for action in (0, 1, 1, 0):
        np.testing.assert_allclose(ours.step(action)[0], theirs.step(action)[0], atol=1e-6)
