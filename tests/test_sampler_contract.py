"""What every sampler owes, whatever its estimator: over ALL_SAMPLERS, execution modes, masks, dtypes and bad input."""

from __future__ import annotations

import contextlib
import dataclasses
import functools

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from rlsample import checks, ops, samplers
from tests.helpers import ALL_SAMPLERS, MODES, PATHWISE_SAMPLERS, QUICK_MODES, every_third, sampler_name

each_sampler = pytest.mark.parametrize("sampler", ALL_SAMPLERS, ids=sampler_name)
some_samplers = pytest.mark.parametrize("sampler", every_third(ALL_SAMPLERS), ids=sampler_name)
each_pathwise = pytest.mark.parametrize("sampler", PATHWISE_SAMPLERS, ids=sampler_name)
each_mode = pytest.mark.parametrize("mode", MODES)
DTYPES = ("float16", "bfloat16", "float32", "float64")
SEED = (3, 14)
FALSE_FAILURE_RATE = 1e-6

K = 5
# Ordinary, huge, -inf and single-choice rows; the mask takes another category out of the first and of the last.
INF = np.inf
LOGITS = np.float32(
    [
        [0.5, -1, 0.25, 1, 7],
        [1e30, -1e30, 1e30, 0, 3],
        [0, -INF, 1, -INF, 2],
        [-1e38, 1e38, 1e38, 0, 1e38],
        [-INF, -INF, -INF, -2, -INF],
        [0, 0, 0, 0, 0],
        [30, -30, 29, 0, 1],
        *np.random.default_rng(0).normal(0, 2, (25, K)),
    ]
)
MASK = np.ones(LOGITS.shape, bool)
MASK[0, 4] = MASK[-1, 0] = MASK[5, 1] = False
LEGAL = MASK & (LOGITS > -INF)
TEMPERATURE = np.float32(np.geomspace(0.05, 20, len(LOGITS)))
UPSTREAM = np.float32(np.random.default_rng(1).normal(size=LOGITS.shape))


def draw_with_gradient(sampler, logits, seed, temperature, mask, upstream):
    logits, upstream = tf.convert_to_tensor(logits), tf.convert_to_tensor(upstream)
    with tf.GradientTape() as tape:
        tape.watch([logits, temperature])
        sample = sampler(logits, seed, temperature=temperature, mask=mask)
        weighted = tf.reduce_sum(sample.one_hot * tf.cast(upstream, sample.one_hot.dtype))
    zero = tf.UnconnectedGradients.ZERO
    to_logits, to_temperature = tape.gradient(weighted, [logits, temperature], unconnected_gradients=zero)
    return sample.action, sample.one_hot, to_logits, to_temperature, checks.usable_rows(logits, mask)


@functools.cache
def runner(sampler, mode):
    """One traced or compiled function a sampler and mode, which every test below shares."""
    specs = [tf.TensorSpec(shape, dtype) for shape, dtype in INPUTS]
    function = functools.partial(draw_with_gradient, sampler)
    if mode == "eager":
        return function
    return tf.function(function, input_signature=specs, jit_compile=mode == "xla", autograph=False)


INPUTS = (
    (LOGITS.shape, tf.float32),
    ([2], tf.int32),
    (TEMPERATURE.shape, tf.float32),
    (MASK.shape, tf.bool),
    (UPSTREAM.shape, tf.float32),
)


def run(sampler, mode, logits=LOGITS, seed=SEED, temperature=TEMPERATURE, mask=MASK, upstream=UPSTREAM):
    arguments = (logits, seed, temperature, mask, upstream)
    tensors = [tf.constant(argument, dtype) for argument, (_, dtype) in zip(arguments, INPUTS, strict=True)]
    return [tensor.numpy() for tensor in runner(sampler, mode)(*tensors)]


def test_all_samplers_are_all():
    assert {sampler.name for sampler in ALL_SAMPLERS} == set(samplers.SAMPLERS)
    assert all(name == sampler.name for name, sampler in samplers.SAMPLERS.items())


# ---- what a sample is


