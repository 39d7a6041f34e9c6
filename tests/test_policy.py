"""Acting on one observation and on a batch, for every pair of kinds of spaces; probabilities of what is drawn."""

from __future__ import annotations

import gymnasium as gym
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array

from rlsample import samplers
from rlsample.rollouts.environments.observations import read
from rlsample.rollouts.in_numpy.policy import NumpyPolicy, quickest_policy
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.recurrent.policy import RecurrentPolicy
from tests.helpers import ALL_SPACES, space_name

OBSERVATION_SPACES = (
    Box(-1, 1, (3,)),
    Box(-1, 1, ()),
    Box(0, 255, (2, 3), np.uint8),
    Discrete(4),
    Discrete(3, start=-1),
    MultiDiscrete([2, 4], start=[1, -3]),
    MultiDiscrete([[2, 3], [4, 2]]),
    MultiBinary(3),
    MultiBinary((2, 2)),
    Tuple((Discrete(3), Box(-1, 1, (2,)))),
    Dict(a=Box(-1, 1, (3,)), b=Tuple((MultiBinary(2), Discrete(5, start=2)))),
)
each_observation_space = pytest.mark.parametrize("space", OBSERVATION_SPACES, ids=space_name)


def observations_of(space, number=3):
    """Single observations, and the same as a batch."""
    space.seed(1)
    singles = [space.sample() for _ in range(number)]
    return singles, concatenate(space, singles, create_empty_array(space, number))


def far_from_uniform(policy):
    for number, weight in enumerate(policy.model.trainable_variables):
        weight.assign(np.random.default_rng(number).normal(size=weight.shape))
    return policy


def make_policy(space, action_space, sampler="categorical"):
    return far_from_uniform(Policy(space, action_space, samplers.create(sampler), hidden_sizes=(8,)))


def rows_of(actions, number):
    """The actions of a batch, one by one."""
    if isinstance(actions, dict):
        return [
            dict(zip(actions, row, strict=True))
            for row in zip(*(rows_of(part, number) for part in actions.values()), strict=True)
        ]
    if isinstance(actions, tuple):
        return list(zip(*(rows_of(part, number) for part in actions), strict=True))
    return list(actions)


# ---- one observation


@each_observation_space
def test_one_observation_that_is_no_batch_was_not_acted_on(space):
    acting = quickest_policy(make_policy(space, Discrete(5, start=2)))
    assert isinstance(acting, NumpyPolicy)
    singles, batch = observations_of(space)
    rows, actions = tf.nest.flatten(read(space, batch)), acting.act(batch)
    for row, single in enumerate(singles):
        for part, whole in zip(tf.nest.flatten(read(space, single)), rows, strict=True):
            np.testing.assert_array_equal(part, whole[row])
            assert part.dtype == whole.dtype
        assert acting.act(single) == actions[row]


@pytest.mark.parametrize("space", ALL_SPACES, ids=space_name)
def test_the_action_of_one_observation_is_one_of_the_space(space):
    acting = quickest_policy(make_policy(Box(-1, 1, (3,)), space))
    observations = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    actions = acting.act(observations)
    assert batch_space(space, 4).contains(actions)
    for row, observation in enumerate(observations):
        action = acting.act(observation)
        assert space.contains(action)
        np.testing.assert_equal(action, rows_of(actions, 4)[row])


@pytest.mark.parametrize("space", [ALL_SPACES[3], ALL_SPACES[7], ALL_SPACES[-1]], ids=space_name)
def test_a_policy_in_tensorflow_acts_on_one_observation_too(space):
    policy = make_policy(Box(-1, 1, (3,)), space)
    observation = np.array([0.3, -0.2, 0.1], np.float32)
    np.testing.assert_equal(policy.act(observation), quickest_policy(policy).act(observation))
    for seed in range(5):
        assert space.contains(policy.act(observation, seed=seed))
        assert space.contains(quickest_policy(policy).act(observation, seed=seed))


