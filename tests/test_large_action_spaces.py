"""Thousands of actions: masks kept as bits and each once; one action valued by its own weights alone."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

from rlsample import networks
from rlsample.learning.critics import MANY, ConcatenatingCritic, LinearCritic
from rlsample.learning.mask_columns import MaskColumns
from rlsample.learning.replay import Replay
from rlsample.networks.flat import FlatNetwork
from tests.helpers_agents import AGENTS, small_config
from tests.helpers_runs import Silent

NAMES = ("mask", "next_mask")


def chain(count, width, seed=0, kinds=5):
    """Masks `[count + 1, width]`, some of them the same; each step ends with that of the next one."""
    generator = np.random.default_rng(seed)
    masks = (generator.random((kinds, width)) < 0.5)[generator.integers(kinds, size=count + 1)]
    masks[:, 0] = True
    return masks


@pytest.mark.parametrize("shape", [(3,), (2, 9), (1000,)])
def test_masks_are_kept_as_bits_and_each_different_one_once(shape):
    capacity, width = 7, int(np.prod(shape))
    masks, columns = chain(40, width).reshape(41, *shape), MaskColumns(capacity, NAMES)
    plain = {name: np.zeros((capacity, *shape), bool) for name in NAMES}
    for first in range(0, 40, 2):
        places, size = np.arange(first, first + 2) % capacity, min(first, capacity)
        rows = {"mask": masks[first : first + 2], "next_mask": masks[first + 1 : first + 3]}
        columns.set(places, rows, size)
        for name in NAMES:
            plain[name][places] = rows[name]
        there = np.arange(min(first + 2, capacity))
        for name, bits in columns.at(there).items():
            np.testing.assert_array_equal(bits, np.packbits(plain[name][there], -1))
        every = np.concatenate([plain[name][there] for name in NAMES])
        assert columns.different == len(np.unique(np.packbits(every, -1).reshape(len(every), -1), axis=0))


def test_a_long_replay_of_wide_masks_takes_an_eighth_of_a_byte_for_each_flag_and_step():
    """Every mask another: half of what both columns would take as bits."""
    capacity, width = 500, 10_000
    masks = np.random.default_rng(0).random((capacity + 1, width)) < 0.5
    columns = MaskColumns(capacity, NAMES)
    for row in range(capacity):
        columns.set(np.array([row]), {"mask": masks[row : row + 1], "next_mask": masks[row + 1 : row + 2]}, row)
    assert columns.different == capacity + 1


@pytest.mark.parametrize("name", ["dqn", "relaxed_actor_critic"])
def test_a_full_replay_of_ten_thousand_actions_takes_less_than_200_megabytes_beside_its_observations(name):
    """Every step's mask another: each is there once, and a row has its number once or twice."""
    config = small_config(name, agent={"replay_capacity": 100_000})
    space, capacity = gym.spaces.Discrete(10_000), config.agent.replay_capacity
    learner = AGENTS.module(name).Learner(config, gym.spaces.Box(-1.0, 1.0, (2,)), space)
    kept = {name: spec for name, spec in learner.kept.items() if "observation" not in name}
    bits = {spec.dtype.size * int(np.prod(spec.shape)) for name, spec in kept.items() if name in NAMES}
    assert bits == {1250}
    rest = sum(spec.dtype.size for name, spec in kept.items() if name not in NAMES)
    numbers = sum(np.dtype(np.int32).itemsize for name in kept if name in NAMES)
    bookkeeping = 2 * np.dtype(np.int64).itemsize + 250  # uses of both masks; a digest, its places in a list and a dict
    assert (capacity + 1) * 1250 + capacity * (rest + numbers + bookkeeping) < 200e6


def test_nothing_is_kept_while_everything_is_legal_and_then_what_was():
    replay, legal = Replay(6, NAMES), np.ones((2, 9), bool)
    for row in range(2):
        replay.add({"value": np.full(2, row), "mask": legal, "next_mask": legal})
    assert set(replay.at(np.arange(4))) == set(replay.snapshot()[0]) == {"value"}
    other = legal & (np.arange(9) < 4)
    replay.add({"value": np.full(2, 2), "mask": legal, "next_mask": other})
    found = replay.at(np.array([0, 5]))
    np.testing.assert_array_equal(found["mask"], np.packbits(legal, -1))
    np.testing.assert_array_equal(found["next_mask"], np.packbits([legal[0], other[0]], -1))


