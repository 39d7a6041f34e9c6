"""Each estimator against its closed form: one four-way example, enumerated draw by draw."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from rlsample import lab, ops, samplers
from rlsample.samplers import gumbel_rao, inverse_cdf

THETA = np.array([0.5, -1, 0.25, 1])
PROBS = np.array([0.273924, 0.061121, 0.213332, 0.451624])
WEIGHTS = np.array([1, -2, 0.5, 1.5])
# Objectives s and s^2 of s = <w, x>, by their gradient at each corner: [draw, category].
SLOPES = {"linear": np.tile(WEIGHTS, (4, 1)), "quadratic": 2 * WEIGHTS[:, None] * WEIGHTS}
EXACT = {
    "linear": [0.01759, -0.179437, -0.092967, 0.254813],
    "quadratic": [-0.161038, 0.14743, -0.285415, 0.299023],
}
SEED = (1, 2)
# |z| < 5.5 on each of 4 entries: a false-failure rate below 2e-7 a comparison.
Z = 5.5


def softmax(logits):
    exponentials = np.exp(logits - np.max(logits))
    return exponentials / exponentials.sum()


def product(probs, upstream):
    return probs * (upstream - probs @ upstream)


@functools.cache
def gradients(sampler, objective, temperature=1.0, rows=400, seed=SEED):
    """(actions [rows], gradients [rows, 4]) of independent draws from THETA, with a masked fifth category."""
    logits = tf.constant(np.tile([*THETA, 7], (rows, 1)))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        action, one_hot = sampler(logits, seed, temperature=temperature, mask=[True] * 4 + [False])
        slopes = np.pad(SLOPES[objective], ((0, 0), (0, 1)), constant_values=3)[action.numpy()]
        weighted = tf.reduce_sum(one_hot * slopes)
    found = tape.gradient(weighted, logits).numpy()
    assert not found[:, 4].any()
    return action.numpy(), found[:, :4]


def by_draw(sampler, objective, temperature=1.0):
    """The gradient [draw, category] of a sampler that has no noise beyond the draw."""
    actions, found = gradients(sampler, objective, temperature)
    return np.stack([found[actions == draw][0] for draw in range(4)])


def mean_and_variance(sampler, objective, temperature=1.0):
    rows = by_draw(sampler, objective, temperature)
    mean = PROBS @ rows
    return mean, PROBS @ np.sum(rows**2, -1) - mean @ mean


def assert_mean(found, expected, standard_error_of_expected=0.0):
    error = np.hypot(found.std(0) / np.sqrt(len(found)), standard_error_of_expected)
    assert (np.abs(found.mean(0) - expected) < Z * error).all(), (found.mean(0), expected, error)


# ---- numbers of the literature and of enumeration


GOLDEN = [
    ("straight_through", "linear", 1.0, EXACT["linear"]),
    ("straight_through", "quadratic", 1.0, [0.032921, -0.335828, -0.173993, 0.476901]),
    ("straight_through", "linear", 2.0, [0.045929, -0.173021, -0.020097, 0.147189]),
    ("zgr", "linear", 1.0, EXACT["linear"]),
    ("zgr", "quadratic", 1.0, EXACT["quadratic"]),
    ("reinmax", "linear", 1.0, EXACT["linear"]),
    ("reinmax", "quadratic", 1.0, EXACT["quadratic"]),
    ("reinmax", "linear", 1.3, [0.047745, -0.248472, -0.075585, 0.276312]),
    ("gapped_straight_through", "linear", 1.0, [0.067464, -0.237631, -0.058481, 0.228647]),
    ("gapped_straight_through", "quadratic", 1.0, [0.031553, -0.256978, -0.203474, 0.4289]),
    ("gapped_straight_through", "linear", 0.5, [0.032393, -0.156497, -0.122641, 0.246745]),
    ("lambda_mix", "linear", 1.0, EXACT["linear"]),
    ("lambda_mix", "quadratic", 1.0, [-0.064059, -0.094199, -0.229704, 0.387962]),
    ("softmax", "linear", 1.0, EXACT["linear"]),
]


@pytest.mark.parametrize(("name", "objective", "temperature", "expected"), GOLDEN)
def test_means_by_enumeration(name, objective, temperature, expected):
    mean, _ = mean_and_variance(samplers.create(name), objective, temperature)
    np.testing.assert_allclose(mean, expected, atol=1e-5)


def test_gap_by_probability():
    sampler = samplers.create({"name": "gapped_straight_through", "gap": "probability"})
    mean, _ = mean_and_variance(sampler, "linear")
    np.testing.assert_allclose(mean, [0.069111, -0.255344, -0.047223, 0.233456], atol=1e-5)


def test_an_integer_gap_is_a_number():
    one, other = (samplers.create({"name": "gapped_straight_through", "gap": gap}) for gap in (1, 1.0))
    np.testing.assert_array_equal(by_draw(one, "linear"), by_draw(other, "linear"))


@pytest.mark.parametrize(
    ("name", "objective", "variance"),
    [
        ("straight_through", "linear", 0.0),
        ("straight_through", "quadratic", 0.302),
        ("zgr", "quadratic", 3.220),
        ("lambda_mix", "linear", 0.0392),
        ("lambda_mix", "quadratic", 1.271),
        ("reinmax", "linear", 0.1569),
        ("reinmax", "quadratic", 3.220),
        ("gapped_straight_through", "linear", 0.0300),
        ("gapped_straight_through", "quadratic", 1.119),
    ],
)
def test_variances_by_enumeration(name, objective, variance):
    np.testing.assert_allclose(mean_and_variance(samplers.create(name), objective)[1], variance, atol=6e-4)


@pytest.mark.parametrize(
    ("name", "draw", "expected"),
    [
        ("reinmax", 0, [0.03211, -0.09168, -0.05333, 0.11291]),
        ("reinmax", 3, [-0.06848, -0.10696, -0.10667, 0.28211]),
        ("zgr", 0, [0.03211, -0.09168, -0.05333, 0.11291]),
        ("zgr", 3, [-0.06848, -0.10696, -0.10667, 0.28211]),
        ("gapped_straight_through", 0, [0.11597, -0.20129, -0.05564, 0.14097]),
        ("gapped_straight_through", 3, [0.00945, -0.21351, -0.08885, 0.29291]),
    ],
)
def test_gradient_of_one_draw(name, draw, expected):
    np.testing.assert_allclose(by_draw(samplers.create(name), "linear")[draw], expected, atol=1e-5)


def test_reinmax_at_temperature_one_is_zgr_sample_by_sample():
    actions, reinmax = gradients(samplers.create("reinmax"), "quadratic")
    same_actions, zgr = gradients(samplers.create("zgr"), "quadratic")
    np.testing.assert_array_equal(actions, same_actions)
    np.testing.assert_allclose(reinmax, zgr, atol=1e-14)


@pytest.mark.parametrize("objective", SLOPES)
def test_lambda_mix_goes_from_straight_through_to_zgr(objective):
    ends = [by_draw(samplers.create(name), objective) for name in ("straight_through", "zgr")]
    for weight in (0, 0.3, 1):
        mixed = by_draw(samplers.create({"name": "lambda_mix", "weight": weight}), objective)
        np.testing.assert_allclose(mixed, (1 - weight) * ends[0] + weight * ends[1], atol=1e-14)


def least_variance(objective):
    """The gradient [draw, category] of Hooper and Shekhovtsov's limit: no bias for quadratics, least variance."""
    probs = softmax(THETA)
    conductance = np.outer(probs, probs) / (probs[:, None] + probs)
    np.fill_diagonal(conductance, 0)
    inverse = np.linalg.pinv(np.diag(conductance.sum(1)) - conductance)
    rows = []
    for draw, corner in enumerate(np.eye(4)):
        spread = np.diag(1 / (probs + probs[draw])) @ (np.diag(probs) - np.outer(probs, corner)) @ inverse
        both = 0.5 * (spread + np.outer(corner, corner) / probs[draw])
        rows.append(product(probs, both.T @ SLOPES[objective][draw]))
    return np.array(rows)


