"""The unbiased samplers against the exact gradient, closed forms and published variances."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from rlsample import ops, samplers
from rlsample.samplers.unordered_set import set_weights
from scripts.audit import references
from tests.helpers import MODES, QUICK_MODES
from tests.helpers_unbiased import (
    DRAWS,
    FALSE_FAILURE_RATE,
    MASK,
    PROBS,
    SEED,
    THETA,
    UNBIASED,
    WEIGHTS,
    assert_mean,
    black_box,
    cubic,
    estimates,
    linear,
    network,
    quadratic,
    rows,
    trace_variance,
)

BLACK_BOX = {name: UNBIASED[name] for name in ("leave_one_out", "arsm", "disarm", "unordered_set")} | {
    "relax": samplers.create({"name": "relax", "scale": 0, "control_variate": network()})
}


@pytest.mark.parametrize("name", UNBIASED)
@pytest.mark.thinned(2)
def test_unbiased(name):
    # Quadratic at the draw and cubic beside it: one compiled program for both.
    def both(one_hot):
        return tf.concat([quadratic(one_hot[: DRAWS // 2]), cubic(one_hot[DRAWS // 2 :])], 0)

    value, gradient = estimates(UNBIASED[name], both, rows(THETA), MASK)
    assert not gradient[:, ~MASK].any()
    for power, half in ((2, slice(DRAWS // 2)), (3, slice(DRAWS // 2, None))):
        f = WEIGHTS**power
        assert_mean(value[half], PROBS @ f)
        assert_mean(gradient[half], PROBS * (f - PROBS @ f))


@pytest.mark.parametrize("name", BLACK_BOX)
def test_unbiased_for_a_black_box(name):
    value, gradient = estimates(BLACK_BOX[name], black_box, rows(THETA), MASK)
    f = np.float64(WEIGHTS > 0.7)
    assert_mean(value, PROBS @ f)
    assert_mean(gradient, PROBS * (f - PROBS @ f))


JOINT_LOGITS = np.float32([[0.3, -0.5, 0.8], [1.0, 0.2, -3.0]])
JOINT_MASK = np.array([[True, True, True], [True, True, False]])
TABLE = tf.constant([[1.0, -2.0, np.nan], [0.5, 3.0, np.nan], [-1.0, 0.7, np.nan]])


def product(one_hot):
    """A function of both factors that is no sum of two; NaN where the mask forbids."""
    table = tf.where(tf.math.is_nan(TABLE), 0.0, TABLE)
    bilinear = tf.einsum("...i,ij,...j->...", one_hot[..., 0, :], table, one_hot[..., 1, :])
    return tf.where(one_hot[..., 1, 2] > 0.5, np.nan, bilinear**2 + bilinear)


@pytest.mark.parametrize(
    "name", ["leave_one_out", "rebar", "relax", "arsm", "disarm", "indecater", "unordered_set", "unordered_set 3"]
)
@pytest.mark.thinned(2)
def test_unbiased_for_a_joint_action(name):
    exact, exact_gradient = estimates(samplers.create("exact"), product, JOINT_LOGITS[None], JOINT_MASK)
    value, gradient = estimates(UNBIASED[name], product, rows(JOINT_LOGITS), JOINT_MASK)
    assert value.shape == (DRAWS,)
    assert not gradient[:, ~JOINT_MASK].any()
    assert_mean(value, exact[0])
    assert_mean(gradient, exact_gradient[0])


def test_relax_network_of_a_joint_action_may_be_per_factor_or_joint():
    per_factor = keras.Sequential([keras.layers.Input([2, 3]), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])
    joint = keras.Sequential([keras.layers.Input([2, 3]), keras.layers.Flatten(), keras.layers.Dense(1)])
    exact_gradient = estimates(samplers.create("exact"), product, JOINT_LOGITS[None], JOINT_MASK)[1]
    for free in (per_factor, joint):
        sampler = samplers.create({"name": "relax", "control_variate": free})
        assert_mean(estimates(sampler, product, rows(JOINT_LOGITS), JOINT_MASK)[1], exact_gradient[0])


@pytest.mark.parametrize(
    "name", ["leave_one_out", "rebar", "relax all", "arsm", "disarm", "indecater", "unordered_set"]
)
def test_gradients_to_the_objective_are_unbiased(name):
    parameters = tf.constant(rows(WEIGHTS), tf.float32)

    @tf.function(autograph=False)
    def to_parameters():
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            logits = tf.constant(rows(THETA), tf.float32)
            value = UNBIASED[name].expectation(
                lambda one_hot: tf.reduce_sum(one_hot * parameters, -1) ** 2, logits, SEED, mask=MASK
            )
        return tape.gradient(value, parameters)

    assert_mean(to_parameters().numpy().astype(np.float64), 2 * PROBS * WEIGHTS)


# ---- variances


DISARM = [references.disarm(1.0, objective).variance for objective in ("linear", "quadratic")]


def leave_one_out_variance(f):
    """Trace variance of two draws, by enumeration."""
    exact, second = PROBS * (f - PROBS @ f), 0.0
    for a, b in itertools.product(range(4), repeat=2):
        gradient = 0.5 * (f[a] - f[b]) * (np.eye(5)[a] - np.eye(5)[b])
        second += PROBS[a] * PROBS[b] * gradient @ gradient
    return second - exact @ exact


def unordered_pair_variance(f):
    """Trace variance of sets of two, by enumeration and the two-element formula."""
    exact, second = PROBS * (f - PROBS @ f), 0.0
    for a, b in itertools.combinations(range(4), 2):
        p, q = PROBS[a], PROBS[b]
        chance = p * q / (1 - p) + p * q / (1 - q)
        first = np.array([p * q / (1 - p), p * q / (1 - q)]) / chance
        advantage = first * (f[a] - f[b]) * np.array([1 - p, q - 1])
        gradient = advantage @ (np.eye(5)[[a, b]] - PROBS)
        second += chance * gradient @ gradient
    return second - exact @ exact


def test_enumerated_variances_are_the_published_ones():
    assert round(leave_one_out_variance(WEIGHTS), 4) == 0.6061
    assert round(leave_one_out_variance(WEIGHTS**2), 4) == 0.8116
    assert round(unordered_pair_variance(WEIGHTS**2), 3) == 0.515


@pytest.mark.parametrize(
    ("name", "objective", "expected", "rounding"),
    [
        ("leave_one_out", linear, 0.6061, 5e-5),
        ("leave_one_out", quadratic, 0.8116, 5e-5),
        ("unordered_set", quadratic, 0.515, 5e-4),
        # Four million draws of an independent implementation; standard error 0.0002.
        ("arsm", quadratic, 0.3439, 1e-3),
        # By enumeration of what the nodes of the tree can choose.
        ("disarm", linear, DISARM[0], 1e-6),
        ("disarm", quadratic, DISARM[1], 1e-6),
    ],
)
def test_trace_variances(name, objective, expected, rounding):
    variance, error = trace_variance(estimates(UNBIASED[name], objective, rows(THETA), MASK)[1])
    assert abs(variance - expected) < scipy.stats.norm.isf(FALSE_FAILURE_RATE / 2) * error + rounding


TOY = [(0.45, 0.0), (0.45, -2.0), (0.499, 0.0), (0.499, -2.0)]
PUBLISHED_TOY = {
    "rebar": ([2.26e-2, 1.33e-2, 2.23e-2, 1.19e-2], 1e-4),
    "arsm": ([2.08e-4, 3.55e-4, 8.33e-8, 1.42e-7], 5e-3),
    "disarm": ([0, 3.52e-4, 0, 1.41e-7], 5e-3),
    "leave_one_out": ([6.25e-4, 4.15e-4, 2.5e-7, 1.66e-7], 5e-3),
}


@pytest.mark.parametrize("name", PUBLISHED_TOY)
def test_variances_of_the_two_way_toy(name):
    """(b - t)^2 for one Bernoulli: four settings as the four quarters of one batch."""
    t = np.repeat([setting[0] for setting in TOY], DRAWS)
    theta = np.repeat([setting[1] for setting in TOY], DRAWS)
    logits = np.stack([np.zeros_like(theta), theta], -1)
    target = tf.constant(t, tf.float32)
    gradients = estimates(UNBIASED[name], lambda one_hot: (one_hot[..., 1] - target) ** 2, logits)[1][:, 1:]
    published, rounding = PUBLISHED_TOY[name]
    for (target_value, logit), quarter, expected in zip(TOY, np.split(gradients, 4), published, strict=True):
        p = 1 / (1 + np.exp(-logit))
        assert_mean(quarter[:, 0], p * (1 - p) * (1 - 2 * target_value))
        variance, error = trace_variance(quarter)
        if name == "leave_one_out":
            closed = (1 - 2 * target_value) ** 2 * p * (1 - p) * (0.5 - p * (1 - p))
            np.testing.assert_allclose(expected, closed, rtol=5e-3)
        slack = rounding if name == "rebar" else rounding * expected
        assert abs(variance - expected) < scipy.stats.norm.isf(FALSE_FAILURE_RATE / 8) * error + slack + 1e-15


def test_indecater_sums_each_factor_out_and_draws_the_others():
    """By enumeration of the draw: the mean of the estimates given the other factor's category."""
    logits = tf.constant(JOINT_LOGITS[None], tf.float64)
    p, q = ops.softmax(logits, mask=JOINT_MASK)[0].numpy()
    f = np.where(np.isnan(TABLE), 0, TABLE) ** 2 + np.where(np.isnan(TABLE), 0, TABLE)
    asked = []

    def objective(one_hot):
        asked.append(one_hot)
        return product(tf.cast(one_hot, tf.float32))

    _, gradient = estimates(samplers.create("indecater"), product, rows(JOINT_LOGITS, 500), JOINT_MASK)
    for row in gradient:
        others = [f[:, k] for k in range(2)], [f[k] for k in range(3)]
        assert any(np.allclose(row[0], p * (each - p @ each), atol=1e-5) for each in others[0])
        assert any(np.allclose(row[1], q * (each - q @ each), atol=1e-5) for each in others[1])
    samplers.create("indecater").expectation(objective, logits, SEED, mask=JOINT_MASK)
    assert len(asked) == 2 * 3 + 1
    bounded = samplers.create({"name": "indecater", "max_evaluations": 6})
    with pytest.raises(ValueError, match="at most max_evaluations=6 evaluations"):
        bounded.expectation(objective, logits, SEED, mask=JOINT_MASK)