@pytest.mark.parametrize("mode", QUICK_MODES)
@each_sampler
def test_samples_are_legal_finite_and_on_the_simplex(sampler, mode):
    action, one_hot, to_logits, to_temperature, usable = run(sampler, mode)
    assert usable.all()
    assert action.dtype == np.int32
    assert LEGAL[np.arange(len(LOGITS)), action].all()
    assert (one_hot[~LEGAL] == 0).all()
    if sampler.relaxed:
        np.testing.assert_allclose(one_hot.sum(-1), 1, rtol=1e-5)
        assert (one_hot >= 0).all()
    else:
        assert one_hot.tobytes() == np.eye(K, dtype=np.float32)[action].tobytes()
    assert np.isfinite(to_logits).all()
    assert np.isfinite(to_temperature).all()
    assert (to_logits[~LEGAL] == 0).all()
    if not sampler.pathwise:
        assert not to_logits.any()
    else:
        assert to_logits.any()


@each_sampler
@pytest.mark.thinned(2)
def test_the_same_seed_gives_the_same_sample_in_every_mode(sampler):
    action, one_hot, to_logits, to_temperature, _ = run(sampler, "eager")
    for mode in ("graph", "xla"):
        other_action, other_one_hot, other_to_logits, other_to_temperature, _ = run(sampler, mode)
        np.testing.assert_array_equal(action, other_action)
        np.testing.assert_allclose(one_hot, other_one_hot, atol=2e-5)
        np.testing.assert_allclose(to_logits, other_to_logits, rtol=2e-3, atol=2e-4)
        np.testing.assert_allclose(to_temperature, other_to_temperature, rtol=5e-3, atol=5e-3)
    assert (run(sampler, "xla", seed=(4, 14))[0] != action).any()


@each_mode
@each_pathwise
def test_gradients_sum_to_zero_and_ignore_a_constant(sampler, mode):
    to_logits = run(sampler, mode)[2]
    scale = np.abs(to_logits).max(-1) + 1
    np.testing.assert_allclose(to_logits.sum(-1) / scale, 0, atol=1e-5)
    shifted = run(sampler, mode, upstream=UPSTREAM + 3)[2]
    # The gradient is at most of the size of upstream / temperature, which is what float32 rounds.
    np.testing.assert_allclose(shifted, to_logits, atol=1e-4 / TEMPERATURE.min(), rtol=1e-3)
    np.testing.assert_allclose(shifted[TEMPERATURE > 0.5], to_logits[TEMPERATURE > 0.5], atol=1e-5, rtol=1e-4)