@pytest.mark.parametrize(("objective", "expected"), [("linear", (0.1526, 0.1569)), ("quadratic", (3.1687, 3.2201))])
def test_the_least_variance_without_bias_is_little_below_that_of_reinmax(objective, expected):
    rows, probs = least_variance(objective), softmax(THETA)
    mean, reinmax = probs @ rows, by_draw(samplers.create("reinmax"), objective)
    np.testing.assert_allclose(mean, probs @ reinmax, atol=1e-12)
    variances = [probs @ np.sum((each - mean) ** 2, -1) for each in (rows, reinmax)]
    np.testing.assert_allclose(variances, expected, atol=5e-5)


def test_two_categories_are_the_trapezoid_rule():
    logits, slopes = np.array([0.3, -0.9]), np.array([[0.0, 1.7], [0.0, -0.4]])
    variable = tf.constant(np.tile(logits, (200, 1)))
    with tf.GradientTape() as tape:
        tape.watch(variable)
        action, one_hot = samplers.create("zgr")(variable, SEED)
        weighted = tf.reduce_sum(one_hot * slopes[action.numpy()])
    found, probs = tape.gradient(weighted, variable).numpy(), softmax(logits)
    mean = sum(probs[draw] * found[action.numpy() == draw][0] for draw in range(2))
    trapezoid = probs[0] * probs[1] * (slopes[0, 1] + slopes[1, 1]) / 2
    np.testing.assert_allclose(mean, [-trapezoid, trapezoid], atol=1e-12)


