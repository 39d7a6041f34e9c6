"""Rollouts: the same rows from either collector, and the right value after every row."""

from __future__ import annotations

import functools

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

from rlsample.in_graph.environment import FunctionalEnv
from rlsample.in_graph.gymnasium_faces import GymEnv, GymVectorEnv
from rlsample.learning.returns import generalized_advantage_estimation
from rlsample.rollouts.gymnasium_collector import GymnasiumCollector
from rlsample.rollouts.in_graph_collector import InGraphCollector
from rlsample.rollouts.transitions import to_rollout

LIMIT = 5
QUITS_AT = 3


class Script(FunctionalEnv):
    """Counts steps. Lane 0 quits (action 1) after three; other lanes go on until time runs out. Both are legal, or
    from time 1 on only the action that will be taken.
    """

    max_episode_steps = LIMIT

    def __init__(self, lane=0, masked=False):
        super().__init__(gym.spaces.Discrete(2, start=7), gym.spaces.Box(0, 100, (2,)))
        self.lane, self.masked = lane, masked

    def initial(self, seed, num_envs=1):
        return tf.stack([tf.zeros([num_envs]), tf.range(num_envs, dtype=tf.float32) + self.lane], 1)

    def transition(self, state, action, seed=None):
        quits = self.action_weights(action)[:, 1:]
        return state + tf.constant([1.0, 0.0]) + quits * [50.0, 0.0]

    def observation(self, state, seed=None):
        return state

    def reward(self, state, action, next_state, seed=None):
        return state[:, 0] + 1

    def terminal(self, state, seed=None):
        return state[:, 0] >= 50

    def action_mask(self, state):
        quits = act(state)[:, None]
        return tf.concat([quits == 0, (quits == 1) | (state[:, :1] < 1)], 1) if self.masked else None


def act(observation, mask=None, seed=None):
    return tf.cast((observation[:, 0] == QUITS_AT - 1) & (observation[:, 1] == 0), tf.int32)


def value(observation):
    return 100.0 * observation[..., 1] + observation[..., 0]


def evaluate(transitions):
    return to_rollout(
        tf.nest.map_structure(lambda column: column if column is None else tf.convert_to_tensor(column), transitions),
        lambda observation, mask, action: tf.cast(action, tf.float32) - 1.0,
        value,
    )


@functools.cache
def in_graph(num_steps=12, masked=False, jit_compile=True):
    """Two lanes of the script: the rollout, what is running and what has finished."""
    env = Script(masked=masked)
    collector = InGraphCollector(env, 2, env.max_episode_steps)

    @functools.partial(tf.function, jit_compile=jit_compile, autograph=False)
    def program(seed):
        transitions, running, finished = collector.collect(act, collector.start(seed), num_steps, seed)
        return evaluate(transitions), running, finished

    return program(tf.constant([1, 2]))


def stepped(envs, num_steps):
    collector = GymnasiumCollector(envs, Script().factors, seed=0)
    policy = lambda observation, mask: act(observation).numpy()  # noqa: E731
    return evaluate(collector.collect(policy, num_steps))


def rows(data, lane):
    """The valid rows of a lane, one tuple each; the value after a terminated row has no meaning."""
    valid = np.ones(data.reward.shape[0], bool) if data.valid is None else np.asarray(data.valid)[:, lane]
    columns = [np.asarray(getattr(data, name))[valid, lane] for name in data._fields if name not in ("mask", "valid")]
    named = [
        dict(zip([n for n in data._fields if n not in ("mask", "valid")], row, strict=True))
        for row in zip(*columns, strict=True)
    ]
    for row in named:
        row["observation"] = row["observation"].tolist()
        row["next_value"] = 0.0 if row["terminated"] else row["next_value"]
    return named