@each_sampler
def test_frequencies_are_the_law(sampler):
    # Chi-square at a false-failure rate of 1e-6 on the legal categories that can be drawn.
    draws = 20_000
    row = tf.constant([[0.5, -1.0, 0.25, 1.0, 3.0, 0.0]])
    mask = tf.constant([True, True, True, True, False, True])
    sample = sampler(tf.tile(row, [draws, 1]), SEED, temperature=0.7, mask=mask)
    counts = np.bincount(sample.action, minlength=6)
    probs = ops.softmax(sampler.drawn_logits(row, temperature=0.7, mask=mask), mask=mask)[0].numpy().astype(np.float64)
    assert (counts[probs == 0] == 0).all()
    expected = draws * probs[probs > 0] / probs.sum()
    assert scipy.stats.chisquare(counts[probs > 0], expected).pvalue > FALSE_FAILURE_RATE
    if sampler.name not in ("decoupled_straight_through", "entmax"):
        np.testing.assert_allclose(probs, ops.softmax(row, mask=mask)[0], rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@each_sampler
@pytest.mark.thinned(2)
def test_dtypes_come_back_and_noise_does_not_depend_on_them(sampler, dtype):
    logits = tf.cast([[1.0, -2.0, 0.5, 0.25], [1e4, -1e4, 1e4, 0.0]], dtype)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        action, one_hot = sampler(logits, SEED, temperature=0.5, mask=[True, True, True, False])
        weighted = tf.reduce_sum(one_hot * tf.cast([1.0, 2.0, -1.0, 0.5], dtype))
    gradient = tape.gradient(weighted, logits)
    assert action.dtype == tf.int32
    assert one_hot.dtype == dtype
    reference = sampler(tf.cast(logits, tf.float32), SEED, temperature=0.5, mask=[True, True, True, False])
    assert action.numpy().tolist() == reference.action.numpy().tolist()
    np.testing.assert_allclose(tf.cast(one_hot, tf.float32), reference.one_hot, atol=4e-3)
    if not sampler.relaxed:
        assert tf.cast(one_hot, tf.float32).numpy().tolist() == np.eye(4)[action].tolist()
    if sampler.pathwise:
        assert gradient.dtype == dtype
        assert np.isfinite(tf.cast(gradient, tf.float64)).all()
        assert not gradient[:, 3].numpy().any()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["graph", "xla"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@each_sampler
def test_dtypes_compiled(sampler, dtype, mode):
    logits = tf.cast([[1.0, -2.0, 0.5, 0.25], [1e4, -1e4, 1e4, 0.0]], dtype)
    weights = tf.cast([1.0, 2.0, -1.0, 0.5], dtype)

    def function(logits, seed):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            action, one_hot = sampler(logits, seed, temperature=0.5, mask=[True, True, True, False])
            weighted = tf.reduce_sum(one_hot * weights)
        return action, one_hot, tape.gradient(weighted, logits, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    eager, compiled = function(logits, tf.constant(SEED)), MODES[mode](function)(logits, tf.constant(SEED))
    assert eager[0].numpy().tolist() == compiled[0].numpy().tolist()
    for one, other in zip(eager[1:], compiled[1:], strict=True):
        assert one.dtype == other.dtype == dtype
        np.testing.assert_allclose(tf.cast(one, tf.float32), tf.cast(other, tf.float32), atol=2e-2, rtol=1e-2)


# ---- masks


@each_sampler
def test_every_form_of_mask_means_the_same(sampler):
    logits = tf.constant(LOGITS[7:])
    allowed = np.array([True, False, True, True, False])
    by_logits = sampler(tf.where(allowed, logits, -np.inf), SEED)
    forms = [allowed, allowed.astype(np.int8), np.tile(allowed, (len(logits), 1)), tf.constant(allowed)]
    for mask in forms:
        sample = sampler(logits, SEED, mask=mask)
        np.testing.assert_array_equal(sample.action, by_logits.action)
        np.testing.assert_allclose(sample.one_hot, by_logits.one_hot, atol=1e-6)


@pytest.mark.parametrize(
    "mask",
    [np.ones((2, 3)), np.ones((2, 4), bool), np.array([0, 2, 1], np.int8), np.ones((5, 3), bool), np.array(True)],
    ids=["float", "too wide", "value 2", "other batch", "scalar"],
)
@each_sampler
def test_bad_masks_are_refused(sampler, mask):
    with pytest.raises(ValueError, match=r"Expected (an integer )?mask to .*Received"):
        sampler(tf.zeros([2, 3]), SEED, mask=mask)


# ---- temperature


@each_sampler
@pytest.mark.parametrize("temperature", [0, 0.0, -1, np.nan, np.inf, True, None, "1", [1.0, 0.0], np.float32(-2)])
def test_bad_temperatures_are_refused(sampler, temperature):
    with pytest.raises(ValueError, match=r"Expected .*temperature.*Received: temperature="):
        sampler(tf.zeros([2, 3]), SEED, temperature=temperature)


@each_sampler
def test_temperature_of_another_shape_is_refused(sampler):
    with pytest.raises(ValueError, match="batch shape"):
        sampler(tf.zeros([2, 3]), SEED, temperature=tf.ones([3]))


@each_sampler
def test_bad_temperature_in_a_graph_is_an_error_or_not_a_number(sampler):
    graph = runner(sampler, "graph")
    bad = TEMPERATURE.copy()
    bad[2] = -1
    with pytest.raises(tf.errors.InvalidArgumentError, match="finite number > 0"):
        graph(LOGITS, tf.constant(SEED), tf.constant(bad), MASK, UPSTREAM)
    action, one_hot, to_logits, _, _ = run(sampler, "xla", temperature=bad)
    uses_it = sampler.pathwise and sampler.uses_temperature
    if uses_it:
        assert np.isnan(one_hot[2]).any() or np.isnan(to_logits[2]).any()
    assert np.isfinite(np.delete(to_logits, 2, 0)).all()
    assert LEGAL[np.arange(len(LOGITS)), action][np.arange(len(LOGITS)) != 2].all()


@some_samplers
def test_a_moving_temperature_never_retraces(sampler):
    traces, variable = [], tf.Variable(0.5)

    @tf.function(autograph=False)
    def draw(logits, temperature):
        traces.append(temperature)
        by_argument = sampler(logits, SEED, temperature=temperature).one_hot
        by_variable = sampler(logits, SEED, temperature=variable).one_hot
        by_row = sampler(logits, SEED, temperature=tf.fill([2], temperature)).one_hot
        return by_argument, by_variable, by_row

    logits = tf.constant([[0.3, -0.2, 0.1], [1.0, 0.5, 0.2]])
    for value in (0.5, 1.0, 3.0):
        variable.assign(value)
        results = draw(logits, tf.constant(value))
        eager = sampler(logits, SEED, temperature=value).one_hot
        for result in results:
            np.testing.assert_allclose(result, eager, atol=1e-5)
    assert len(traces) == 1


# ---- logits, seeds and shapes


def bad_rows():
    nan, plus_inf, nothing = LOGITS.copy(), LOGITS.copy(), MASK.copy()
    nan[7, 1], plus_inf[7, 2], nothing[7] = np.nan, np.inf, False
    minus_inf = LOGITS.copy()
    minus_inf[7] = -np.inf
    return {
        "nan": (nan, MASK),
        "inf": (plus_inf, MASK),
        "nothing legal": (LOGITS, nothing),
        "all -inf": (minus_inf, MASK),
    }


@pytest.mark.parametrize("fault", bad_rows())
@each_sampler
def test_unusable_rows_never_pass_for_a_sample(sampler, fault):
    logits, mask = bad_rows()[fault]
    with pytest.raises(ValueError, match=r"Expected .*Received: row=\(7,\)"):
        run(sampler, "eager", logits=logits, mask=mask)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Expected every row of logits"):
        runner(sampler, "graph")(logits, tf.constant(SEED), TEMPERATURE, mask, UPSTREAM)
    action, one_hot, _, _, usable = run(sampler, "xla", logits=logits, mask=mask)
    others = np.arange(len(LOGITS)) != 7
    assert action[7] == -1
    assert np.isnan(one_hot[7]).all()
    assert usable.tolist() == others.tolist()
    with pytest.raises(ValueError, match=r"row=\(7,\)"):
        checks.raise_for_unusable(usable)
    reference = run(sampler, "xla")
    np.testing.assert_array_equal(action[others], reference[0][others])
    np.testing.assert_allclose(one_hot[others], reference[1][others], atol=1e-6)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (tf.zeros([2, 0]), "K >= 1"),
        (tf.zeros([]), "K >= 1"),
        (tf.zeros([2, 3], tf.int32), "floating-point"),
        (tf.ragged.constant([[1.0], [2.0, 3.0]]), "dense tensor"),
    ],
    ids=["no categories", "rank 0", "integers", "ragged"],
)
@each_sampler
def test_bad_logits_are_refused(sampler, logits, message):
    with pytest.raises(ValueError, match=message):
        sampler(logits, SEED)


@pytest.mark.parametrize("shape", [(4,), (0, 4), (2, 3, 4), (1, 1), (3, 0, 4), (1,)], ids=str)
@each_sampler
@pytest.mark.thinned(2)
def test_any_batch_shape(sampler, shape):
    logits = tf.random.stateless_normal(shape, (1, 2))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        sample = sampler(logits, SEED, temperature=tf.fill(shape[:-1], 0.5))
        total = tf.reduce_sum(sample.one_hot[..., 0])
    assert sample.action.shape == shape[:-1]
    assert sample.one_hot.shape == shape
    if sampler.pathwise:
        gradient = tape.gradient(total, logits)
        assert gradient.shape == shape
        if shape[-1] == 1:
            assert (sample.action.numpy() == 0).all()
            np.testing.assert_allclose(gradient, 0, atol=1e-7)


@pytest.mark.parametrize("mode", ["graph", "xla"])
def test_an_empty_batch_compiled(mode):
    sampler = samplers.create("straight_through")
    sample = MODES[mode](lambda logits: sampler(logits, SEED))(tf.zeros([0, 4]))
    assert sample.action.shape == (0,)
    assert sample.one_hot.shape == (0, 4)


@some_samplers
def test_unknown_static_shapes(sampler):
    @tf.function(input_signature=[tf.TensorSpec([None, None]), tf.TensorSpec([2], tf.int32)], autograph=False)
    def draw(logits, seed):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            sample = sampler(logits, seed, temperature=0.5)
            total = tf.reduce_sum(sample.one_hot[:, 0])
        return sample, tape.gradient(total, logits, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    for shape in ((2, 3), (3, 70), (1, 1)):
        logits = tf.random.stateless_normal(shape, (1, 2))
        sample, gradient = draw(logits, tf.constant(SEED))
        assert sample.one_hot.shape == gradient.shape == shape
        # Few categories of static number are drawn in one step, an unknown number in two: not the same draw.
        assert sample.action.shape == shape[:1]
        assert ((sample.action >= 0) & (sample.action < shape[1])).numpy().all()


@each_sampler
def test_a_million_categories(sampler):
    logits = tf.random.stateless_normal([1, 1_000_000], (5, 6))
    sample = sampler(logits, SEED)
    assert 0 <= sample.action[0] < 1_000_000
    np.testing.assert_allclose(tf.reduce_sum(sample.one_hot), 1, rtol=1e-4)


@pytest.mark.parametrize(
    "seed", [(0, 1), [-1, 2**31], np.array([1, 2]), np.int64(7), 2**63, -5, tf.constant([1, 2], tf.int64)], ids=repr
)
@each_sampler
@pytest.mark.thinned(2)
def test_seeds_in_every_form(sampler, seed):
    logits = tf.zeros([20, 6])
    sample = sampler(logits, seed)
    np.testing.assert_array_equal(sample.action, sampler(logits, checks.check_seed(seed)).action)


BAD_SEEDS = [None, "1", 2**64, 1.5, (1, 2, 3), (1.0, 2.0), True, tf.zeros([3], tf.int32)]


@pytest.mark.parametrize("seed", BAD_SEEDS, ids=repr)
@each_sampler
def test_bad_seeds_are_refused(sampler, seed):
    with pytest.raises(ValueError, match=r"Expected .*seed.*Received"):
        sampler(tf.zeros([2, 6]), seed)


# ---- expectation


def quadratic(one_hot):
    weights = tf.reshape(tf.range(1.0, 13.0), [3, 4])
    return tf.reduce_sum(one_hot * weights, [-2, -1]) ** 2


@each_sampler
def test_expectation_of_a_factored_action(sampler):
    logits = tf.random.stateless_normal([5, 3, 4], (1, 2))
    mask = np.ones((3, 4), bool)
    mask[0, 3] = mask[2, 0] = False
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = sampler.expectation(quadratic, logits, SEED, temperature=0.5, mask=mask, num_samples=2)
    gradient = tape.gradient(value, logits)
    assert value.shape == (5,)
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()
    assert gradient.numpy().any()
    assert not gradient.numpy()[:, ~mask].any()


@each_sampler
def test_expectation_reaches_the_objective(sampler):
    critic = keras.Sequential(
        [keras.layers.Input([4]), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(1)]
    )
    observation = tf.Variable(tf.ones([6, 1]))
    logits = tf.random.stateless_normal([6, 4], (1, 2))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = sampler.expectation(lambda a: tf.squeeze(critic(a) * observation, -1), logits, SEED, temperature=0.5)
    gradients = tape.gradient(value, [logits, observation, *critic.trainable_variables])
    assert value.shape == (6,)
    assert all(np.isfinite(gradient).all() and gradient.numpy().any() for gradient in gradients)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["graph", "xla"])
@each_sampler
def test_expectation_compiled(sampler, mode):
    logits = tf.random.stateless_normal([5, 3, 4], (1, 2))

    def function(logits, seed):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = sampler.expectation(quadratic, logits, seed, temperature=0.5, num_samples=2)
        return value, tape.gradient(value, logits)

    eager, compiled = function(logits, tf.constant(SEED)), MODES[mode](function)(logits, tf.constant(SEED))
    np.testing.assert_allclose(eager[0], compiled[0], rtol=1e-4)
    np.testing.assert_allclose(eager[1], compiled[1], rtol=2e-3, atol=0.05)


@each_sampler
def test_more_samples_are_the_mean_of_independent_ones(sampler):
    logits = tf.zeros([200, 4])
    weights = tf.constant([1.0, 2.0, 3.0, 4.0])
    one, many = (sampler.draws(logits, SEED, num) for num in (1, 3))
    np.testing.assert_array_equal(one[0].action, sampler(logits, SEED).action)
    for left in range(3):
        for right in range(left):
            same = np.mean(many[left].action.numpy() == many[right].action.numpy())
            assert same < 0.5  # 1/4 in mean, of 200 rows: 8 standard deviations
    if sampler.pathwise:
        value = sampler.expectation(lambda a: tf.linalg.matvec(a, weights), logits, SEED, num_samples=3)
        expected = np.mean([tf.linalg.matvec(draw.one_hot, weights) for draw in many], 0)
        np.testing.assert_allclose(value, expected, rtol=1e-6)


@each_sampler
def test_bad_objectives_are_refused(sampler):
    with pytest.raises(ValueError, match="objective to return values of the batch shape"):
        sampler.expectation(lambda a: a, tf.zeros([2, 3]), SEED)
    with pytest.raises(ValueError, match="num_samples to be a whole number >= 1"):
        sampler.expectation(lambda a: a[..., 0], tf.zeros([2, 3]), SEED, num_samples=0)


def everything(one_hot):
    """One value for the whole batch: the axis forgotten, or the loss of the batch meant."""
    return tf.reduce_sum(one_hot * tf.range(1.0, 5.0)) ** 2


@contextlib.contextmanager
def refused_unless(allowed):
    if allowed:
        yield
        return
    with pytest.raises(ValueError, match=r"objective to return values .*values_shape=\(\)\. Every row needs a value"):
        yield


@pytest.mark.parametrize("shape", [(2, 4), (2, 3, 4)], ids=["single", "joint"])
@each_sampler
def test_an_objective_without_the_batch_is_refused_or_the_loss_of_the_batch(sampler, shape):
    logits = tf.random.stateless_normal(shape, (1, 2))
    with refused_unless(sampler.pathwise):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = sampler.expectation(everything, logits, SEED)
        np.testing.assert_allclose(value, everything(sampler(logits, SEED).one_hot), rtol=1e-5)
        assert np.isfinite(tape.gradient(value, logits)).all()
    with refused_unless(sampler.pathwise):
        compiled = tf.function(lambda x: sampler.expectation(everything, x, SEED), autograph=False)
        assert compiled.get_concrete_function(tf.TensorSpec(shape)).structured_outputs.shape == ()


@each_sampler
def test_a_policy_without_a_batch(sampler):
    logits = tf.constant([0.5, -1.0, 0.2, 1.0])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = sampler.expectation(everything, logits, SEED)
    assert value.shape == ()
    assert np.isfinite(tape.gradient(value, logits)).all()


@pytest.mark.parametrize("name", ["zgr", "score_function"])
def test_a_size_that_only_the_graph_knows_is_asserted_there(name):
    @tf.function(input_signature=[tf.TensorSpec([None, 4])])
    def run(logits):
        return samplers.create(name).expectation(lambda a: tf.reduce_sum(a, 0), logits, SEED)

    with pytest.raises(tf.errors.InvalidArgumentError, match="Expected objective to return values of the batch shape"):
        run(tf.zeros([3, 4]))


# ---- a sampler is its own config


@each_sampler
def test_a_sampler_equals_what_its_config_makes(sampler):
    config = sampler.to_config()
    again = samplers.create(config)
    assert again == sampler
    assert type(again) is type(sampler)
    assert hash(again) == hash(sampler)
    assert samplers.create(sampler) is sampler
    assert config["name"] == sampler.name


@each_sampler
def test_a_sampler_never_changes(sampler):
    for field in dataclasses.fields(sampler):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(sampler, field.name, getattr(sampler, field.name))
    with pytest.raises(dataclasses.FrozenInstanceError):
        sampler.temperature = 1.0


@each_sampler
def test_unknown_options_are_refused_by_name(sampler):
    with pytest.raises(ValueError, match=f"Unknown option for the sampler '{sampler.name}' 'num_sample'"):
        samplers.create({"name": sampler.name, "num_sample": 3})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("reinmx", "Did you mean 'reinmax'"),
        ("nothing of ours", "Choose one of: arsm, "),
        ({"num_samples": 3}, "key 'name'"),
        ({"name": "gumbel_rao", "num_samples": 0}, "num_samples to be a whole number >= 1"),
        ({"name": "gumbel_rao", "num_samples": 2.5}, "num_samples to be a whole number >= 1"),
        ({"name": "reinmax_rao", "num_samples": True}, "num_samples"),
        ({"name": "perturbed_argmax", "num_samples": -1}, "num_samples"),
        ({"name": "entmax", "alpha": 1.0}, "alpha in"),
        ({"name": "entmax", "alpha": 2.5}, "alpha in"),
        ({"name": "gapped_straight_through", "gap": 0}, "gap to be a finite number > 0"),
        ({"name": "gapped_straight_through", "gap": "p"}, 'a number or "probability"'),
        ({"name": "decoupled_straight_through", "forward_temperature": np.inf}, "forward_temperature"),
        ({"name": "reinmax_control_variate", "scale": np.nan}, "scale to be a finite number"),
        ({"name": "reinmax_control_variate", "num_samples": 0}, "num_samples"),
        ({"name": "indecater", "max_evaluations": 0}, "max_evaluations"),
        ({"name": "lambda_mix", "weight": 1.1}, "weight to be a number from 0 to 1"),
        ({"name": "fini", "values": [0, np.inf]}, "values to be finite numbers"),
        ({"name": "fini", "values": [[0.0, 1.0]]}, "values to be finite numbers"),
        ({"name": "fini", "values": [1, 2, 1.0]}, "values that differ"),
        ({"name": "score_function", "baseline": np.nan}, "baseline"),
        ({"name": "exact", "max_outcomes": 0}, "max_outcomes"),
    ],
    ids=str,
)
def test_bad_configs_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        samplers.create(config)
    if isinstance(config, dict) and "name" in config:
        options = {key: value for key, value in config.items() if key != "name"}
        with pytest.raises(ValueError, match=message):
            samplers.SAMPLERS[config["name"]](**options)


def test_a_name_is_a_string():
    with pytest.raises(ValueError, match="key 'name'"):
        samplers.create({"name": ["zgr"]})


def test_a_registered_sampler_is_created_by_name(monkeypatch):
    monkeypatch.setattr(samplers._registry, "registered", {})

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Mode(samplers.Sampler):
        name = "test_mode"
        strength: float = 1.0

        def draw(self, logits, seed, temperature):
            action = tf.argmax(logits, -1, output_type=tf.int32)
            return action, tf.one_hot(action, logits.shape[-1], dtype=logits.dtype)

    assert samplers.register(Mode) is Mode
    assert samplers.create({"name": "test_mode", "strength": 2.0}) == Mode(strength=2.0)
    assert "test_mode" in samplers.names()
    with pytest.raises(ValueError, match="Did you mean 'test_mode'"):
        samplers.create("test_mod")
    for bad in (Mode(), int, type("Unnamed", (Mode,), {"name": 3}), type("Taken", (Mode,), {"name": "zgr"})):
        with pytest.raises(ValueError, match="Expected"):
            samplers.register(bad)
