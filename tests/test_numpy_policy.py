"""Acting in NumPy: the same distribution as in TensorFlow."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
from scipy import stats

from rlsample import ops, samplers
from rlsample.learning.normalization import RunningNormalization, normalized
from rlsample.rollouts.in_numpy.actor import noise_of
from rlsample.rollouts.in_numpy.policy import NumpyPolicy, network_of, quickest_actor, quickest_policy
from rlsample.rollouts.policy import Policy

ROWS = 20_000
SEED = np.array([3, 4], np.int32)
FALSE_FAILURE_RATE = 1e-6


def make_policy(space, sampler="categorical", **options):
    policy = Policy(gym.spaces.Box(-1, 1, (3,)), space, samplers.create(sampler), **options)
    # Far from uniform, unlike an untrained head.
    for weight in policy.model.trainable_variables:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape, scale=0.3))
    return policy


def legal(policy, rows):
    return (
        policy.factors.mask(None, rows)
        if policy.factors.padding_mask is not None
        else np.ones((rows, *policy.factors.event_shape), bool)
    )


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("space", [gym.spaces.Discrete(5, start=2), gym.spaces.MultiDiscrete([2, 4, 3])])
def test_the_logits_are_the_models(space, activation):
    policy = make_policy(space, activation=activation, hidden_sizes=(16, 8))
    features = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    mask = legal(policy, 7)
    expected = np.where(mask, policy.model(features), 0.0)
    np.testing.assert_allclose(np.where(mask, network_of(policy).logits(features), 0.0), expected, atol=2e-4)


def test_draws_follow_the_masked_law():
    """A chi-square test for each factor."""
    policy = make_policy(gym.spaces.MultiDiscrete([2, 4, 3]), hidden_sizes=(4,))
    policy.head.temperature.assign(0.2)  # shapes the gradient, not the distribution
    features = np.tile(np.float32([[0.3, -0.2, 0.1]]), (ROWS, 1))
    mask = legal(policy, ROWS).copy()
    mask[:, 1, 2] = False
    action = quickest_actor(policy, SEED)(features, mask)
    assert action.shape == (ROWS, 3)
    assert action.dtype == np.int32
    distribution = policy.head.distribution(policy.model(features[:1]), mask[:1])
    probs = ops.softmax(distribution.drawn_logits).numpy()[0].astype(np.float64)
    for factor, size in enumerate((2, 4, 3)):
        counts = np.bincount(action[:, factor], minlength=size)
        expected = probs[factor, :size] / probs[factor].sum() * ROWS
        possible = expected > 0
        assert counts[~possible].sum() == 0
        assert stats.chisquare(counts[possible], expected[possible]).pvalue > FALSE_FAILURE_RATE / 3


def test_the_seed_decides_the_rollout():
    policy = make_policy(gym.spaces.Discrete(6))
    features, mask = np.zeros((50, 3), np.float32), np.ones((50, 6), bool)
    first, again, other = (quickest_actor(policy, np.array(seed, np.int32)) for seed in ([1, 2], [1, 2], [1, 3]))
    draws = first(features, mask)
    np.testing.assert_array_equal(draws, again(features, mask))
    assert (draws != other(features, mask)).any()
    assert (draws != first(features, mask)).any()  # the next step has noise of its own


def other_policies():
    decoupled = make_policy(gym.spaces.Discrete(4), {"name": "decoupled_straight_through", "forward_temperature": 0.01})
    normalizing = make_policy(gym.spaces.Discrete(4))
    normalizing.model = normalized(normalizing.model, RunningNormalization())
    return {
        "another distribution": decoupled,
        "another layer": normalizing,
    }


@pytest.mark.parametrize("policy", other_policies().values(), ids=other_policies().keys())
def test_other_policies_draw_by_tensorflow(policy):
    act = quickest_actor(policy, SEED)
    features, mask = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32), np.ones((9, 4), bool)
    for step in range(2):
        np.testing.assert_array_equal(act(features, mask), policy.sample(features, mask, SEED + np.array([0, step])))
    assert quickest_policy(policy) is policy


@pytest.mark.parametrize("space", [gym.spaces.Discrete(5, start=2), gym.spaces.MultiDiscrete([2, 4, 3])])
def test_a_frozen_policy_acts_as_the_policy_did(space):
    policy = make_policy(space)
    features = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    mask = legal(policy, 40).copy()
    mask[..., 1] = False
    snapshot, expected = quickest_policy(policy), policy.act(features, mask)
    assert isinstance(snapshot, NumpyPolicy)
    np.testing.assert_array_equal(snapshot.act(features, mask, SEED), policy.act(features, mask, SEED))
    policy.model.trainable_variables[0].assign(np.zeros((3, 64)))
    np.testing.assert_array_equal(snapshot.act(features, mask), expected)
    assert (policy.act(features, mask) != expected).any()


def test_weights_that_are_not_finite_are_refused():
    policy = make_policy(gym.spaces.Discrete(4))
    policy.model.trainable_variables[2].assign(np.full((64, 64), np.nan))
    with pytest.raises(ValueError, match=r"finite weights\. Received: weight=.*nan.*Training diverged"):
        quickest_actor(policy, SEED)


@pytest.mark.parametrize("space", [gym.spaces.Discrete(5, start=2), gym.spaces.MultiDiscrete([2, 4, 3])])
def test_log_probabilities_are_the_heads(space):
    policy = make_policy(space, hidden_sizes=(16,))
    features = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    mask = legal(policy, 64).copy()
    mask[::2, ..., 1] = False
    network = network_of(policy)
    action = network.draw(features, mask, np.random.default_rng(1))
    expected = policy.head.distribution(policy.model(features), mask).log_prob(action)
    np.testing.assert_allclose(network.log_prob(features, mask, action), expected, atol=1e-5)


def test_streams_of_one_seed_are_others_and_the_first_is_the_default():
    draws = [noise_of(SEED, *stream).random(8).tolist() for stream in ((), (0,), (1,), (2,))]
    assert draws[0] == draws[1]
    assert len({tuple(row) for row in draws}) == 3


def test_an_actor_draws_the_same_wherever_it_was_sent():
    policy = make_policy(gym.spaces.Discrete(5), hidden_sizes=(8,))
    features = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    actor = quickest_actor(policy, SEED)
    sent = pickle.loads(pickle.dumps(actor))
    for _ in range(3):
        np.testing.assert_array_equal(actor(features, legal(policy, 50)), sent(features, legal(policy, 50)))