def test_indecater_has_no_noise_for_sums_over_factors():
    weights = tf.constant([[1.0, -2.0, 0.5], [3.0, 0.2, 7.0]])
    _, gradient = estimates(
        samplers.create("indecater"), lambda d: tf.reduce_sum(d * weights, [-2, -1]), rows(JOINT_LOGITS, 50)
    )
    p = ops.softmax(JOINT_LOGITS).numpy()
    expected = p * (weights - np.sum(p * weights, -1, keepdims=True))
    np.testing.assert_allclose(gradient, np.broadcast_to(expected, gradient.shape), atol=1e-5)


def test_arsm_of_two_categories_is_arm():
    logits = np.random.default_rng(0).normal(size=(50, 2))
    f = np.array([0.3, -1.7])
    _, gradient = estimates(samplers.create("arsm"), lambda d: tf.reduce_sum(d * tf.constant(f, d.dtype), -1), logits)
    noise = ops.exponential([50, 2], SEED).numpy().astype(np.float64)
    u = noise[:, 0] / noise.sum(-1)
    theta = logits[:, 1] - logits[:, 0]
    sigmoid = 1 / (1 + np.exp(-theta))
    arm = (f[np.int32(u > 1 - sigmoid)] - f[np.int32(u < sigmoid)]) * (u - 0.5)
    np.testing.assert_allclose(gradient, np.stack([-arm, arm], -1), atol=1e-6)