def test_higher_order_is_not_always_nearer():
    cube = {"slopes": 3 * WEIGHTS[:, None] ** 2 * WEIGHTS, "exact": product(PROBS, WEIGHTS**3)}
    errors = {}
    for name in ("straight_through", "reinmax"):
        rows = by_draw(samplers.create(name), "linear") * 3 * WEIGHTS[:, None] ** 2
        errors[name] = np.linalg.norm(PROBS @ rows - cube["exact"])
    assert errors["reinmax"] > errors["straight_through"]


# ---- noise beyond the draw: Gumbel-softmax and its Rao-Blackwellisation


@pytest.mark.parametrize(
    ("objective", "temperature", "expected"),
    [
        ("linear", 1.0, [0.0447, -0.1948, -0.0446, 0.1947]),
        ("linear", 0.5, [0.0309, -0.1903, -0.0746, 0.2340]),
        ("quadratic", 1.0, [0.0051, -0.1991, -0.1473, 0.3413]),
        ("quadratic", 0.5, [-0.0702, -0.0647, -0.2282, 0.3630]),
    ],
)
@pytest.mark.parametrize("name", ["straight_through_gumbel_softmax", "gumbel_rao"])
def test_gumbel_rao_has_the_mean_of_straight_through_gumbel_softmax(name, objective, temperature, expected):
    # For the linear objective at temperature 1 a derivative through the conditional noise would give
    # (0.032, -0.104, -0.004, 0.076), fifty standard errors away.
    sampler = samplers.create({"name": name, "num_samples": 1} if name == "gumbel_rao" else name)
    _, found = gradients(sampler, objective, temperature, rows=60_000)
    assert_mean(found, expected, standard_error_of_expected=0.0014)


def test_gumbel_rao_variance_falls_with_num_samples():
    # Trace of the covariance for the quadratic objective, published to three digits; the sample's own error is 1-2 %.
    for temperature, published in ((1.0, {1: 1.20, 10: 0.90}), (0.5, {1: 3.31, 10: 1.78})):
        for num_samples, expected in published.items():
            sampler = samplers.create({"name": "gumbel_rao", "num_samples": num_samples})
            _, found = gradients(sampler, "quadratic", temperature, rows=60_000)
            np.testing.assert_allclose(found.var(0).sum(), expected, rtol=0.08)


def test_gumbel_rao_is_zgr_in_the_cold_limit():
    cold, limit = samplers.create({"name": "gumbel_rao", "num_samples": 20}), samplers.create("zgr")
    actions, found = gradients(cold, "quadratic", 0.03, rows=20_000)
    for draw, expected in enumerate(by_draw(limit, "quadratic")):
        rows = found[actions == draw]
        error = rows.std(0) / np.sqrt(len(rows))
        assert (np.abs(rows.mean(0) - expected) < Z * error + 0.03).all()


