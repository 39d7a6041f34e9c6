"""Collecting from Gymnasium: the same transitions whatever the autoreset mode, and nothing broken gets through."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

from rlsample import networks, spaces
from rlsample.learning.replay import Replay
from rlsample.rollouts.environments.observations import read
from rlsample.rollouts.gymnasium_collector import GymnasiumCollector


class Countdown(gym.Env):
    """Counts up from 10 * episode; terminates after `length` steps, and is truncated by its wrapper after `limit`."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)

    def __init__(self, length=4, reward=1.0, mask=False):
        self.action_space = gym.spaces.Discrete(3, start=5)
        self.length, self.reward, self.with_mask, self.episode = length, reward, mask, -1

    def _info(self):
        return {"action_mask": np.array([1, self.count % 2, 1], np.int8)} if self.with_mask else {}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.count = self.episode + 1, 0
        return np.array([10.0 * self.episode], np.float32), self._info()

    def step(self, action):
        assert self.action_space.contains(int(action)), action
        self.count += 1
        observation = np.array([10.0 * self.episode + self.count], np.float32)
        return observation, self.reward, self.count >= self.length, False, self._info()


def make(mode, num_envs=2, limit=None, **kwargs):
    def one():
        env = Countdown(**kwargs)
        return gym.wrappers.TimeLimit(env, limit) if limit else env

    return gym.vector.SyncVectorEnv([one] * num_envs, autoreset_mode=mode)


def collect(mode, steps, **kwargs):
    envs = make(mode, **kwargs)
    collector = GymnasiumCollector(envs, spaces.factorise(envs.single_action_space), seed=0)
    return collector, [collector.step(np.full(envs.num_envs, 1, np.int32)) for _ in range(steps)]


def rows(transitions):
    found = []
    for t in transitions:
        for i in np.flatnonzero(t.valid):
            found.append((t.observation[i, 0], t.next_observation[i, 0], t.reward[i], t.terminated[i], t.truncated[i]))
    return found


@pytest.mark.parametrize("limit", [None, 3])
def test_autoreset_modes_give_the_same_transitions(limit):
    _, next_step = collect(gym.vector.AutoresetMode.NEXT_STEP, 25, limit=limit)
    _, same_step = collect(gym.vector.AutoresetMode.SAME_STEP, 20, limit=limit)
    expected = rows(same_step)
    assert rows(next_step)[: len(expected)] == expected[: len(rows(next_step))]
    length = limit or 4
    ends = [row for row in expected if row[3] or row[4]]
    assert all(row[1] % 10 == length for row in ends), "the final observation is the episode's own"
    assert all(row[4] == (limit is not None) for row in ends), "a time limit truncates, it does not terminate"


def test_the_row_that_resets_is_not_valid():
    _, transitions = collect(gym.vector.AutoresetMode.NEXT_STEP, 12, num_envs=1)
    valid = [bool(t.valid[0]) for t in transitions]
    assert valid == [True] * 4 + [False] + [True] * 4 + [False] + [True] * 2


def test_episode_statistics():
    collector, _ = collect(gym.vector.AutoresetMode.NEXT_STEP, 12, num_envs=2, reward=0.5)
    metrics = collector.pop_episodes()
    assert metrics.pop("charts/unfinished_length") < 4
    assert metrics == {"charts/episodes": 4.0, "charts/episodic_return": 2.0, "charts/episodic_length": 4.0}
    assert collector.pop_episodes().keys() == {"charts/unfinished_length"}


@pytest.mark.parametrize("mode", [gym.vector.AutoresetMode.NEXT_STEP, gym.vector.AutoresetMode.SAME_STEP])
def test_masks_are_those_of_the_observation(mode):
    _, transitions = collect(mode, 10, num_envs=1, mask=True)
    for t in transitions:
        if t.valid[0]:
            assert t.mask[0, 1] == (t.observation[0, 0] % 10 % 2 == 1)
            if not t.terminated[0]:
                assert t.next_mask[0, 1] == (t.next_observation[0, 0] % 10 % 2 == 1)


def test_broken_rewards_and_observations_are_refused():
    with pytest.raises(ValueError, match=r"finite rewards of at most 1e\+18. Received: environment=0, reward=nan"):
        collect(gym.vector.AutoresetMode.NEXT_STEP, 1, reward=float("nan"))
    space = gym.spaces.Box(-1, 1, (2,))
    with pytest.raises(ValueError, match=r"finite observations. Received: environment=1"):
        read(space, np.array([[0, 0], [np.inf, -np.inf]], np.float32))


def test_disabled_autoreset_is_refused():
    with pytest.raises(ValueError, match="reset themselves"):
        collect(gym.vector.AutoresetMode.DISABLED, 1)


def test_observations_of_every_kind_keep_their_shape_and_become_features_in_the_network():
    space = gym.spaces.Dict(
        position=gym.spaces.Box(-1, 1, (2, 2)),
        kind=gym.spaces.Discrete(3, start=1),
        flags=gym.spaces.MultiBinary(2),
        both=gym.spaces.Tuple([gym.spaces.MultiDiscrete([2, 3])]),
    )
    batch = {
        "position": np.zeros((2, 2, 2)),
        "kind": np.array([1, 3]),
        "flags": np.array([[0, 1], [1, 1]]),
        "both": (np.array([[1, 0], [0, 2]]),),
    }
    observation = read(space, batch)
    kinds = tf.nest.map_structure(lambda part: (part.dtype.name, part.shape), observation)
    assert kinds["position"] == ("float32", (2, 2, 2))
    assert kinds["kind"] == ("int32", (2,))
    assert kinds["flags"] == ("bool", (2, 2))
    assert kinds["both"] == (("int32", (2, 2)),)
    model = networks.model_of(networks.create({"name": "mlp", "hidden_sizes": []}), space)
    features = model(tf.nest.map_structure(tf.constant, observation)).numpy()
    # Keras and tf.nest take the entries of a dict in the order of their keys.
    bounds = {"both": (0, 5), "flags": (5, 7), "kind": (7, 10), "position": (10, 14)}
    parts = {key: features[:, slice(*ends)] for key, ends in bounds.items()}
    np.testing.assert_array_equal(parts["both"], [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]])
    np.testing.assert_array_equal(parts["kind"], [[1, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(parts["flags"], [[0, 1], [1, 1]])
    with pytest.raises(ValueError, match=r"observation\['words'\]=Text.*A network reads no text. .*env.wrappers"):
        networks.create().fitted(gym.spaces.Dict(words=gym.spaces.Text(3)))


def test_replay_keeps_the_newest_rows():
    replay = Replay(5)
    with pytest.raises(ValueError, match="holds rows"):
        replay.sample(np.random.default_rng(0), (1,))
    for start in (0, 3, 6):
        replay.add({"x": np.arange(start, start + 3)})
    replay.add({"x": np.arange(0)})
    assert len(replay) == 5
    drawn = replay.sample(np.random.default_rng(0), (40, 10))["x"]
    assert drawn.shape == (40, 10)
    assert set(drawn.ravel()) == {4, 5, 6, 7, 8}
    with pytest.raises(ValueError, match="at most capacity=5 rows"):
        replay.add({"x": np.arange(6)})