def test_a_python_number_is_an_observation():
    policy = make_policy(Discrete(4), Discrete(3))
    assert policy.act(2) == policy.act(np.array([0, 1, 2, 3]))[2]
    assert policy.act([2]).shape == (1,)
    assert make_policy(Box(-1, 1, ()), Discrete(3)).act(0.5) in range(3)


def test_a_step_of_an_environment_is_acted_on():
    env = gym.make("Taxi-v4")
    policy = make_policy(env.observation_space, env.action_space)
    observation, info = env.reset(seed=0)
    for _ in range(5):
        action = policy.act(observation, info["action_mask"], seed=1)
        assert info["action_mask"][action]
        observation, _, _, _, info = env.step(action)


def test_masks_of_one_observation_and_of_a_batch():
    space = Dict(x=Box(-1, 1, (2,)), action_mask=MultiBinary(5))
    policy = make_policy(space, Discrete(5, start=3))
    masks = np.eye(5, dtype=np.int8)
    single = {"x": np.zeros(2, np.float32), "action_mask": masks[4]}
    assert policy.act(single) == 7
    assert policy.act(single, mask=masks[0]) == 3
    batch = {"x": np.zeros((2, 2), np.float32), "action_mask": masks[:2]}
    np.testing.assert_array_equal(policy.act(batch), [3, 4])
    np.testing.assert_array_equal(policy.act(batch, mask=masks[2]), [5, 5])
    with pytest.raises(ValueError, match=r"mask to have batch shape \(\). Received: batch=\(2,\)"):
        policy.act(single, mask=masks[:2])


@pytest.mark.parametrize(
    ("space", "observations", "message"),
    [
        (Box(-1, 1, (3,)), np.zeros(4), r"observation to have shape \(3,\), or \(B, 3\) in a batch.*shape=\(4,\).*Box"),
        (Box(-1, 1, (3,)), np.zeros((5, 4)), r"shape=\(5, 4\)"),
        (Box(-1, 1, (3,)), np.zeros((2, 5, 3)), r"shape=\(2, 5, 3\)"),
        (Box(-1, 1, (3,)), 1.0, r"shape=\(\)"),
        (Box(-1, 1, ()), np.zeros((2, 1)), r"shape \(\), or \(B,\) in a batch"),
        (Discrete(3), np.zeros((2, 1), int), r"shape=\(2, 1\), space=Discrete\(3\)"),
        (MultiDiscrete([2, 3]), np.zeros(3, int), r"shape \(2,\), or \(B, 2\) in a batch"),
        (Dict(a=Discrete(3), b=Discrete(2)), {"a": 1}, r"dict with the keys \['a', 'b'\]. Received: keys=\['a'\]"),
        (Dict(a=Discrete(3)), 1, "dict with the keys .*type='int'"),
        (Dict(a=Discrete(3), b=Box(-1, 1, (2,))), {"a": 1, "b": np.zeros(3)}, r"Expected observation\['b'\] to have"),
        (
            Dict(a=Discrete(3), b=Discrete(2)),
            {"a": 1, "b": np.zeros(4, int)},
            r"all of one batch. Received: observation\['a'\]=\(\), observation\['b'\]=\(4,\)",
        ),
        (Tuple((Discrete(3), Discrete(2))), (1,), "tuple of 2 entries. Received: entries=1"),
        (Tuple((Discrete(3), Discrete(2))), np.array([1, 1]), "tuple of 2 entries. Received: type='ndarray'"),
        (Box(-1, 1, (2,)), np.array([0.0, np.nan]), r"a finite observation. Received: observation=\[0.0, nan\]"),
    ],
)
def test_what_is_neither_one_observation_nor_a_batch_is_named(space, observations, message):
    with pytest.raises(ValueError, match=message):
        read(space, observations)


# ---- probabilities