@pytest.mark.parametrize("rows", [2, 5, 9])
@pytest.mark.parametrize("legal", [False, True])
def test_a_replay_with_masks_goes_on_from_a_snapshot(rows, legal):
    masks = chain(12, 20) | legal
    replay, copy = Replay(5, NAMES), Replay(5, NAMES)

    def row(index):
        return {"value": np.array([index]), "mask": masks[index : index + 1], "next_mask": masks[index + 1 : index + 2]}

    for index in range(rows):
        replay.add(row(index))
    copy.restore(*replay.snapshot())
    for each in (replay, copy):
        each.add(row(rows))
    drawn, again = (each.sample(np.random.default_rng(0), (50,)) for each in (replay, copy))
    assert drawn.keys() == again.keys()
    for name, column in drawn.items():
        np.testing.assert_array_equal(column, again[name])


@pytest.mark.parametrize("shape", [(MANY,), (2, MANY), (3,)])
def test_the_value_of_an_integer_is_that_of_its_one_hot_and_so_is_its_gradient(shape):
    space, network = gym.spaces.Box(-1, 1, (3,)), networks.create({"name": "mlp", "hidden_sizes": [8]})
    generator = np.random.default_rng(0)
    observation = tf.constant(generator.normal(size=(16, 3)), tf.float32)
    action = tf.constant(generator.integers(shape[-1], size=(16, *shape[:-1])), tf.int32)
    for kind in (LinearCritic, ConcatenatingCritic):
        critic = FlatNetwork(kind(network, space, shape))
        weights, values, gradients = critic.weights(), [], []
        for form in (action, tf.one_hot(action, shape[-1])):
            with tf.GradientTape() as tape:
                tape.watch(weights)
                value = critic(weights, observation, form)
                loss = tf.reduce_sum(tf.sin(value))
            values.append(value)
            gradients.append(tape.gradient(loss, weights))
        np.testing.assert_allclose(*values, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(*gradients, rtol=1e-3, atol=1e-5)


class Wide(gym.Env):
    """Pays for low numbers; every other action is legal."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, num_actions, masked=True):
        self.action_space = gym.spaces.Discrete(num_actions)
        self.legal, self.time = np.arange(num_actions) % 2 == 0 if masked else None, 0

    def info(self):
        return {} if self.legal is None else {"action_mask": self.legal.copy()}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.zeros(2, np.float32), self.info()

    def step(self, action):
        assert self.legal is None or self.legal[action]
        self.time += 1
        return np.full(2, self.time / 8, np.float32), float(action < 10), self.time == 8, False, self.info()


if "Wide-v0" not in gym.registry:
    gym.register("Wide-v0", Wide)


@pytest.mark.parametrize(
    ("name", "num_actions", "masked"),
    [
        *[(name, 1000, masked) for name in ("dqn", "relaxed_actor_critic") for masked in (True, False)],
        *(pytest.param(name, 1_000_000, True, marks=pytest.mark.slow) for name in ("dqn", "relaxed_actor_critic")),
    ],
)
def test_agents_act_legally_and_learn_among_many_actions(name, num_actions, masked):
    hyper = {"prioritized": False} if name == "dqn" else {"num_critics": 1, "audit_draws": 0}
    if num_actions > 1000:
        hyper |= {"updates_per_step": 0.25, "batch_size": 2}
    env = {"id": "Wide-v0", "num_envs": 2, "kwargs": {"num_actions": num_actions, "masked": masked}}
    config = small_config(name, env=env, agent=hyper, network={"hidden_sizes": [4]}, total_steps=48)
    run = Silent()
    AGENTS.module(name).train(config, run)
    assert run.records[-1]["update"] == round(44 * hyper.get("updates_per_step", 1))  # 4 steps of warm-up
    wide = [key for key in run.saved[-1].arrays if key.startswith("replay") and "mask" in key]
    assert bool(wide) == masked
    for key in (key for key in run.saved[-1].arrays if key.startswith("replay/")):
        array = run.saved[-1].arrays[key]
        assert array.dtype == np.uint8 or array[0].size <= 2, key
