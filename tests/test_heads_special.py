"""Heads whose actions are ordered, dependent, distinct or described by vectors; and the value head."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium.spaces import Discrete, MultiBinary, MultiDiscrete

from rlsample import heads, ops, samplers
from rlsample.distributions import (
    AutoregressiveDistribution,
    CategoricalDistribution,
    OrdinalDistribution,
    SubsetDistribution,
)
from tests.helpers import MODES

SEED = (2, 3)
# |z| < 5.5: a false-failure rate below 4e-8 a comparison.
Z = 5.5


def features(rows=3, size=6):
    return tf.random.stateless_normal([rows, size], SEED)


def enumerate_actions(sizes):
    return np.array(list(itertools.product(*map(range, sizes))), np.int32)


def check_frequencies(actions, probs, sizes):
    """Draws [N, F] against the probabilities of all joint actions, cell by cell."""
    flat = np.ravel_multi_index(actions.T, sizes)
    count = np.bincount(flat, minlength=len(probs))
    spread = np.sqrt(len(flat) * probs * (1 - probs)) + 1e-9
    assert np.all(np.abs(count - len(flat) * probs) <= Z * spread + 1)


# ---- autoregressive


@pytest.fixture
def dependent():
    """A head whose factors depend on each other strongly, and its context for three rows."""
    head = heads.AutoregressiveHead([2, 3, 2], "straight_through", context_size=8, kernel_gain=2.0)
    return head, head(features())


def joint_probs(policy, sizes):
    return np.exp(policy.log_prob(enumerate_actions(sizes)[:, None]).numpy().astype(np.float64))


@pytest.mark.parametrize("masked", [False, True])
def test_autoregressive_probabilities_are_those_of_its_draws(dependent, masked):
    head, context = dependent
    mask = np.ones((2, 3), bool)[[0, 0, 0]]
    mask = np.array([[True, True, False], [False, True, True], [True, True, False]]) if masked else None
    policy = head.distribution(context, mask)
    probs = joint_probs(policy, head.sizes)
    np.testing.assert_allclose(probs.sum(0), 1, atol=1e-5)
    assert not masked or not probs[enumerate_actions(head.sizes)[:, 1] == 0].any()
    many = head.distribution(tf.repeat(context[:1], 20_000, 0), mask).sample(SEED)
    check_frequencies(many.action.numpy(), probs[:, 0], head.sizes)
    inner = np.where(probs > 0, probs * np.log(np.where(probs > 0, probs, 1)), 0)
    np.testing.assert_allclose(policy.entropy(), -inner.sum(0), rtol=1e-5)


def test_autoregressive_factors_really_depend_on_each_other(dependent):
    head, context = dependent
    probs = joint_probs(head.distribution(context), head.sizes)[:, 0].reshape(head.sizes)
    independent = np.einsum("a,b,c", *(probs.sum(axes) for axes in ((1, 2), (0, 2), (0, 1))))
    assert np.abs(probs - independent).max() > 0.01


def test_autoregressive_divergence_is_the_sum_over_all_actions(dependent):
    head, context = dependent
    first, second = head.distribution(context), head.distribution(-context)
    p, q = joint_probs(first, head.sizes), joint_probs(second, head.sizes)
    np.testing.assert_allclose(first.kl_divergence(second), np.sum(p * np.log(p / q), 0), rtol=1e-4)
    np.testing.assert_allclose(first.kl_divergence(first), 0, atol=1e-6)


def test_a_later_factor_teaches_an_earlier_one():
    """The objective sees only the second factor; the first must still get a gradient, through the one-hot."""
    head = heads.AutoregressiveHead([2, 2], "straight_through", context_size=4, kernel_gain=1.0)
    head(features())
    context = tf.Variable(tf.zeros([1, 4]))
    first = lambda tape, target: tape.gradient(target, head._bias).numpy()[0]  # noqa: E731
    with tf.GradientTape() as tape:
        score = tf.reduce_sum(head.sample(context, SEED).one_hot[:, 1] * [1.0, -1.0])
    assert np.abs(first(tape, score)).max() > 1e-6


def test_sampled_entropy_has_the_entropy_as_its_mean_and_its_gradient(dependent):
    head, context = dependent
    rows = tf.repeat(context[:1], 40_000, 0)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([context, rows])
        exact, sampled = head.distribution(context[:1]).entropy(), head.distribution(rows).sampled_entropy(SEED)
    values, gradients = sampled.numpy(), tape.gradient(sampled, rows).numpy()
    assert abs(values.mean() - exact.numpy()[0]) < Z * values.std() / 200
    expected = tape.gradient(exact, context).numpy()[0]
    assert np.all(np.abs(gradients.mean(0) - expected) < Z * gradients.std(0) / 200 + 1e-6)


@pytest.mark.parametrize("name", ["exact", "score_function"])
def test_autoregressive_expectation_without_a_pathwise_gradient(dependent, name):
    head, context = dependent
    conditional, values = head, tf.reshape(tf.range(12.0) ** 2, head.sizes)

    def objective(one_hot):
        return tf.einsum(
            "...a,...b,...c,abc->...", one_hot[..., 0, :2], one_hot[..., 1, :], one_hot[..., 2, :2], values
        )

    weight = joint_probs(head.distribution(context), head.sizes)
    exact = np.sum(weight * values.numpy().reshape(-1, 1), 0)
    rows = context if name == "exact" else tf.repeat(context[:1], 40_000, 0)
    with tf.GradientTape() as tape:
        tape.watch(rows)
        estimate = AutoregressiveDistribution(rows, conditional, name).expectation(objective, SEED)
    gradient = tape.gradient(estimate, rows).numpy()
    if name == "exact":
        np.testing.assert_allclose(estimate, exact, rtol=1e-5)
        return
    assert abs(np.mean(estimate) - exact[0]) < Z * np.std(estimate) / 200
    with tf.GradientTape() as tape:
        tape.watch(context)
        value = AutoregressiveDistribution(context, conditional, "exact").expectation(objective, SEED)
    expected = tape.gradient(value, context).numpy()[0]
    assert np.all(np.abs(gradient.mean(0) - expected) < Z * gradient.std(0) / 200 + 1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [("rebar", "depend on each other"), ({"name": "exact", "max_outcomes": 5}, "at most max_outcomes=5 joint actions")],
)
def test_autoregressive_refuses_what_it_cannot_estimate(dependent, name, message):
    head, context = dependent
    policy = AutoregressiveDistribution(context, head, name)
    policy.sample(SEED)
    with pytest.raises(ValueError, match=message):
        policy.expectation(lambda one_hot: tf.reduce_sum(one_hot, [-2, -1]), SEED)


def test_too_many_joint_actions_to_sum_over_say_what_to_do():
    head = heads.AutoregressiveHead(MultiBinary(13), context_size=4)
    policy = head.distribution(head(features()))
    with pytest.raises(ValueError, match="Use sampled_entropy"):
        policy.entropy()
    assert policy.sampled_entropy(SEED).shape == (3,)
    with pytest.raises(ValueError, match="factors' shape"):
        head.distribution(head(features()), mask=np.ones((1, 2), bool))


# ---- ordinal

LEVELS = [(2.3, 0.7), (-1.0, 0.05), (4.0, 30.0), (2.5, 1e-3)]


@pytest.mark.parametrize(("location", "scale"), LEVELS)
@pytest.mark.parametrize("mask", [None, [True, False, True, True, False, True], [False] * 5 + [True]])
def test_ordinal_masses_are_those_of_its_draws(location, scale, mask):
    policy = OrdinalDistribution(tf.fill([20_000], location), tf.fill([20_000], scale), 6, mask=mask)
    probs = np.exp(policy.drawn_logits[0].numpy().astype(np.float64))
    np.testing.assert_allclose(probs.sum(), 1, atol=1e-5)
    check_frequencies(policy.sample(SEED).action.numpy()[:, None], probs, (6,))
    assert mask is None or not probs[~np.array(mask)].any()


def test_ordinal_masses_stay_finite_in_the_far_tail():
    policy = OrdinalDistribution(tf.constant(1e4), tf.constant(0.5), 5)
    expected = -(1e4 - 0.5) / 0.5 + np.log(1)
    np.testing.assert_allclose(policy.log_prob(0), expected, rtol=1e-6)
    assert np.isfinite(policy.drawn_logits).all()
    assert np.isfinite(OrdinalDistribution(tf.constant(2.0), tf.constant(1e6), 5).drawn_logits).all()


@pytest.mark.parametrize("rounder", sorted(ops.ROUNDERS))
def test_a_sharp_rounder_gives_the_exact_gradient_in_the_mean(rounder):
    """An objective linear in the one-hot; each rounder at a sharpness where its bias is below the noise."""
    sharpness = {
        "straight_through": 1.0,
        "ramp": 30.0,
        "sigmoid": 60.0,
        "fourier": 12.0,
        "sine": 3.0,
        "soft_round": 25.0,
    }
    weights = tf.constant([0.0, 1.0, 4.0, 2.0, -1.0, 3.0])
    location, scale = tf.constant(2.3), tf.constant(1.5)
    with tf.GradientTape() as tape:
        tape.watch([location, scale])
        value = tf.reduce_sum(tf.exp(OrdinalDistribution(location, scale, 6).drawn_logits) * weights)
    exact = np.array(tape.gradient(value, [location, scale]))
    rows = [tf.fill([100_000], parameter) for parameter in (location, scale)]
    with tf.GradientTape() as tape:
        tape.watch(rows)
        value = tf.reduce_sum(OrdinalDistribution(*rows, 6, rounder, sharpness[rounder]).sample(SEED).one_hot * weights)
    found = np.array(tape.gradient(value, rows))
    np.testing.assert_array_less(np.abs(found.mean(1) - exact), Z * found.std(1) / np.sqrt(100_000) + 0.02)


@pytest.mark.parametrize("scale", [1e-3, 5e-5, 1e-12, 1e-19])
@pytest.mark.parametrize("location", [0.0, 1.2, 3.0])
def test_the_gradients_to_location_and_scale_are_finite_at_any_scale(location, scale):
    location, scale = tf.Variable([location]), tf.Variable([scale])
    with tf.GradientTape(persistent=True) as tape:
        policy = OrdinalDistribution(location, scale, 4)
        values = [policy.log_prob([1]), policy.log_prob([3]), policy.entropy(), policy.probs()[..., :2]]
    for value in values[1:] if float(location[0]) < 3 else values[2:]:
        for source in (location, scale):
            assert np.isfinite(tape.gradient(value, source)).all()


def test_ordinal_draws_are_exact_one_hots_whose_gradient_stays_between_neighbours():
    location = tf.Variable(tf.linspace(-2.0, 7.0, 91))
    legal = [True, True, False, False, True, True]
    with tf.GradientTape() as tape:
        policy = OrdinalDistribution(location, tf.fill([91], 1e-4), 6, "straight_through", mask=legal)
        draw = policy.sample(SEED)
        score = tf.reduce_sum(draw.one_hot * [0.0, 1.0, 100.0, 100.0, 7.0, 9.0], -1)
    assert set(np.unique(draw.one_hot)) == {0.0, 1.0}
    nearest = [min((0, 1, 4, 5), key=lambda level: abs(level - x)) for x in location.numpy()]
    off_the_boundary = np.abs(location.numpy() - np.round(location.numpy() * 2) / 2) > 0.01
    np.testing.assert_array_equal(draw.action.numpy()[off_the_boundary], np.array(nearest)[off_the_boundary])
    slope = tf.convert_to_tensor(tape.gradient(score, location)).numpy()
    between = np.select([location < 0, location < 1, location < 4, location < 5], [0, 1, 2, 2], 0)
    np.testing.assert_allclose(slope[off_the_boundary], between[off_the_boundary], atol=1e-5)


def test_ordinal_head_starts_near_uniform_and_its_temperature_is_one_over_the_sharpness():
    head = heads.OrdinalHead(MultiDiscrete([3, 7]), "ramp", temperature=0.25)
    policy = head.distribution(head(features()))
    np.testing.assert_allclose(policy.entropy(), np.log(3) + np.log(7), rtol=0.06)
    assert policy.log_prob([[2, 6]]).shape == (3,)
    np.testing.assert_allclose(head.sharpness, 4.0)
    head.temperature.assign(5.0)
    np.testing.assert_allclose(head.sharpness, 1.0)
    assert np.isneginf(policy.drawn_logits[:, 0, 3:]).all()


def test_ordinal_padding_and_mask_hold_together():
    head = heads.OrdinalHead(MultiDiscrete([2, 4]))
    mask = np.array([[False, True, True, True], [True, False, True, False]])
    policy = head.distribution(tf.repeat(head(features(1)), 500, 0), mask)
    actions = policy.sample(SEED).action.numpy()
    assert set(actions[:, 0]) == {1}
    assert set(actions[:, 1]) == {0, 2}
    with pytest.raises(ValueError, match="mask to end in the shape of the factors"):
        head.distribution(head(features()), np.ones(3, bool))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((float("nan"), 1.0), "every location to be finite"),
        ((0.0, 0.0), "every scale to be a finite number > 0"),
        ((0.0, -1.0), "every scale to be a finite number > 0"),
    ],
)
def test_ordinal_parameters_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        OrdinalDistribution(*map(tf.constant, arguments), 4)
    with pytest.raises(ValueError, match="at least one legal category"):
        OrdinalDistribution(tf.constant([0.0]), tf.constant([1.0]), 2, mask=[[False, False]])


# ---- top-k


@pytest.mark.parametrize("legal", [[True] * 5, [True, False, True, True, True]])
def test_top_k_is_plackett_luce(legal):
    logits = tf.constant([[0.5, -1.0, 0.25, 1.0, 0.0]])
    policy = SubsetDistribution(logits, 3, mask=[legal])
    actions = enumerate_actions((5, 5, 5))
    probs = np.exp(policy.log_prob(actions[:, None])[:, 0].numpy().astype(np.float64))
    weights = np.exp(logits[0]) * legal
    expected = []
    for items in actions:
        left, product = weights.sum(), 1.0
        for item in items:
            product *= weights[item] / left
            left -= weights[item]
        expected.append(product if len(set(items)) == 3 else 0)
    np.testing.assert_allclose(probs, expected, rtol=1e-5)
    drawn = SubsetDistribution(tf.repeat(logits, 50_000, 0), 3, mask=[legal]).sample(SEED).action.numpy()
    check_frequencies(drawn, probs, (5, 5, 5))
    positive = probs[probs > 0]
    np.testing.assert_allclose(policy.entropy(), -np.sum(positive * np.log(positive)), rtol=1e-5)
    np.testing.assert_array_equal(policy.mode().action[0], actions[np.argmax(probs)])


@pytest.mark.parametrize(("relaxed", "name"), [(True, "gumbel_softmax"), (False, "straight_through_gumbel_softmax")])
def test_one_item_is_the_gumbel_softmax(relaxed, name):
    logits = tf.random.stateless_normal([50, 4], SEED)
    gradients = []
    for draw in (
        lambda x: SubsetDistribution(x, 1, 0.7, relaxed).sample(SEED).one_hot[..., 0, :],
        lambda x: CategoricalDistribution(x, name, 0.7).sample(SEED).one_hot,
    ):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            one_hot = draw(logits)
            score = tf.reduce_sum(one_hot * [1.0, 2.0, -1.0, 0.5])
        gradients.append((one_hot, tape.gradient(score, logits)))
    for ours, reference in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, reference, atol=1e-6)


def test_top_k_gradient_tends_to_the_exact_one_as_the_temperature_falls():
    """E[<w, k-hot>] by enumeration, against the mean of 200,000 straight-through gradients at temperature 0.1."""
    logits, weights = tf.constant([[0.5, -1.0, 0.25, 1.0]]), tf.constant([1.0, -2.0, 0.5, 3.0])
    actions = enumerate_actions((4, 4))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        probs = tf.exp(SubsetDistribution(logits, 2).log_prob(actions[:, None])[:, 0])
        value = tf.reduce_sum(tf.where(probs > 0, probs, 0) * tf.reduce_sum(tf.gather(weights, actions), -1))
    exact = tape.gradient(value, logits).numpy()[0]
    rows = tf.repeat(logits, 200_000, 0)
    with tf.GradientTape() as tape:
        tape.watch(rows)
        total = tf.reduce_sum(tf.reduce_sum(SubsetDistribution(rows, 2, 0.1).sample(SEED).one_hot, -2) * weights)
    found = tape.gradient(total, rows).numpy()
    error = np.abs(found.mean(0) - exact)
    np.testing.assert_array_less(error, Z * found.std(0) / np.sqrt(200_000) + 0.05 * np.abs(exact).max())


@pytest.mark.parametrize("relaxed", [False, True])
def test_a_slate_reaches_the_environment_as_distinct_items(relaxed):
    head = heads.TopKHead(MultiDiscrete([6, 6, 6], start=[1, 1, 1]), relaxed=relaxed, temperature=3.0)
    sample = head.sample(head(features(100)), SEED)
    slates = head.to_env(sample.one_hot)
    assert all(len(set(slate)) == 3 for slate in slates)
    assert head.action_space.contains(slates[0])
    if not relaxed:
        np.testing.assert_array_equal(head.from_env(slates), sample.action)
    with pytest.raises(ValueError, match="no NaN"):
        head.to_env(np.full((3, 6), np.nan))


def test_too_few_legal_items_are_refused_in_every_mode():
    mask = np.array([[True, True, False], [True, False, False]])
    run = lambda logits: SubsetDistribution(logits, 2, mask=mask).sample(SEED)  # noqa: E731
    with pytest.raises(ValueError, match=r"at least 2 legal items in every row. Received: row=\(1,\)"):
        run(tf.zeros([2, 3]))
    sample = MODES["xla"](run)(tf.zeros([2, 3]))
    np.testing.assert_array_equal(sample.action[1], [-1, -1])
    assert np.isnan(sample.one_hot[1]).all()
    assert np.isfinite(sample.one_hot[0]).all()
    with pytest.raises(tf.errors.InvalidArgumentError):
        MODES["graph"](run)(tf.zeros([2, 3]))


# ---- embeddings and values


def test_embedding_head_scores_as_many_actions_as_there_are(tmp_path):
    inputs = keras.Input((6,)), keras.Input((None, 4))
    head = heads.EmbeddingHead(Discrete(10, start=1), "reinmax", kernel_gain=1.0)
    model = keras.Model(inputs, head(*inputs))
    model.save(tmp_path / "policy.keras")
    loaded = keras.models.load_model(tmp_path / "policy.keras")
    for count in (2, 5):
        embeddings = tf.random.stateless_normal([3, count, 4], SEED)
        logits = model([features(), embeddings])
        query = head.forward(features())
        np.testing.assert_allclose(logits, np.einsum("bd,bkd->bk", query, embeddings) / 2, rtol=1e-5)
        np.testing.assert_array_equal(loaded([features(), embeddings]), logits)
        mask = np.arange(count) < 2
        sample = head.sample(logits, SEED, mask)
        assert sample.action.numpy().max() < 2
        np.testing.assert_array_equal(head.to_env(sample.one_hot), sample.action + 1)
    shared = head(features(), tf.random.stateless_normal([7, 4], SEED))
    assert shared.shape == (3, 7)
    assert tuple(head(keras.Input((6,)), keras.Input((8, 4))).shape) == (None, 8)


@pytest.mark.parametrize(("num_values", "shape"), [(None, (4,)), (1, (4, 1)), (3, (4, 3))])
def test_value_head(num_values, shape, tmp_path):
    head = heads.ValueHead(num_values, hidden_sizes=(8,), activation="relu")
    model = keras.Sequential([keras.Input((6,)), head])
    assert model(features(4)).shape == shape
    assert model.output_shape == (None, *shape[1:])
    model.save(tmp_path / "value.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "value.keras")(features()), model(features()))


def test_third_party_samplers_draw_autoregressively_too():
    head = heads.AutoregressiveHead(
        [2, 2], samplers.create({"name": "decoupled_straight_through", "forward_temperature": 3})
    )
    policy = head.distribution(head(features()))
    np.testing.assert_allclose(joint_probs(policy, head.sizes).sum(0), 1, atol=1e-5)
