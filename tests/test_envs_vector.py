"""The native vector face: autoreset, time limits and infos as Gymnasium's SyncVectorEnv has them."""

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rlsample.spaces import factorise
from tests.helpers_envs import ALL_ENVS, assert_equal_states

NUM_ENVS = 3


def make_pair(name, max_episode_steps, **arguments):
    native = gym.make_vec(f"rlsample/{name}", NUM_ENVS, max_episode_steps=max_episode_steps, **arguments)
    sync = gym.make_vec(f"rlsample/{name}", NUM_ENVS, "sync", max_episode_steps=max_episode_steps, **arguments)
    return native, sync


def assert_equal_infos(left, right):
    assert left.keys() == right.keys()
    for key, value in left.items():
        if isinstance(value, dict):
            assert_equal_infos(value, right[key])
        elif value.dtype == object:
            assert_equal_states(list(value), list(right[key]))
        else:
            assert value.dtype == right[key].dtype
            np.testing.assert_array_equal(value, right[key])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        # Starts without chance, so that both can be compared number by number.
        ("CartPole-v1", {"low": 0.04, "high": 0.04}),
        ("MountainCar-v0", {"low": 0.49, "high": 0.49}),
        ("GridWorld-v0", {"layout": ("S.", ".G")}),
        ("Bandit-v0", {}),
    ],
)
def test_a_scripted_run_equals_sync_vector_env(name, arguments):
    native, sync = make_pair(name, 13, **arguments)
    assert isinstance(sync, SyncVectorEnv)
    assert native.metadata["autoreset_mode"] is sync.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert native.action_space == sync.action_space
    assert native.observation_space == sync.observation_space
    np.testing.assert_array_equal(native.reset(seed=1)[0], sync.reset(seed=1)[0])
    ends = np.zeros(2, int)
    for t in range(60):
        # The first environment always takes the last action, so that episodes end at different times.
        actions = np.random.default_rng(t).integers(native.single_action_space.n, size=NUM_ENVS)
        actions[0] = native.single_action_space.n - 1
        ours, theirs = native.step(actions), sync.step(actions)
        for mine, other in zip(ours[:4], theirs[:4], strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-6)
        assert_equal_infos(ours[4], theirs[4])
        ends += [ours[2].sum(), ours[3].sum()]
    assert (ends > 0).all() or name == "Bandit-v0"


def test_autoreset_row_by_row():
    envs = gym.make_vec("rlsample/CartPole-v1", 2, max_episode_steps=3)
    envs.reset(seed=0)
    push = np.array([1, 0])
    for expected in ([False, False], [False, False], [True, True]):
        last, reward, terminated, truncated, _ = envs.step(push)
        assert truncated.tolist() == expected
        assert not terminated.any()
        assert reward.tolist() == [1.0, 1.0]
    first, reward, terminated, truncated, _ = envs.step(push)
    assert reward.tolist() == [0.0, 0.0]
    assert not terminated.any()
    assert not truncated.any()
    assert (abs(first) <= 0.05).all()
    assert not np.allclose(first, last)
    assert [envs.step(push)[3].any() for _ in range(3)] == [False, False, True]


def test_a_fall_ends_only_its_own_episode():
    envs = gym.make_vec("rlsample/CartPole-v1", 2)
    envs.reset(seed=0)
    state = envs.state
    state[1] = [0.0, 0.0, 0.2094, 3.0]
    envs.state = state
    assert envs.step(np.array([0, 1]))[2].tolist() == [False, True]
    before = envs.state
    observation, reward, *_ = envs.step(np.array([0, 1]))
    assert reward.tolist() == [1.0, 0.0]
    assert abs(observation[1]).max() <= 0.05
    assert not np.allclose(observation[0], before[0])


@pytest.mark.parametrize("name", ALL_ENVS)
@pytest.mark.thinned(2)
def test_seeds_decide_everything(name):
    def run(seed):
        envs = gym.make_vec(name, num_envs=4, max_episode_steps=5)
        observations = [envs.reset(seed=seed)[0]]
        envs.action_space.seed(0)
        rewards = []
        for _ in range(14):
            observation, reward, *_ = envs.step(envs.action_space.sample())
            assert observation in envs.observation_space
            observations.append(observation)
            rewards.append(reward)
        return np.array(observations), np.array(rewards)

    assert_equal_states(run(3), run(3))
    if name not in ("rlsample/Bandit-v0", "rlsample/Coordination-v0", "rlsample/GridWorld-v0"):  # these know no chance
        assert not np.array_equal(run(3)[0], run(4)[0])