@pytest.mark.parametrize("jit_compile", [False, True])
def test_in_graph_episodes_end_and_bootstrap_as_they_should(jit_compile):
    data, running, finished = in_graph(jit_compile=jit_compile)
    quitter, stayer = rows(data, 0), rows(data, 1)
    assert [row["observation"][0] for row in quitter] == [0, 1, 2] * 4
    assert [row["terminated"] for row in quitter] == [False, False, True] * 4
    assert not any(row["truncated"] for row in quitter)
    assert [row["observation"][0] for row in stayer] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    assert [row["truncated"] for row in stayer] == [t % LIMIT == LIMIT - 1 for t in range(12)]
    # The value of time 5, which no row of the rollout holds, and of time 2 after the last row.
    assert [row["next_value"] for row in stayer] == [100 + t % LIMIT + 1 for t in range(12)]
    np.testing.assert_array_equal(finished.count, [4, 2])
    np.testing.assert_array_equal(finished.score, [4 * 6, 2 * 15])
    np.testing.assert_array_equal(finished.length, [12, 10])
    np.testing.assert_array_equal(running.length, [0, 2])
    np.testing.assert_array_equal(running.score, [0, 3])


def test_a_rollout_goes_on_where_the_last_one_stopped():
    env = Script(lane=1)
    collector = InGraphCollector(env, 1, LIMIT)
    running, seen = collector.start(tf.constant([1, 2])), []
    for _ in range(4):
        transitions, running, _ = collector.collect(act, running, 3, tf.constant([3, 4]))
        seen += transitions.observation[:, 0, 0].numpy().tolist()
    assert seen == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]


@pytest.mark.parametrize("mode", ["native", "NEXT_STEP", "SAME_STEP"])
def test_gymnasium_gives_the_same_rows(mode):
    def make(lane):
        return gym.wrappers.TimeLimit(GymEnv(Script(lane)), LIMIT)

    if mode == "native":
        envs = GymVectorEnv(Script(), 2, max_episode_steps=LIMIT)
    else:
        makers = [functools.partial(make, lane) for lane in (0, 1)]
        envs = gym.vector.SyncVectorEnv(makers, autoreset_mode=gym.vector.AutoresetMode[mode])
    outside, (inside, _, _) = stepped(envs, 12), in_graph()
    for lane in range(2):
        theirs, ours = rows(outside, lane), rows(inside, lane)
        assert len(theirs) >= 9
        assert theirs == ours[: len(theirs)]
    assert {"NEXT_STEP": 5, "native": 5, "SAME_STEP": 0}[mode] == np.sum(~outside.valid.numpy())


def test_rows_without_an_action_leave_the_advantages_of_others_alone():
    outside = stepped(GymVectorEnv(Script(), 2, max_episode_steps=LIMIT), 12)
    inside, _, _ = in_graph()

    def advantages(data, lane):
        columns = (data.reward, data.value, data.next_value, data.terminated, data.truncated)
        result = generalized_advantage_estimation(*columns, 0.9, 0.8).numpy()[:, lane]
        return result if data.valid is None else result[data.valid.numpy()[:, lane]]

    for lane, complete in ((0, 9), (1, 10)):  # rows up to the last end that both hold
        np.testing.assert_allclose(advantages(outside, lane)[:complete], advantages(inside, lane)[:complete], rtol=1e-6)


def test_no_time_limit():
    collector = InGraphCollector(Script(lane=1), 1, None)
    transitions, _, _ = collector.collect(act, collector.start(tf.constant([1, 2])), 12, tf.constant([3, 4]))
    assert not transitions.truncated.numpy().any()
    assert transitions.observation[-1, 0, 0] == 11


def test_masks_are_those_of_the_row_acted_in():
    data, _, _ = in_graph(6, masked=True)
    np.testing.assert_array_equal(data.mask[:3, 0], [[True, True], [True, False], [False, True]])
    np.testing.assert_array_equal(data.mask[:3, 1], [[True, True], [True, False], [True, False]])


def test_only_arrays_are_observed_in_the_graph():
    env = Script()
    env.observation_space = gym.spaces.Text(3)
    with pytest.raises(ValueError, match=r"Expected observations that are Box, .* Received: .*Text"):
        InGraphCollector(env, 1)
    with pytest.raises(ValueError, match="Expected num_envs to be a whole number >= 1"):
        InGraphCollector(Script(), 0)
