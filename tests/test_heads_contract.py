"""Every space with every kind of sampler, with and without masks, in eager, graph and XLA code."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from rlsample import heads
from tests.helpers import ALL_SAMPLERS, ALL_SPACES, MODES, sampler_name, space_name

BATCH = 3
# Each space and each sampler at least once in each mode; the product of the two is the sampler contract's work.
PAIRS = [
    (ALL_SPACES[i % len(ALL_SPACES)], ALL_SAMPLERS[i % len(ALL_SAMPLERS)])
    for i in range(max(len(ALL_SPACES), len(ALL_SAMPLERS)))
]
# What a plain graph does differently from XLA is assert, which has its own test.
CASES = [(*pair, mode) for mode, step in (("eager", 1), ("graph", 4), ("xla", 1)) for pair in PAIRS[::step]]
# XLA takes most of the time, and every sampler is compiled in its own contract.
SLOW = [(*pair, "xla") for pair in PAIRS[1::2]]
MARKED = [pytest.param(*case, marks=[pytest.mark.slow] * (case in SLOW)) for case in CASES]
SEED = (3, 4)


def pair_name(value):
    if isinstance(value, str):
        return value
    return sampler_name(value) if hasattr(value, "to_config") else space_name(value)


def random_mask(factors, rng):
    """Legal with probability 1/2, at least one category a factor; bool of the logits' shape."""
    mask = rng.random((BATCH, factors.num_factors, factors.num_categories)) < 0.5
    exists = np.arange(factors.num_categories) < np.array(factors.sizes)[:, None]
    mask &= exists
    forced = rng.integers(0, factors.sizes, (BATCH, factors.num_factors))
    np.put_along_axis(mask, forced[..., None], True, -1)
    return mask[:, 0] if factors.single else mask


def make_head(space, sampler):
    head = heads.for_space(space, sampler, temperature=0.7)
    logits = np.random.default_rng(0).normal(size=(BATCH, *head.factors.event_shape)).astype(np.float32)
    return head, logits


def probe(head):
    """All that a policy is asked for, with gradients to the logits, in one function."""

    def run(logits, mask, seed, weights):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(logits)
            policy = head.distribution(logits, mask)
            sample = policy.sample(seed)
            drawn = tf.reduce_sum(sample.one_hot * weights)
            log_prob, entropy = policy.log_prob(sample.action), policy.entropy()
            spoken = tf.reduce_sum(log_prob) + tf.reduce_sum(entropy)
        through_draw = tape.gradient(drawn, logits, unconnected_gradients="zero")
        mode = policy.mode()
        return sample, mode, log_prob, entropy, through_draw, tape.gradient(spoken, logits)

    return run


def legal_everywhere(head, masked, mask):
    exists = head.factors.padding_mask
    legal = mask if masked else np.ones((BATCH, *head.factors.event_shape), bool)
    return legal if exists is None else legal & exists


@pytest.mark.parametrize(("space", "sampler", "mode"), MARKED, ids=pair_name)
@pytest.mark.thinned(2)
def test_contract(space, sampler, mode):
    head, logits = make_head(space, sampler)
    rng = np.random.default_rng(1)
    mask = random_mask(head.factors, rng)
    weights = tf.constant(rng.normal(size=logits.shape).astype(np.float32))
    run = MODES[mode](probe(head))
    for masked in (True, False):
        legal = legal_everywhere(head, masked, mask)
        given = mask if masked else np.ones_like(mask)
        outputs = run(tf.constant(logits), tf.constant(given), tf.constant(SEED), weights)
        sample, most, log_prob, entropy, through_draw, spoken = tf.nest.map_structure(lambda x: x.numpy(), outputs)
        for action in (sample.action, most.action):
            assert np.take_along_axis(legal, action[..., None], -1).all()
        assert not sample.one_hot[~legal].any()
        np.testing.assert_allclose(sample.one_hot.sum(-1), 1, atol=1e-5)
        if not sampler.relaxed:
            np.testing.assert_array_equal(sample.one_hot.argmax(-1), sample.action)
            assert set(np.unique(sample.one_hot)) <= {0.0, 1.0}
        assert np.isfinite(log_prob).all()
        assert np.isfinite(entropy).all()
        for gradient in (through_draw, spoken):
            assert np.isfinite(gradient).all()
            assert not gradient[~legal].any()
        assert sampler.pathwise or not through_draw.any()


