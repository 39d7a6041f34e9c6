"""The laboratory against closed forms: gradients by hand, standard errors by repetition, in-graph against on-host."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

import rlsample
from rlsample import lab, samplers
from tests.helpers import MODES
from tests.helpers_unbiased import MASK, PROBS, THETA, WEIGHTS, linear, quadratic

SEED = (3, 1)
# |z| < 5.5: each comparison fails by chance less than once in 2e7.
Z = 5.5


def all_action(values):
    return PROBS * (values - PROBS @ values)


TABLE = np.array([[1.0, -2.0, 4.0], [0.5, 3.0, -1.0], [-1.0, 0.7, 0.0]])
JOINT_LOGITS = np.array([[0.3, -0.5, 0.8], [1.0, 0.2, -3.0]])


def product(one_hot):
    """A function of both factors that is no sum of two."""
    return tf.einsum("...i,ij,...j->...", one_hot[..., 0, :], tf.constant(TABLE, one_hot.dtype), one_hot[..., 1, :])


def joint_gradient(mask):
    weights = np.where(mask, np.exp(JOINT_LOGITS), 0)
    probs = weights / weights.sum(-1, keepdims=True)
    gradient = np.zeros((2, 3))
    for a, b in itertools.product(range(3), repeat=2):
        score = np.eye(3)[[a, b]] - probs
        gradient += probs[0, a] * probs[1, b] * TABLE[a, b] * score
    return gradient


# ---- the exact gradient


@pytest.mark.parametrize("mode", MODES)
def test_exact_gradient_is_the_all_action_gradient(mode):
    run = MODES[mode](lambda logits: lab.exact_gradient(quadratic, logits, MASK))
    np.testing.assert_allclose(run(tf.constant(THETA)[None])[0], all_action(WEIGHTS**2), rtol=1e-12)
    batch = np.stack([THETA, np.zeros(5)])
    np.testing.assert_allclose(run(tf.constant(batch))[0], all_action(WEIGHTS**2), rtol=1e-12)


def test_exact_gradient_needs_no_derivative():
    gradient = lab.exact_gradient(lambda d: tf.cast(tf.argmax(d, -1) == 2, tf.float64), THETA[None], MASK)
    np.testing.assert_allclose(gradient[0], all_action(np.eye(5)[2]), rtol=1e-12)


@pytest.mark.parametrize("mask", [[[1, 1, 1], [1, 1, 1]], [[1, 0, 1], [1, 1, 0]]])
def test_exact_gradient_of_a_joint_action(mask):
    gradient = lab.exact_gradient(product, JOINT_LOGITS[None], np.array(mask, np.int8))
    np.testing.assert_allclose(gradient[0], joint_gradient(np.array(mask, bool)), rtol=1e-12, atol=1e-15)


def test_exact_gradient_is_a_constant():
    logits = tf.Variable(THETA[None])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(lab.exact_gradient(quadratic, logits, MASK) ** 2)
    assert tape.gradient(total, logits) is None


def test_exact_gradient_has_a_bound():
    with pytest.raises(ValueError, match=r"Expected at most max_outcomes=8 outcomes .* outcomes='3\^2'"):
        lab.exact_gradient(product, JOINT_LOGITS[None], max_outcomes=8)


# ---- the audit


@pytest.mark.parametrize(
    ("name", "objective", "bias", "cosine", "variance"),
    [
        ("straight_through", linear, 0, 1, 0),
        ("straight_through", quadratic, 1.201, 0.482, 0.302),
        ("reinmax", linear, 0, 1, 0.1569),
        ("reinmax", quadratic, 0, 1, 3.220),
        ("gapped_straight_through", quadratic, 1.013, 0.567, 1.119),
        ("leave_one_out", quadratic, 0, 1, 0.8116),
        ("score_function", linear, 0, 1, 0.8825),
        ("exact", quadratic, 0, 1, 0),
    ],
)
def test_audit_finds_enumerated_bias_and_variance(name, objective, bias, cosine, variance):
    report = lab.audit(name, objective, THETA, num_draws=40_000, mask=MASK, seed=SEED, jit_compile=False)
    rounding = 6e-4
    assert abs(report.relative_bias - bias) < 2.5 * report.relative_bias_standard_error + rounding
    assert abs(report.cosine - cosine) < Z * report.cosine_standard_error + rounding
    assert abs(report.variance - variance) < Z * report.variance_standard_error + rounding
    assert (np.abs(report.mean - report.exact)[~MASK] == 0).all()
    error = report.variance * (1 - 1 / report.num_draws) + report.bias**2
    np.testing.assert_allclose(report.mean_squared_error, error, rtol=1e-9, atol=1e-25)
    np.testing.assert_allclose(report.exact, all_action(WEIGHTS if objective is linear else WEIGHTS**2), rtol=1e-12)
    assert report.seconds > 0
    assert report.num_draws == 40_000


def test_bias_was_relative_and_variance_absolute_and_no_name_said_so():
    """Both come both ways: as they are, and divided by the length of the exact gradient or by its square."""
    gradients, exact = np.array([[3.0, 4.0], [9.0, 12.0]]), np.array([0.0, 2.0])
    report = lab.Audit.of(gradients, exact)
    np.testing.assert_allclose([report.bias, report.variance], [np.hypot(6, 6), 2 * 25], rtol=1e-12)
    np.testing.assert_allclose(report.mean_squared_error, (9 + 4 + 81 + 100) / 2, rtol=1e-12)
    for number, power in (("bias", 1), ("variance", 2), ("mean_squared_error", 2)):
        for name in (number, f"{number}_standard_error"):
            np.testing.assert_allclose(getattr(report, f"relative_{name}"), getattr(report, name) / 2**power)
    # In other units the relative numbers are the same.
    scaled = lab.Audit.of(1000 * gradients, 1000 * exact)
    np.testing.assert_allclose(scaled.bias, 1000 * report.bias)
    np.testing.assert_allclose(scaled.variance, 1e6 * report.variance)
    assert (scaled.relative_bias, scaled.relative_variance) == (report.relative_bias, report.relative_variance)


@pytest.fixture(scope="module")
def repetitions():
    """400 audits of 500 draws each."""
    found = {}
    for name in ("leave_one_out", "straight_through_gumbel_softmax"):
        gradients, _ = lab.sample_gradients(name, quadratic, THETA, 400 * 500, SEED, mask=MASK, jit_compile=False)
        found[name] = [lab.Audit.of(group, all_action(WEIGHTS**2)) for group in np.split(gradients, 400)]
    return found


@pytest.mark.parametrize("name", ["leave_one_out", "straight_through_gumbel_softmax"])
@pytest.mark.parametrize("number", ["variance", "mean_squared_error", "cosine"])
def test_standard_errors_are_the_spread_of_repeated_audits(repetitions, name, number):
    values = np.array([getattr(report, number) for report in repetitions[name]])
    errors = np.array([getattr(report, f"{number}_standard_error") for report in repetitions[name]])
    # The spread of 400 is known to 1 / sqrt(800), and heavier tails than normal widen that.
    low, high = (0.75, 1.25)
    if (number, name) == ("cosine", "leave_one_out"):
        # At a cosine of 1, where only the second order is left, the standard error is a bound.
        low, high = (0.3, 1.0)
    assert low < values.std() / np.sqrt(np.mean(errors**2)) < high


def test_standard_errors_of_the_mean_and_of_the_bias(repetitions):
    for reports in repetitions.values():
        spread = np.std([report.mean for report in reports], 0)[MASK]
        stated = np.sqrt(np.mean([report.mean_standard_error**2 for report in reports], 0))[MASK]
        np.testing.assert_allclose(spread, stated, rtol=0.25)
    unbiased = repetitions["leave_one_out"]
    squares = np.array([report.bias**2 for report in unbiased])
    stated = np.array([report.bias_standard_error**2 for report in unbiased])
    assert abs(np.mean(squares - stated)) < Z * np.std(squares - stated) / 20
    biased = repetitions["straight_through_gumbel_softmax"]
    assert np.std([report.bias for report in biased]) < np.mean([report.bias_standard_error for report in biased])


def test_signal_to_noise_and_the_degenerate_cases():
    gradients = np.array([[3.0, 4.0], [3.0, 4.0]])
    report = lab.Audit.of(gradients, np.array([3.0, 4.0]))
    assert report.signal_to_noise == np.inf
    assert (report.variance, report.bias, report.mean_squared_error) == (0, 0, 0)
    assert report.cosine == 1
    assert np.isnan(report.seconds)
    np.testing.assert_allclose(lab.Audit.of([[4.0, 4.0], [2.0, 4.0]], np.zeros(2)).signal_to_noise, 5 / np.sqrt(2))
    nowhere = lab.Audit.of(gradients, np.zeros(2))
    assert nowhere.bias == 5
    assert nowhere.relative_bias == np.inf
    assert np.isnan(nowhere.cosine)
    assert np.isnan(lab.Audit.of(np.zeros((2, 2)), np.zeros(2)).relative_bias)
    with pytest.raises(ValueError, match=r"Expected gradients of the shape \[N >= 2, \*\[3\]\]"):
        lab.Audit.of(gradients, np.zeros(3))


def test_temperature_a_row_mask_and_joint_action():
    mask = np.array([[True, False, True], [True, True, False]])
    options = {"num_draws": 16_000, "mask": mask, "seed": SEED}
    report = lab.audit("leave_one_out", product, JOINT_LOGITS, np.array([0.5, 2.0]), **options)
    assert report.mean.shape == (2, 3)
    np.testing.assert_allclose(report.exact, joint_gradient(mask), rtol=1e-12, atol=1e-15)
    assert not report.mean[~mask].any()
    assert report.bias < 2.5 * report.bias_standard_error
    # Linear in each factor: straight-through has no bias, though the draws of the other factor are noise.
    multilinear = lab.audit("straight_through", product, JOINT_LOGITS, **options)
    assert multilinear.bias < 2.5 * multilinear.bias_standard_error
    assert multilinear.variance > 0.01
    options["jit_compile"] = False
    by_row = lab.audit("straight_through", product, JOINT_LOGITS, np.array([1.0, 2.0]), **options)
    rows = [lab.audit("straight_through", product, JOINT_LOGITS, tau, **options).mean for tau in (1.0, 2.0)]
    np.testing.assert_allclose(by_row.mean, [rows[0][0], rows[1][1]], rtol=1e-6)


def test_draws_are_as_many_as_asked_and_the_same_in_graph_and_xla():
    both = [
        lab.sample_gradients("zgr", quadratic, THETA, 19, SEED, mask=MASK, jit_compile=jit)[0] for jit in (False, True)
    ]
    assert both[0].shape == (19, 5)
    np.testing.assert_allclose(*both, rtol=1e-12, atol=1e-15)
    other, _ = lab.sample_gradients("zgr", quadratic, THETA, 19, (3, 2), mask=MASK)
    assert (other != both[0]).any()


def test_averaging_samples_divides_the_variance():
    one, four = (
        lab.audit("score_function", linear, THETA, num_draws=40_000, mask=MASK, seed=SEED, num_samples=number)
        for number in (1, 4)
    )
    error = np.hypot(one.variance_standard_error / 4, four.variance_standard_error)
    assert abs(one.variance / 4 - four.variance) < Z * error


def test_objective_outside_tensorflow():
    def black_box(one_hot):
        values = tf.numpy_function(lambda d: d @ WEIGHTS > 0.7, [one_hot], tf.bool)
        return tf.ensure_shape(tf.cast(values, tf.float64), one_hot.shape[:-1])

    options = {"num_draws": 8000, "mask": MASK, "seed": SEED, "jit_compile": False}
    unbiased = lab.audit("leave_one_out", black_box, THETA, **options)
    assert unbiased.bias < 2.5 * unbiased.bias_standard_error
    # No derivative, no gradient: visible as what it is.
    assert lab.audit("straight_through", black_box, THETA, **options).relative_bias == 1


def everything(one_hot):
    """The axis forgotten: one value for all rows."""
    return tf.reduce_sum(one_hot * tf.constant(WEIGHTS, one_hot.dtype)) ** 2


@pytest.mark.parametrize(
    "measure",
    [
        lambda objective: lab.audit("zgr", objective, THETA, num_draws=16),
        lambda objective: lab.audit("exact", objective, np.zeros((2, 5)), num_draws=16),
        lambda objective: lab.sample_gradients("straight_through", objective, THETA, 16, SEED),
        lambda objective: lab.sample_gradients("arsm", objective, THETA, 16, SEED),
        lambda objective: lab.exact_gradient(objective, np.zeros((2, 5))),
        lambda objective: lab.exact_gradient(objective, np.zeros((2, 3, 5))),
        lambda objective: lab.online("zgr", objective, np.zeros((2, 5)), SEED),
        lambda objective: tf.function(lambda logits: lab.online("zgr", objective, logits, SEED))(tf.zeros([2, 3, 5])),
    ],
)
def test_an_objective_without_the_batch_was_audited_as_if_each_draw_had_its_value(measure):
    with pytest.raises(ValueError, match=r"objective to return values of the batch shape .*values_shape=\(\)"):
        measure(everything)


def test_one_policy_without_a_batch_is_a_batch_of_shape_nothing():
    np.testing.assert_allclose(lab.exact_gradient(everything, THETA, MASK), all_action(WEIGHTS**2), rtol=1e-12)
    assert lab.online("zgr", everything, THETA, SEED, mask=MASK).variance > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": "reinmix"}, "Unknown sampler 'reinmix'. Did you mean 'reinmax'"),
        ({"num_draws": 1}, "Expected num_draws to be a whole number >= 2"),
        ({"temperature": 0.0}, "Expected temperature to be a finite number > 0"),
        ({"temperature": np.ones(3)}, "Expected temperature to be a scalar or to have the batch shape"),
        ({"mask": [True, False]}, "Expected mask to have the shape of the logits"),
        ({"mask": [False] * 5}, "Expected at least one legal category in every row"),
        ({"logits": [0.0, float("nan")], "mask": None}, "Expected logits without NaN"),
        ({"seed": 0.5}, "Expected seed to be a pair of integers"),
        ({"objective": lambda d: d}, "Expected objective to return values of the batch shape"),
    ],
)
def test_bad_input(changes, message):
    arguments = {"sampler": "zgr", "objective": quadratic, "logits": THETA, "mask": MASK, "num_draws": 4} | changes
    with pytest.raises(ValueError, match=message):
        lab.audit(**arguments)


# ---- in the graph of a training step


def reports_online(sampler, objective, logits, mask, number, num_draws, temperature=1.0):
    """`number` reports from different seeds, in one graph."""

    @tf.function(autograph=False)
    def run(seeds):
        def one(seed):
            return lab.online(sampler, objective, logits, seed, num_draws, temperature=temperature, mask=mask)

        return tf.map_fn(one, seeds, fn_output_signature=lab.OnlineAudit(*[tf.float32] * len(lab.OnlineAudit._fields)))

    seeds = np.stack([np.arange(number), np.full(number, 5)], -1)
    return lab.OnlineAudit(*(values.numpy().astype(np.float64) for values in run(tf.constant(seeds, tf.int32))))


@pytest.mark.parametrize("name", [pytest.param("straight_through_gumbel_softmax", marks=pytest.mark.slow), "reinmax"])
def test_online_is_the_audit_in_expectation(name):
    sampler, temperature = samplers.create(name), 0.7
    logits = tf.constant(np.tile(THETA, (8, 1)), tf.float32)
    audit = lab.audit(sampler, quadratic, THETA, temperature, 40_000, mask=MASK, seed=SEED, jit_compile=False)
    # Few draws: the squares have no bias. Eight equal rows have eight times the squares of one.
    few = reports_online(sampler, quadratic, logits, MASK, 200, 4, temperature)
    for number in ("variance", "mean_squared_error"):
        values, error = getattr(few, number) / 8, getattr(audit, f"{number}_standard_error")
        error = np.hypot(error, values.std() / np.sqrt(len(values)))
        assert abs(values.mean() - getattr(audit, number)) < Z * error
    # Many: so have the ratios.
    many = reports_online(sampler, quadratic, logits, MASK, 10, 1000, temperature)
    for number in ("cosine", "signal_to_noise"):
        values = getattr(many, number)
        assert abs(values.mean() - getattr(audit, number)) < 0.03
    assert abs(many.relative_bias.mean() - audit.relative_bias) < 0.05
    size = np.sqrt(8) * np.linalg.norm(audit.exact)
    for number, power in (("bias", 1), ("variance", 2), ("mean_squared_error", 2)):
        np.testing.assert_allclose(getattr(many, f"relative_{number}"), getattr(many, number) / size**power, rtol=1e-4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.thinned(2)
def test_online_modes_agree(mode):
    sampler, logits = samplers.create("straight_through_gumbel_softmax"), tf.constant(JOINT_LOGITS[None], tf.float32)
    mask = np.array([[1, 0, 1], [1, 1, 0]], np.int8)
    run = MODES[mode](lambda logits, seed: lab.online(sampler, product, logits, seed, 8, mask=mask))
    report = run(logits, tf.constant(SEED))
    np.testing.assert_allclose(report, lab.online(sampler, product, logits, SEED, 8, mask=mask), rtol=1e-4)
    assert all(value.dtype == tf.float32 and value.shape == () for value in report)


def test_online_takes_a_name_as_the_audit_does():
    by_name, built = (lab.online(each, linear, THETA[None], SEED, 2) for each in ("zgr", samplers.create("zgr")))
    np.testing.assert_array_equal(by_name, built)


def test_online_without_noise_and_without_signal():
    logits = tf.constant(THETA[None], tf.float32)
    straight = lab.online(samplers.create("straight_through"), linear, logits, SEED, mask=MASK)
    np.testing.assert_allclose(straight.cosine, 1, rtol=1e-6)
    np.testing.assert_allclose([straight.relative_bias, straight.relative_variance], 0, atol=1e-5)
    assert straight.signal_to_noise > 1e5
    nothing = lab.online(samplers.create("zgr"), lambda d: 0 * linear(d), logits, SEED, mask=MASK)
    assert (nothing.cosine, nothing.signal_to_noise, nothing.variance, nothing.bias) == (0, 0, 0, 0)
    assert np.isnan([nothing.relative_bias, nothing.relative_variance]).all()


def test_online_carries_no_gradient_and_flags_a_broken_row():
    logits = tf.Variable(THETA[None].astype(np.float32))
    with tf.GradientTape() as tape:
        report = lab.online(samplers.create("zgr"), quadratic, logits, SEED, 4, mask=MASK)
        total = tf.add_n(list(report))
    assert tape.gradient(total, logits) is None
    compiled = tf.function(lambda x: lab.online(samplers.create("zgr"), quadratic, x, SEED, 4), jit_compile=True)
    assert np.isnan(compiled(tf.constant([[0.0, float("nan"), 0.0, 0.0, 0.0]]))).all()
    with pytest.raises(ValueError, match="Expected num_draws to be a whole number >= 2"):
        lab.online(samplers.create("zgr"), quadratic, logits, SEED, 1)


def test_the_laboratory_is_part_of_the_library():
    assert rlsample.lab is lab