@pytest.mark.parametrize("num_envs", [None, 2])
def test_each_step_draws_anew(num_envs):
    make = gym.make if num_envs is None else lambda name: gym.make_vec(name, num_envs)
    env = make("rlsample/Identity-v0")
    env.reset(seed=0)
    action = env.action_space.sample()
    shown = {env.step(action)[0].tobytes() for _ in range(20)}
    assert len(shown) > 2


def test_a_reset_without_seed_starts_differently():
    envs = gym.make_vec("rlsample/CartPole-v1", num_envs=2)
    one, other = envs.reset(seed=5)[0], envs.reset()[0]
    assert not np.allclose(one, other)
    assert not np.allclose(one[0], one[1])


@pytest.mark.parametrize("name", ["rlsample/GridWorld-v0", "rlsample/RaggedDict-v0"])
def test_masks_are_legal_readable_and_those_of_the_state(name):
    envs = gym.make_vec(name, num_envs=5)
    factors = factorise(envs.single_action_space)
    _, info = envs.reset(seed=0)
    for _ in range(8):
        mask = factors.mask(info["action_mask"], batch=5, present=info["_action_mask"])
        in_graph = envs.unwrapped.functional.action_mask(tf.nest.map_structure(tf.constant, envs.state))
        np.testing.assert_array_equal(mask, in_graph)
        scores = np.random.default_rng(0).random(mask.shape) * mask
        info = envs.step(factors.to_env(scores.argmax(-1)))[4]


@pytest.mark.parametrize("name", ["rlsample/GridWorld-v0", "rlsample/RaggedDict-v0"])
def test_gymnasium_samples_under_the_mask(name):
    env = gym.make(name)
    factors = factorise(env.action_space)
    _, info = env.reset(seed=0)
    for _ in range(20):
        action = env.action_space.sample(mask=info["action_mask"])
        legal = factors.mask(info["action_mask"])
        chosen = factors.from_env(action)
        assert np.take_along_axis(legal, chosen[..., np.newaxis], -1).all()
        info = env.step(action)[4]


@pytest.mark.parametrize("name", ["rlsample/GridWorld-v0", "rlsample/RaggedDict-v0"])
def test_infos_equal_those_of_sync_vector_env(name):
    native = gym.make_vec(name, num_envs=2)
    sync = gym.make_vec(name, num_envs=2, vectorization_mode="sync")
    info, _ = native.reset(seed=0)[1], sync.reset(seed=0)
    states = native.state
    infos = {}
    for row, env in enumerate(sync.envs):
        env.unwrapped.state = tf.nest.map_structure(lambda leaf, row=row: leaf[row], states)
        mask = env.unwrapped.functional.action_mask(env.unwrapped.stepper.state)
        infos = sync._add_info(infos, env.unwrapped._info(mask.numpy().reshape(1, -1, mask.shape[-1])), row)
    assert_equal_infos(info, infos)


def test_rendering_gives_a_frame_each():
    envs = gym.make_vec("rlsample/GridWorld-v0", num_envs=2, render_mode="rgb_array")
    envs.reset(seed=0)
    frames = envs.render()
    assert len(frames) == 2
    assert frames[0].dtype == np.uint8
    assert gym.make_vec("rlsample/GridWorld-v0", num_envs=2).render() is None


@pytest.mark.parametrize("actions", [np.array([0, 2]), np.array([0]), np.array([0.0, 1.0]), 1])
def test_bad_batches_are_refused(actions):
    envs = gym.make_vec("rlsample/CartPole-v1", num_envs=2)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r"Expected .*action.* Received: "):
        envs.step(actions)


def test_a_state_that_runs_away_is_an_error_naming_the_row():
    envs = gym.make_vec("rlsample/CartPole-v1", num_envs=3)
    envs.reset(seed=0)
    state = envs.state
    state[1, 3] = 3e38
    envs.state = state
    with pytest.raises(ValueError, match=r"Expected finite states and rewards. Received: rows=\[1\]"):
        envs.step(np.zeros(3, int))


@pytest.mark.parametrize("num_envs", [0, -1, 1.5])
def test_a_count_of_environments_is_at_least_one(num_envs):
    with pytest.raises(ValueError, match="num_envs to be a whole number >= 1"):
        gym.make_vec("rlsample/CartPole-v1", num_envs=num_envs)