@pytest.mark.parametrize("space", ALL_SPACES, ids=space_name)
@pytest.mark.parametrize("name", ["straight_through", "decoupled_straight_through"])
def test_log_prob_sums_to_one_and_matches_the_frequencies(space, name):
    options = {"forward_temperature": 2.0} if name.startswith("decoupled") else {}
    head, logits = make_head(space, {"name": name, **options})
    mask = random_mask(head.factors, np.random.default_rng(2))
    actions = np.array(list(itertools.product(*map(range, head.factors.sizes))), np.int32)
    actions = actions[:, 0] if head.factors.single else actions
    for given in (None, mask):
        policy = head.distribution(logits, given)
        log_probs = policy.log_prob(actions[:, None]).numpy().astype(np.float64)
        probs = np.exp(log_probs)
        assert log_probs.shape == (len(actions), BATCH)
        np.testing.assert_allclose(probs.sum(0), 1, atol=1e-5)
        expected = -np.sum(probs * np.where(probs > 0, log_probs, 0), 0)
        np.testing.assert_allclose(policy.entropy(), expected, rtol=1e-4, atol=1e-5)
        if not head.factors.single and given is None:
            most = policy.mode().action.numpy()
            np.testing.assert_allclose(log_probs.max(0), policy.log_prob(most), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("space", ALL_SPACES, ids=space_name)
def test_draws_reach_the_environment_and_come_back(space):
    head, logits = make_head(space, "straight_through")
    sample = head.sample(logits, SEED)
    one = tf.nest.map_structure(lambda x: x[0], sample)
    assert space.contains(head.to_env(one.one_hot))
    assert space.contains(head.to_env(one.action))
    np.testing.assert_array_equal(head.from_env(head.to_env(sample.one_hot)), sample.action)


@pytest.mark.parametrize("space", [ALL_SPACES[0], ALL_SPACES[6]], ids=space_name)
@pytest.mark.parametrize("name", ["straight_through_gumbel_softmax", "reinmax", "categorical"])
def test_the_modes_of_execution_draw_alike(space, name):
    head, logits = make_head(space, name)
    rows = np.tile(logits[:1], (500, *[1] * (logits.ndim - 1)))
    draws = [
        MODES[mode](lambda logits, seed: head.sample(logits, seed).action)(tf.constant(rows), tf.constant(SEED))
        for mode in MODES
    ]
    for other in draws[1:]:
        np.testing.assert_array_equal(draws[0], other)


def test_padding_is_illegal_in_logits_made_elsewhere():
    head = heads.FactoredHead([2, 4])
    logits = np.zeros((200, 2, 4), np.float32)
    assert head.sample(logits, SEED).action.numpy()[:, 0].max() == 1
    np.testing.assert_allclose(head.distribution(logits).entropy(), np.log(2) + np.log(4), rtol=1e-6)
    assert head.mode(np.tile([0.0, 0, 9, 9], (1, 2, 1)).astype(np.float32)).action.numpy()[0, 0] < 2


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([[True, True, True]], "mask to have the shape of the logits"),
        ([[1.0, 0.0, 1.0, 1.0]], "mask to be boolean"),
        ([[2, 0, 1, 1]], "only 0 and 1"),
        ([[False] * 4], "at least one legal category in every row"),
    ],
)
def test_a_bad_mask_is_refused(mask, message):
    head = heads.CategoricalHead(4)
    with pytest.raises(ValueError, match=message):
        head.sample(tf.zeros([1, 4]), SEED, mask=mask)


@pytest.mark.parametrize("mode", ["graph", "xla"])
def test_a_row_without_a_legal_action_is_not_passed_over_in_compiled_code(mode):
    head = heads.FactoredHead([3, 3], "straight_through")
    mask = np.ones((2, 2, 3), bool)
    mask[1, 0] = False
    run = MODES[mode](lambda logits, mask: head.sample(logits, SEED, mask))
    if mode == "graph":
        with pytest.raises(tf.errors.InvalidArgumentError, match="legal category"):
            run(tf.zeros([2, 2, 3]), tf.constant(mask))
        return
    sample = run(tf.zeros([2, 2, 3]), tf.constant(mask))
    assert sample.action.numpy()[1, 0] == -1
    assert np.isnan(sample.one_hot.numpy()[1, 0]).all()
    assert (sample.action.numpy()[0] >= 0).all()