@pytest.mark.parametrize(
    ("space", "observations", "message"),
    [
        (Box(0, 255, (2, 2), np.uint8), np.full((2, 2), 0.5), "whole numbers that uint8 holds.*=0.5.*scaled"),
        (Box(0, 255, (2,), np.uint8), [0, 300], "observation=300"),
        (Box(0, 255, (2,), np.uint8), [0.0, np.nan], "observation=nan"),
        (Box(-(2**50), 2**50, (1,), np.int64), [2**40], f"int32 holds.*observation={2**40}"),
        (Discrete(4, start=3), 3.5, "observation=3.5"),
        (Discrete(4, start=3), [3, 7], r"categories of Discrete\(4, start=3\). Received: observation=7"),
        (Discrete(4, start=3), 2, "observation=2"),
        (MultiDiscrete([2, 3]), [[0, 0], [1, 3]], "categories of .*observation=3"),
        (Dict(a=Discrete(2)), {"a": -1}, r"observation\['a'\]=-1"),
    ],
)
def test_what_an_integer_space_cannot_hold_was_cast_without_a_look(space, observations, message):
    with pytest.raises(ValueError, match=message):
        read(space, observations)


def test_whole_numbers_of_another_type_are_taken():
    np.testing.assert_array_equal(read(Box(0, 255, (2,), np.uint8), [7.0, 255.0]), np.array([7, 255], np.uint8))
    assert read(Discrete(4, start=3), np.int64(6)).dtype == np.int32


@pytest.mark.parametrize("space", [Dict({}), Dict(action_mask=MultiBinary(3)), Tuple([])])
def test_nothing_to_see_is_told(space):
    with pytest.raises(ValueError, match="Expected observation to have a part"):
        Policy(space, Discrete(3), samplers.create("categorical"))


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_memory_stays_float32_under_mixed_precision(cell, dtype):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        network = {"name": "recurrent", "cell": cell, "units": 3}
        policy = RecurrentPolicy(Box(-1, 1, (3,)), Discrete(3), samplers.create("reinmax"), network)
    finally:
        keras.config.set_dtype_policy(before)
    action, state = policy.act(np.ones([5, 3], np.float32))
    assert state.dtype == np.float32
    assert np.abs(state).max() > 0
    again, _ = policy.act(np.ones([5, 3], np.float32), state=state)
    assert action.shape == again.shape == (5,)
    with pytest.raises(ValueError, match=r"Expected a finite state. Received: state=nan"):
        policy.act(np.ones([5, 3], np.float32), state=np.full_like(state, np.nan))


def test_probabilities_are_those_of_the_draws_and_zero_where_illegal():
    policy = make_policy(Box(-1, 1, (3,)), MultiDiscrete([2, 4, 3]))
    observations = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    mask = [np.array([True, True]), np.array([True, False, True, True]), np.array([True, True, False])]
    probs = policy.action_probabilities(observations, mask)
    assert (probs.dtype, probs.shape) == (np.float32, (4, 3, 4))
    np.testing.assert_allclose(probs.sum(-1), 1, rtol=1e-6)
    legal = policy.factors.mask(mask)
    assert not probs[:, ~legal].any()
    assert (probs[:, legal] > 0).all()
    logits = np.where(legal, policy.model(observations), -np.inf)
    np.testing.assert_allclose(probs, np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), rtol=1e-5)
    np.testing.assert_array_equal(policy.factors.to_env(probs), policy.act(observations, mask))
    single = policy.action_probabilities(observations[2], mask)
    assert single.shape == (3, 4)
    np.testing.assert_allclose(single, probs[2], rtol=1e-5)


def test_probabilities_are_of_what_the_sampler_draws_from():
    sampler = {"name": "decoupled_straight_through", "forward_temperature": 2.0}
    policy = make_policy(Box(-1, 1, (3,)), Discrete(5), sampler)
    observation = np.array([0.5, -0.5, 0.1], np.float32)
    probs = policy.action_probabilities(observation, [True, True, False, True, True])
    assert (probs.dtype, probs.shape) == (np.float32, (5,))
    weights = np.exp(policy.model(observation[None])[0] / 2) * [1, 1, 0, 1, 1]
    np.testing.assert_allclose(probs, weights / weights.sum(), rtol=1e-5)
    assert probs[2] == 0