# ---- the set of all is the whole


@pytest.mark.parametrize("mode", QUICK_MODES)
@pytest.mark.parametrize("shape", ["row", "joint"])
def test_a_set_of_all_legal_outcomes_is_exact(mode, shape):
    single = shape == "row"
    logits = tf.constant(THETA if single else JOINT_LOGITS, tf.float32)[None]
    mask = np.array([True, False, True, True, False]) if single else JOINT_MASK
    parameter = tf.constant(0.7)

    def objective(one_hot):
        return parameter * (quadratic(one_hot) if single else product(one_hot))

    def run(sampler, logits, parameter_value):
        with tf.GradientTape() as tape:
            tape.watch([logits, parameter])
            value = sampler.expectation(objective, logits, SEED, mask=mask)
        return value, *tape.gradient(value, [logits, parameter])

    # Three and six legal outcomes; seven asked for.
    sampler = samplers.create({"name": "unordered_set", "num_samples": 7})
    expected = run(samplers.create("exact"), logits, parameter)
    received = MODES[mode](lambda *inputs: run(sampler, *inputs))(logits, parameter)
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_set_weights_by_brute_force_and_for_tiny_probabilities():
    for probs in ([0.5, 0.2, 0.2], [0.9, 1e-9, 1e-12], [1e-20, 1e-25, 1e-6], [0.3, 0.3, 0.4]):
        rest = max(1 - sum(probs), 0)

        def completed(drawn, probs=probs, rest=rest):
            left = [s for s in range(3) if s not in drawn]
            mass = rest + sum(probs[s] for s in left)
            return sum(probs[s] / mass * completed((*drawn, s)) for s in left) if left else 1.0

        with np.errstate(divide="ignore"):
            log_rest = np.maximum(np.log(rest), -3e38)
        first, baseline = set_weights(tf.math.log(tf.constant([probs], tf.float64)), tf.constant([log_rest]))
        whole = completed(())
        np.testing.assert_allclose(first[0], [probs[s] * completed((s,)) / whole for s in range(3)], rtol=1e-9)
        np.testing.assert_allclose(tf.reduce_sum(first), 1, rtol=1e-9)
        for s, t in itertools.permutations(range(3), 2):
            np.testing.assert_allclose(baseline[0, s, t], probs[t] * completed((s, t)) / completed((s,)), rtol=1e-9)