def test_conditional_noise_is_gumbel_noise_that_gives_the_draw():
    probs = tf.constant(np.tile(PROBS / PROBS.sum(), (20_000, 1)))
    action, one_hot = inverse_cdf.draw_one_hot(probs, SEED)
    noise = gumbel_rao.conditional_gumbel(probs, one_hot, (7, 8)).numpy()
    np.testing.assert_array_equal(np.argmax(np.log(probs) + noise, -1), action)
    # Over draws from probs it is plain Gumbel noise again, independent between categories.
    for category in range(4):
        assert scipy.stats.kstest(noise[:, category], scipy.stats.gumbel_r.cdf).pvalue > 1e-6
    correlation = np.corrcoef(noise.T) - np.eye(4)
    assert np.abs(correlation).max() < Z / np.sqrt(len(noise))


def test_conditional_noise_of_impossible_categories_is_finite():
    probs = tf.constant([[0.5, 0.0, 0.5], [1.0, 0.0, 0.0], [1e-30, 1.0, 0.0]])
    for draw in (0, 2):
        noise = gumbel_rao.conditional_gumbel(probs, tf.one_hot([draw, 0, 1], 3), SEED)
        assert np.isfinite(noise).all()


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_temperature_gradient_of_gumbel_rao_is_a_difference_quotient(temperature):
    # With the noise held fixed the surrogate is softmax((theta + noise) / tau); num_samples=1 shows its noise.
    logits = tf.constant([THETA])
    slope = tf.constant(WEIGHTS)
    sampler = samplers.create({"name": "gumbel_rao", "num_samples": 1})
    tau = tf.constant(temperature, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(tau)
        action, one_hot = sampler(logits, SEED, temperature=tau)
        weighted = tf.reduce_sum(one_hot * slope)
    probs = tf.constant([softmax(THETA)])
    noise = gumbel_rao.conditional_gumbel(probs, tf.one_hot(action, 4, dtype=tf.float64), ops.fold_in(SEED, 0)).numpy()
    surrogate = [softmax((THETA + noise[0]) / (temperature + step)) @ WEIGHTS for step in (1e-5, -1e-5)]
    np.testing.assert_allclose(tape.gradient(weighted, tau), (surrogate[0] - surrogate[1]) / 2e-5, rtol=1e-5)


def test_reinmax_rao_in_the_cold_limit_is_half_of_the_rank_one_term():
    sampler = samplers.create({"name": "reinmax_rao", "num_samples": 20})
    actions, found = gradients(sampler, "quadratic", 0.03, rows=20_000)
    for draw in range(4):
        away = np.eye(4)[draw] - softmax(THETA)
        rows = found[actions == draw]
        expected = 0.5 * away * (away @ SLOPES["quadratic"][draw])
        error = rows.std(0) / np.sqrt(len(rows))
        assert (np.abs(rows.mean(0) - expected) < Z * error + 0.03).all()


@pytest.mark.parametrize(
    ("objective", "temperature", "expected"),
    [
        ("linear", 1.0, [0.0535, -0.2113, -0.0368, 0.1946]),
        ("linear", 0.5, [0.0267, -0.1599, -0.0616, 0.1949]),
        ("quadratic", 0.5, [-0.1484, 0.1574, -0.2464, 0.2373]),
    ],
)
def test_reinmax_rao_means(objective, temperature, expected):
    # The expected values come from 4e5 draws a corner of an independent NumPy computation.
    sampler = samplers.create({"name": "reinmax_rao", "num_samples": 2})
    _, found = gradients(sampler, objective, temperature, rows=30_000)
    assert_mean(found, expected, standard_error_of_expected=0.003)


@pytest.mark.parametrize(("objective", "ratio"), [("linear", 0.65), ("quadratic", 0.66)])
def test_reinmax_rao_variance_at_temperature_one(objective, ratio):
    _, found = gradients(samplers.create("reinmax_rao"), objective, rows=20_000)
    _, variance = mean_and_variance(samplers.create("reinmax"), objective)
    np.testing.assert_allclose(found.var(0).sum() / variance, ratio, rtol=0.1)


def test_reinmax_control_variate_lowers_the_variance_of_reinmax_and_the_published_sign_raises_it():
    # 3.220 by enumeration; the others from 1.6e5 draws of an independent NumPy computation.
    for scale, expected in ((0, 3.220), (0.5, 2.37), (-0.5, 4.30)):
        sampler = samplers.create({"name": "reinmax_control_variate", "scale": scale})
        actions, found = gradients(sampler, "quadratic", rows=20_000)
        np.testing.assert_allclose(found.var(0).sum(), expected, rtol=0.08)
        if not scale:
            np.testing.assert_allclose(found, by_draw(samplers.create("reinmax"), "quadratic")[actions], atol=1e-12)


# ---- decoupled temperatures


@pytest.mark.parametrize("forward_temperature", [0.3, 3.0])
def test_forward_temperature_changes_the_law(forward_temperature):
    sampler = samplers.create({"name": "decoupled_straight_through", "forward_temperature": forward_temperature})
    action = sampler(tf.constant(np.tile(THETA, (50_000, 1))), SEED, temperature=0.7).action
    expected = softmax(THETA / forward_temperature)
    counts = np.bincount(action, minlength=4)
    assert scipy.stats.chisquare(counts, 50_000 * expected).pvalue > 1e-6
    assert scipy.stats.chisquare(counts, 50_000 * softmax(THETA)).pvalue < 1e-6
    drawn = sampler.drawn_logits(tf.constant(THETA), temperature=0.7)
    np.testing.assert_allclose(ops.softmax(drawn), expected, rtol=1e-12)


def test_backward_temperature_is_the_calls():
    sampler = samplers.create({"name": "decoupled_straight_through", "forward_temperature": 3.0})
    expected = product(softmax(THETA / 0.7), WEIGHTS) / 0.7
    np.testing.assert_allclose(by_draw(sampler, "linear", 0.7), np.tile(expected, (4, 1)), atol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_law_of_huge_and_illegal_logits(dtype):
    sampler = samplers.create({"name": "decoupled_straight_through", "forward_temperature": 0.01})
    large = 6e4 if dtype == "float16" else 1e30
    drawn = sampler.drawn_logits(tf.constant([large, -large, large, 0.0], dtype), mask=[True, True, True, False])
    assert ops.softmax(drawn).numpy().tolist() == [0.5, 0, 0.5, 0]
    assert ops.entropy(drawn) == tf.cast(np.log(2), dtype)


# ---- perturbed argmax


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_perturbed_argmax_has_the_mean_of_straight_through(temperature):
    sampler = samplers.create({"name": "perturbed_argmax", "num_samples": 3})
    actions, found = gradients(sampler, "quadratic", temperature, rows=40_000)
    for draw, expected in enumerate(by_draw(samplers.create("straight_through"), "quadratic", temperature)):
        assert_mean(found[actions == draw], expected)


def test_perturbed_argmax_variance_falls_with_num_samples():
    variance = {}
    for num_samples in (1, 16):
        sampler = samplers.create({"name": "perturbed_argmax", "num_samples": num_samples})
        _, found = gradients(sampler, "linear", 1.0, rows=20_000)
        variance[num_samples] = found.var(0).sum()
    # A linear objective leaves no variance but that of the noise; each estimate of it is good to about 3 %.
    np.testing.assert_allclose(variance[1] / variance[16], 16, rtol=0.2)


# ---- the draw itself


def chi_square(action, probs):
    """p-value of draws under probs, categories merged into at most 64 buckets of similar probability."""
    bucket = np.minimum(63, 64 * (np.cumsum(probs) - probs / 2)).astype(int)
    expected = np.bincount(bucket, probs, 64) * len(action)
    counts = np.bincount(bucket[action], minlength=64)
    small = expected < 5
    counts, expected = (np.append(each[~small], each[small].sum()) for each in (counts, expected))
    return scipy.stats.chisquare(counts[expected > 0], expected[expected > 0]).pvalue


def test_a_million_categories_keep_their_probabilities():
    categories, draws = 1_000_000, 1000
    probs = softmax(np.random.default_rng(2).normal(0, 2, categories))
    rows = tf.tile(tf.constant(probs, tf.float32)[None], [4, 1])
    action = np.concatenate([inverse_cdf.draw_category(rows, (5, step)) for step in range(draws // 4)])
    assert chi_square(action, probs) > 1e-6
    # The rarest three quarters too, whose probabilities are of the size of a single uniform's grid and below.
    rare = np.argsort(probs)[: categories * 3 // 4]
    assert probs[rare].max() < 2.0**-20
    hits = int(np.isin(action, rare).sum())
    assert scipy.stats.binomtest(hits, draws, probs[rare].sum()).pvalue > 1e-6


@pytest.mark.parametrize("categories", [2, 64, 65, 1000])
def test_categories_keep_their_probabilities(categories):
    probs = softmax(np.random.default_rng(3).normal(0, 2, categories))
    action = inverse_cdf.draw_category(tf.tile(tf.constant(probs, tf.float32)[None], [20_000, 1]), SEED).numpy()
    assert chi_square(action, probs) > 1e-6


@pytest.mark.parametrize("mode", ["eager", "xla"])
@pytest.mark.parametrize("share", [2.0**-24, 1 - 2.0**-24])
@pytest.mark.parametrize("categories", [3, 40, 100, 1000])
def test_impossible_categories_are_never_drawn_at_either_end(monkeypatch, mode, share, categories):
    probs = np.zeros((3, categories), np.float32)
    middle = slice(categories // 3, 2 * categories // 3)
    probs[0, middle] = 1 / (middle.stop - middle.start)
    probs[1, 1] = 1
    probs[2, middle] = np.float32(0.1)  # a row that sums to anything but 1
    monkeypatch.setattr(ops, "uniform", lambda shape, seed: tf.fill(shape, tf.constant(share, tf.float32)))
    draw = inverse_cdf.draw_category
    action = (tf.function(draw, jit_compile=True) if mode == "xla" else draw)(tf.constant(probs), tf.constant(SEED))
    end = middle.start if share < 0.5 else middle.stop - 1
    assert action.numpy().tolist() == [end, 1, end]


def test_rounding_at_the_end_of_the_cumulative_sum_falls_on_the_last_possible_category(monkeypatch):
    # A uniform of exactly 1 stands for a threshold that rounds to the total: nothing exceeds it.
    monkeypatch.setattr(ops, "uniform", lambda shape, seed: tf.ones(shape))
    probs = tf.constant([[0.2, 0.3, 0.5, 0.0], [0.0, 1.0, 0.0, 0.0], [0.1, 0.0, 0.0, 0.0]])
    assert inverse_cdf.draw_category(probs, SEED).numpy().tolist() == [2, 1, 0]
    wide = np.zeros((1, 5000), np.float32)
    wide[0, [7, 1234]] = 0.5
    assert inverse_cdf.draw_category(tf.constant(wide), SEED).numpy().tolist() == [1234]


@pytest.mark.parametrize("categories", [4, 100])
def test_rows_of_nan_are_marked(categories):
    probs = tf.constant([[np.nan] * categories, [1 / categories] * categories], tf.float32)
    action = inverse_cdf.draw_category(probs, SEED).numpy()
    assert action[0] == -1
    assert 0 <= action[1] < categories


def test_a_sampler_that_is_registered_works_everywhere(monkeypatch):
    """One class and `register` are all that creating, drawing, expectations and audits ask for."""
    monkeypatch.setattr(samplers._registry, "registered", {})

    @samplers.register
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Mode(samplers.Sampler):
        name = "mode_of_ones_own"

        def draw(self, logits, seed, temperature):
            action = tf.argmax(logits, -1, output_type=tf.int32)
            return action, tf.one_hot(action, logits.shape[-1], dtype=logits.dtype) + logits - tf.stop_gradient(logits)

    sampler = samplers.create("mode_of_ones_own")
    assert "mode_of_ones_own" in samplers.names()
    assert sampler([[0.0, 2.0, 1.0]], (0, 1)).action.numpy().tolist() == [1]
    report = lab.audit(sampler, lambda one_hot: tf.reduce_sum(one_hot * [1.0, 2.0, 3.0], -1), [0.0, 2.0, 1.0], 1.0, 10)
    np.testing.assert_allclose(report.mean, [1, 2, 3], rtol=1e-6)
    with pytest.raises(TypeError, match=r"Unknown claim `unbiased` 'alwys'. Did you mean 'always'"):
        type("Bad", (Mode,), {"unbiased": "alwys"})