# ---- extremes


@pytest.mark.parametrize("mode", QUICK_MODES)
@pytest.mark.parametrize(
    "name", ["leave_one_out", "rebar", "relax all", "arsm", "disarm", "indecater", "unordered_set", "unordered_set 3"]
)
@pytest.mark.thinned(2)
def test_extreme_rows_stay_finite(name, mode):
    inf = np.inf
    logits = tf.constant(
        [[1e30, -1e30, 0, 1, 7], [-1e30, -1e30, -1e30, 0, 7], [0, -inf, 1e30, 1e30, 7], [-inf, -2, -inf, -inf, 7]]
    )
    legal = MASK & (logits.numpy() > -inf)

    def run(logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            # What is not legal has no value.
            value = UNBIASED[name].expectation(
                lambda d: linear(d) + tf.where(tf.reduce_any((d > 0.5) & ~legal, -1), np.nan, 0.0),
                logits,
                SEED,
                mask=MASK,
            )
        return value, tape.gradient(value, logits)

    value, gradient = MODES[mode](run)(logits)
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()
    assert not gradient.numpy()[~legal].any()
    np.testing.assert_allclose(value[1], 1.5)
    np.testing.assert_allclose(value[3], -2)
    np.testing.assert_allclose(gradient[3], 0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize(
    "name", ["leave_one_out", "rebar", "relax all", "arsm", "disarm", "indecater", "unordered_set"]
)
def test_narrow_types_have_the_noise_and_arithmetic_of_float32(name, dtype):
    def run(logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = UNBIASED[name].expectation(quadratic, logits, SEED, mask=MASK)
        return value, tape.gradient(value, logits)

    logits = tf.constant(rows(THETA, 20), dtype)
    received, reference = run(logits), run(tf.cast(logits, tf.float32))
    for one, other in zip(received, reference, strict=True):
        assert one.dtype == dtype
        np.testing.assert_allclose(tf.cast(one, tf.float32), other, rtol=3e-2, atol=3e-2)


def test_exact_never_asks_for_an_impossible_outcome():
    parameter = tf.Variable(2.0)
    for objective, logits, mask in (
        (lambda d: parameter * tf.where(d[..., 4] > 0.5, np.nan, linear(d)), tf.constant([THETA], tf.float32), MASK),
        (lambda d: parameter * product(d), tf.constant(JOINT_LOGITS[None]), JOINT_MASK),
    ):
        with tf.GradientTape() as tape:
            value = samplers.create("exact").expectation(objective, logits, SEED, mask=mask)
        np.testing.assert_allclose(tape.gradient(value, parameter), value[0] / 2, rtol=1e-5)
