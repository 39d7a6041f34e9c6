from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from rlsample import ops
from rlsample.ops import noise
from tests.helpers import MODES

DTYPES = ("float16", "bfloat16", "float32", "float64")
SEED = (1, 2)
LOGITS = np.array([[0.5, -1.0, 0.25, 1.0], [1000.0, -1000.0, 999.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
MASK = np.array([[True, True, False, True], [True, True, True, True], [False, False, True, False]])
INF = np.inf

each_mode = pytest.mark.parametrize("mode", MODES)


def gradient(function, *arguments):
    arguments = [tf.convert_to_tensor(argument) for argument in arguments]
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        value = function(*arguments)
    return tape.gradient(value, arguments)


def numeric_gradient(function, x, step=1e-6):
    """Central differences of a scalar function of a NumPy array."""
    found = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        change = np.zeros_like(x)
        change[index] = step
        found[index] = (function(x + change) - function(x - change)) / (2 * step)
    return found


def hessian_product(function, x, vector):
    x, vector = tf.constant(x), tf.constant(vector)
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            value = function(x)
        slope = tf.reduce_sum(inner.gradient(value, x) * vector)
    return outer.gradient(slope, x)


# ---- softmax: the Jacobian, the product with it, the fused fast path


def test_the_jacobian_is_what_finite_differences_say():
    logits = LOGITS[0]
    numeric = [numeric_gradient(lambda x, k=k: scipy.special.softmax(x)[k], logits) for k in range(4)]
    np.testing.assert_allclose(ops.softmax_jacobian(tf.constant(logits)), numeric, atol=1e-9)


def test_summing_the_jacobian_instead_of_multiplying_gives_zero():
    # Its row sums, and with them the gradient of an unweighted sum of probabilities, vanish for every input.
    jacobian = ops.softmax_jacobian(tf.constant(LOGITS))
    assert jacobian.shape == (3, 4, 4)
    np.testing.assert_allclose(tf.reduce_sum(jacobian, -1), 0, atol=1e-15)
    np.testing.assert_allclose(tf.reduce_sum(jacobian, -2), 0, atol=1e-15)
    np.testing.assert_allclose(gradient(ops.softmax, LOGITS)[0], 0, atol=1e-15)


@each_mode
def test_the_product_needs_no_jacobian(mode):
    upstream = np.random.default_rng(0).normal(size=LOGITS.shape)
    product = MODES[mode](lambda x, g: gradient(lambda x: ops.softmax(x) * g, x)[0])
    found = product(tf.constant(LOGITS), tf.constant(upstream))
    expected = tf.linalg.matvec(ops.softmax_jacobian(LOGITS), upstream)
    np.testing.assert_allclose(found, expected, atol=1e-15)
    np.testing.assert_allclose(ops.softmax_vjp(ops.softmax(LOGITS), upstream), expected, atol=1e-15)
    np.testing.assert_allclose(ops.softmax_vjp(ops.softmax(LOGITS), upstream + 5), expected, atol=1e-14)
    np.testing.assert_allclose(tf.reduce_sum(found, -1), 0, atol=1e-15)


def test_softmax_gradient_is_what_finite_differences_say():
    weights = np.random.default_rng(1).normal(size=4)
    numeric = numeric_gradient(lambda x: scipy.special.softmax(x) @ weights, LOGITS[0])
    np.testing.assert_allclose(gradient(lambda x: ops.softmax(x) * weights, LOGITS[0])[0], numeric, atol=1e-9)


@each_mode
def test_logits_of_a_thousand_do_not_overflow(mode):
    logits = tf.constant([[1000.0, -1000.0, 999.0, 0.0], [-1000.0, -1000.0, -1001.0, -2000.0]])
    probs = MODES[mode](ops.softmax)(logits)
    np.testing.assert_allclose(probs, scipy.special.softmax(logits.numpy().astype(np.float64), -1), rtol=1e-6)
    assert np.isfinite(gradient(lambda x: ops.softmax(x)[..., 0], logits)[0]).all()


@each_mode
def test_softmax_of_illegal_and_huge_logits(mode):
    logits = tf.constant([[1e30, -1e30, 1e30, 0.0], [-INF, 0.0, 1.0, -INF], [1e38, -1e38, 0.0, 1e38]])
    mask = tf.constant([[True, True, False, True], [True] * 4, [False, True, True, False]])
    expected = [[1, 0, 0, 0], [0, *scipy.special.softmax([0, 1]), 0], [0, 0, 1, 0]]

    @MODES[mode]
    def run(logits):
        return ops.softmax(logits, mask=mask), gradient(lambda x: ops.softmax(x, mask=mask)[..., 1], logits)[0]

    probs, slope = run(logits)
    np.testing.assert_allclose(probs, expected, rtol=1e-6)
    assert np.isfinite(slope).all()
    assert not slope.numpy()[~mask.numpy() | ~np.isfinite(logits)].any()


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
def test_softmax_along_any_axis(axis):
    logits = np.random.default_rng(2).normal(size=(2, 3, 4))
    mask = np.random.default_rng(3).random((2, 3, 4)) > 0.3
    mask[tuple(0 if other == axis % 3 else slice(None) for other in range(3))] = True
    expected = scipy.special.softmax(np.where(mask, logits, -INF), axis)
    np.testing.assert_allclose(ops.softmax(logits, axis, mask), expected, atol=1e-15)
    weights = np.random.default_rng(4).normal(size=(2, 3, 4))
    found = gradient(lambda x: ops.softmax(x, axis, mask) * weights, logits)[0]
    expected_slope = expected * (weights - np.sum(expected * weights, axis, keepdims=True))
    np.testing.assert_allclose(found, expected_slope, atol=1e-15)


@pytest.mark.parametrize(
    "function",
    [
        ops.softmax,
        ops.softmax_jacobian,
        ops.entropy,
        lambda logits: ops.log_prob(logits, 0),
        lambda logits: ops.kl_divergence(logits, logits),
        lambda logits: ops.softmax_cross_entropy([1.0, 0.0, 0.0], logits),
        lambda logits: ops.sparse_softmax_cross_entropy(0, logits),
    ],
)
def test_integer_logits_are_refused(function):
    with pytest.raises(ValueError, match=r"Expected logits to be floating-point\. Received: dtype='int32'"):
        function(tf.constant([1, 2, 3]))


@pytest.mark.parametrize("axis", [2, -3, True, None, 1.0])
def test_an_axis_there_is_not_is_refused(axis):
    with pytest.raises(ValueError, match=r"Expected axis to be one of the axes of the logits\. Received: axis="):
        ops.softmax(LOGITS, axis=axis)
    with pytest.raises(ValueError, match="axis"):
        ops.softmax(3.0)


def test_the_product_takes_an_upstream_of_another_dtype():
    probs = ops.softmax(tf.constant([0.5, -1.0, 2.0]))
    upstream = np.array([1.0, 2.0, -1.0])
    np.testing.assert_array_equal(ops.softmax_vjp(probs, upstream), ops.softmax_vjp(probs, upstream.astype("float32")))


def test_softmax_is_twice_differentiable():
    weights, vector = tf.constant(np.random.default_rng(5).normal(size=(2, 4)))
    ours = hessian_product(lambda x: tf.reduce_sum(ops.softmax(x) * weights), LOGITS[0], vector)
    tensorflows = hessian_product(lambda x: tf.reduce_sum(tf.nn.softmax(x) * weights), LOGITS[0], vector)
    np.testing.assert_allclose(ours, tensorflows, atol=1e-14)


def test_softmax_of_many_categories_takes_linear_memory():
    # A Jacobian would take 40 GB.
    logits = tf.random.stateless_normal([1, 100_000], SEED)
    slope = gradient(lambda x: ops.softmax(x)[..., 0], logits)[0]
    probs = ops.softmax(logits)[0]
    np.testing.assert_allclose(slope[0, 0], probs[0] * (1 - probs[0]), rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_come_back(dtype):
    logits = tf.cast(LOGITS, dtype)
    action = tf.constant([0, 2, 3])
    results = [
        ops.softmax(logits),
        ops.softmax_cross_entropy(tf.one_hot(action, 4), logits),
        ops.sparse_softmax_cross_entropy(action, logits),
        ops.log_prob(logits, action),
        ops.entropy(logits),
        ops.kl_divergence(logits, logits),
    ]
    for result in results:
        assert result.dtype == dtype
        assert np.isfinite(tf.cast(result, tf.float64)).all()
    # Computed in float32, so that the only error is that of the result's own type.
    exact = ops.softmax(tf.cast(logits, tf.float64))
    np.testing.assert_allclose(tf.cast(results[0], tf.float64), exact, atol=float(np.finfo(np.float16).eps) * 8)


def test_rows_nothing_can_be_drawn_from_are_not_a_number():
    logits = tf.constant([[np.nan, 0.0], [INF, 0.0], [-INF, -INF], [0.0, 1.0]])
    for mode in MODES.values():
        probs = mode(ops.softmax)(logits).numpy()
        assert np.isnan(probs[:3]).all()
        assert np.isfinite(probs[3]).all()
    masked = ops.softmax(tf.zeros([2, 2]), mask=[[False, False], [True, False]])
    np.testing.assert_array_equal(masked, [[np.nan, np.nan], [1, 0]])


@pytest.mark.parametrize("temperature", [1e-8, 0.1, 1.0, 30.0, 1e6])
def test_tempered_softmax_and_its_gradient_to_the_temperature(temperature):
    logits = ops.legal_logits(tf.constant([[0.5, -1.0, 0.25, 1.0]], tf.float64), [True, True, False, True])
    weights = np.array([1.0, -2.0, 7.0, 1.5])
    value = lambda tau: tf.reduce_sum(ops.tempered_softmax(logits, tau) * weights)  # noqa: E731
    slope = gradient(value, tf.constant(temperature, tf.float64))[0]
    assert np.isfinite(slope)
    if temperature > 1e-3:
        step = temperature * 1e-6
        expected = (value(temperature + step) - value(temperature - step)) / (2 * step)
        np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-12)
    probs = ops.tempered_softmax(logits, tf.constant(temperature, tf.float64)).numpy()
    assert probs[0, 2] == 0


# ---- cross-entropy: p - y


@each_mode
def test_cross_entropy_gradient_is_p_minus_y(mode):
    labels = np.array([[0.0, 1.0, 0.0, 0.0], [0.2, 0.3, 0.5, 0.0], [0.25] * 4])
    logits = tf.constant(LOGITS / 100)
    slope = MODES[mode](lambda x: gradient(lambda x: ops.softmax_cross_entropy(labels, x), x)[0])(logits)
    np.testing.assert_allclose(slope, scipy.special.softmax(logits, -1) - labels, atol=1e-15)


def test_cross_entropy_is_what_finite_differences_say():
    logits, labels = LOGITS[0], np.array([0.1, 0.6, 0.0, 0.7])  # not a distribution: sums to 1.4

    def value(logits, labels):
        return -labels @ scipy.special.log_softmax(logits)

    np.testing.assert_allclose(ops.softmax_cross_entropy(labels, tf.constant(logits)), value(logits, labels))
    to_labels, to_logits = gradient(ops.softmax_cross_entropy, labels, logits)
    np.testing.assert_allclose(to_logits, numeric_gradient(lambda x: value(x, labels), logits), atol=1e-8)
    np.testing.assert_allclose(to_labels, numeric_gradient(lambda y: value(logits, y), labels), atol=1e-8)


def test_sparse_labels_subtract_one_at_the_label():
    labels = tf.constant([1, 2, 0])
    found = gradient(lambda x: ops.sparse_softmax_cross_entropy(labels, x), LOGITS)[0]
    expected = scipy.special.softmax(LOGITS, -1)
    expected[np.arange(3), labels] -= 1
    np.testing.assert_allclose(found, expected, atol=1e-15)
    dense = ops.softmax_cross_entropy(tf.one_hot(labels, 4, dtype=tf.float64), LOGITS)
    np.testing.assert_allclose(ops.sparse_softmax_cross_entropy(labels, LOGITS), dense)


def test_a_row_without_labels_has_no_gradient():
    # TensorFlow's fused op has the gradient p there, (0.09, 0.24, 0.67), at the value 0.
    logits, labels = tf.constant([[0.0, 1.0, 2.0]]), tf.zeros([1, 3])
    assert ops.softmax_cross_entropy(labels, logits) == 0
    assert not gradient(lambda x: ops.softmax_cross_entropy(labels, x), logits)[0].numpy().any()
    theirs = gradient(lambda x: tf.nn.softmax_cross_entropy_with_logits(labels, x), logits)[0]
    np.testing.assert_allclose(theirs, [[0.0900, 0.2447, 0.6652]], atol=1e-4)


@each_mode
def test_an_illegal_logit_leaves_the_cross_entropy_finite(mode):
    logits = tf.constant([[-INF, 0.0, 1.0]])
    labels = tf.constant([[0.0, 1.0, 0.0]])
    dense = lambda x: ops.softmax_cross_entropy(labels, x)  # noqa: E731
    sparse = lambda x: ops.sparse_softmax_cross_entropy([1], x)  # noqa: E731
    for function in (dense, sparse):
        value, slope = MODES[mode](lambda x, f=function: (f(x), gradient(f, x)[0]))(logits)
        np.testing.assert_allclose(value, [1.31326], rtol=1e-5)
        np.testing.assert_allclose(slope, [[0, -0.731059, 0.731059]], rtol=1e-5)


@each_mode
def test_an_illegal_label_costs_infinity_without_a_gradient(mode):
    for logits, mask in (
        (tf.constant([[5.0, 0.0, 1.0]]), [False, True, True]),
        (tf.constant([[-INF, 0.0, 1.0]]), None),
    ):
        for function in (
            lambda x, mask=mask: ops.softmax_cross_entropy([[0.1, 0.9, 0.0]], x, mask),
            lambda x, mask=mask: ops.sparse_softmax_cross_entropy([0], x, mask),
        ):
            value, slope = MODES[mode](lambda x, f=function: (f(x), gradient(f, x)[0]))(logits)
            assert value == INF
            assert (slope.numpy() == 0).all()


@each_mode
def test_the_cost_of_labels_has_a_finite_gradient_to_them(mode):
    logits, labels = tf.constant([[-INF, 0.0, -1e30, 1e30]]), tf.constant([[0.0, 0.2, 0.3, 0.5]])
    slope = MODES[mode](lambda y: gradient(lambda y: ops.softmax_cross_entropy(y, logits), y)[0])(labels)
    np.testing.assert_allclose(slope, [[3e38, 1e30, 2e30, 0]], rtol=1e-6)


def test_cross_entropy_hessian_product():
    logits, vector = np.array([0.2, 1, -0.5]), np.array([1, -2, 0.5])
    for function in (
        lambda x: ops.softmax_cross_entropy(np.array([0.0, 0.0, 1.0]), x),
        lambda x: ops.sparse_softmax_cross_entropy(tf.constant(2), x),
    ):
        found = hessian_product(function, logits, vector)
        np.testing.assert_allclose(found, [0.49984, -0.68135, 0.18151], atol=1e-5)
    padded, vector = np.append(logits, -INF), np.append(vector, 3.0)
    for function in (
        lambda x: ops.softmax_cross_entropy(np.array([0.0, 0.0, 1.0, 0.0]), x),
        lambda x: ops.sparse_softmax_cross_entropy(tf.constant(2), x),
    ):
        np.testing.assert_allclose(hessian_product(function, padded, vector), [*found, 0], atol=1e-12)


def test_straight_through_hessian_product():
    # Of the surrogate softmax, whose second derivative a stopped probability inside the backward pass would miss.
    logits, vector, weights = np.array([0.2, 1, -0.5]), np.array([1, -2, 0.5]), tf.constant([1.0, 2, 3], tf.float64)

    def objective(logits):
        hard = tf.one_hot(tf.argmax(logits), 3, dtype=tf.float64)
        return tf.reduce_sum(weights * ops.with_gradient_of(hard, ops.softmax(logits)) ** 3)

    np.testing.assert_allclose(gradient(objective, logits)[0], [-0.96384, 1.44247, -0.47863], atol=1e-5)
    found = hessian_product(objective, logits, vector)
    np.testing.assert_allclose(found, [0.61854, -1.16502, 0.54647], atol=1e-5)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 4], r"labels in \[0, 4\). Received: row=\(2,\), value=4"),
        ([0, -1, 2], "value=-1"),
        ([0.0, 1.0, 2.0], "labels to be integers"),
        ([[0, 1, 2]], "batch shape"),
    ],
)
def test_bad_labels_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        ops.sparse_softmax_cross_entropy(labels, LOGITS)
    with pytest.raises(ValueError, match="shape of the logits"):
        ops.softmax_cross_entropy(tf.zeros([3, 5]), LOGITS)


def test_a_bad_action_is_named_as_an_action():
    with pytest.raises(ValueError, match=r"Expected action in \[0, 4\). Received: row=\(1,\), value=7"):
        ops.log_prob(tf.zeros([2, 4]), [0, 7])


def test_a_label_out_of_range_shows_in_compiled_code():
    for mode in ("graph", "xla"):
        cost = MODES[mode](lambda labels: ops.sparse_softmax_cross_entropy(labels, tf.zeros([3, 4])))
        value = cost(tf.constant([4, 1, -1])).numpy()
        assert np.isnan(value[[0, 2]]).all()
        np.testing.assert_allclose(value[1], np.log(4), rtol=1e-6)


# ---- categorical


@each_mode
def test_log_prob_entropy_and_divergence_against_scipy(mode):
    logits, others = LOGITS / 100, np.random.default_rng(6).normal(size=LOGITS.shape)
    action = np.array([3, 0, 2])

    @MODES[mode]
    def run(logits, others, action):
        return ops.log_prob(logits, action), ops.entropy(logits), ops.kl_divergence(logits, others)

    found = run(tf.constant(logits), tf.constant(others), tf.constant(action))
    probs, other_probs = scipy.special.softmax(logits, -1), scipy.special.softmax(others, -1)
    np.testing.assert_allclose(found[0], np.log(probs[np.arange(3), action]), rtol=1e-12)
    np.testing.assert_allclose(found[1], scipy.stats.entropy(probs, axis=-1), rtol=1e-12)
    np.testing.assert_allclose(found[2], scipy.stats.entropy(probs, other_probs, axis=-1), rtol=1e-12)


def test_their_gradients_are_what_finite_differences_say():
    logits, other = LOGITS[0], np.array([0.1, 0.7, -0.3, 0.2])
    mask = np.array([True, True, False, True])
    cases = [
        lambda x: ops.entropy(tf.convert_to_tensor(x), mask),
        lambda x: ops.log_prob(tf.convert_to_tensor(x), tf.constant(1), mask),
        lambda x: ops.kl_divergence(tf.convert_to_tensor(x), tf.constant(other), mask),
        lambda x: ops.kl_divergence(tf.constant(other), tf.convert_to_tensor(x), mask),
    ]
    for function in cases:
        found = gradient(function, logits)[0]
        np.testing.assert_allclose(found, numeric_gradient(function, logits), atol=1e-8)
        assert found[2] == 0


@each_mode
def test_illegal_and_huge_logits_leave_them_finite(mode):
    logits = tf.constant([[-INF, 0.0, 1.0], [1e30, -1e30, 0.0], [3.0, 1e30, 2.0]])
    mask = tf.constant([[True, True, True], [True, True, True], [True, False, True]])
    action = tf.constant([1, 0, 2])

    @MODES[mode]
    def run(logits):
        functions = [
            lambda x: ops.entropy(x, mask),
            lambda x: ops.log_prob(x, action, mask),
            lambda x: ops.kl_divergence(x, x, mask),
        ]
        return [(function(logits), gradient(function, logits)[0]) for function in functions]

    (entropy, to_entropy), (log_prob, to_log_prob), (divergence, to_divergence) = run(logits)
    np.testing.assert_allclose(entropy, [0.58220, 0, 0.58220], atol=1e-5)
    np.testing.assert_allclose(log_prob, [-1.31326, 0, -1.31326], atol=1e-5)
    np.testing.assert_allclose(divergence, 0, atol=1e-7)
    illegal = ~mask.numpy() | ~np.isfinite(logits)
    for slope in (to_entropy, to_log_prob, to_divergence):
        assert np.isfinite(slope).all()
        assert not slope.numpy()[illegal].any()


def test_log_prob_of_an_illegal_action_is_minus_infinity_without_a_gradient():
    logits = tf.constant([[1.0, 2.0, 3.0]])
    mask = [True, False, True]
    assert ops.log_prob(logits, [1], mask) == -INF
    assert not gradient(lambda x: ops.log_prob(x, [1], mask), logits)[0].numpy().any()


def test_divergence_from_a_narrower_distribution_is_infinite():
    narrow, wide = tf.constant([0.0, 1.0, -INF]), tf.constant([0.0, 1.0, 2.0])
    assert ops.kl_divergence(wide, narrow) == INF
    np.testing.assert_allclose(ops.kl_divergence(narrow, wide), np.log1p(np.exp(2) / (1 + np.e)), rtol=1e-6)


@pytest.mark.parametrize("other", [1, 3])
def test_divergence_needs_one_number_of_categories(other):
    with pytest.raises(ValueError, match=rf"one number of categories. Received: .*q_logits=\(2, {other}\)"):
        ops.kl_divergence(tf.zeros([2, 4]), tf.zeros([2, other]))


def test_entropy_is_between_zero_and_that_of_the_uniform():
    assert ops.entropy(tf.constant([3.0])) == 0
    np.testing.assert_allclose(ops.entropy(tf.zeros([2, 1000])), np.log(1000), rtol=1e-6)


def test_mode_is_the_first_legal_maximum():
    logits = tf.constant([[1.0, 3.0, 3.0, 9.0], [-INF, -INF, -5.0, -INF], [1e38, -1e38, 1e38, 0.0]])
    assert ops.mode(logits, [True, True, True, False]).numpy().tolist() == [1, 2, 0]
    with pytest.raises(ValueError, match="row="):
        ops.mode(tf.constant([[np.nan, 0.0]]))
    compiled = tf.function(ops.mode, jit_compile=True)
    assert compiled(tf.constant([[np.nan, 0.0], [0.0, 1.0]])).numpy().tolist() == [-1, 1]


# ---- noise


def test_noise_is_the_same_in_every_mode():
    def draw(seed):
        children = ops.split(seed, 3)
        # The larger one takes another path in compiled code.
        return noise.bits([5, 7], seed), ops.uniform([70, 90], seed), children, ops.fold_in(seed, 9)

    seeds = [tf.constant(seed) for seed in ([0, 0], [3, -7], [2**31 - 1, -(2**31)])]
    functions = [mode(draw) for mode in MODES.values()]
    for seed in seeds:
        eager, *compiled = [[result.numpy() for result in function(seed)] for function in functions]
        for other in compiled:
            for one, same in zip(eager, other, strict=True):
                assert one.tobytes() == same.tobytes()


def test_generators_of_one_shape_look_different_to_the_compiler(monkeypatch):
    """XLA would make one function of them, which computes 4 times as long."""
    shapes, philox = [], noise._philox

    def remembered(shape, seed):
        shapes.append(tuple(shape))
        return philox(shape, seed)

    def draws(seed):
        return [ops.uniform([256, 256], ops.fold_in(seed, index)) for index in range(3)]

    monkeypatch.setattr(noise, "_philox", remembered)
    compiled = tf.function(draws, jit_compile=True)(tf.constant([3, 4]))
    large = [shape for shape in shapes if np.prod(shape) == 256 * 256]
    assert len(set(large)) == len(large) == 3
    for drawn, plain in zip(compiled, draws(tf.constant([3, 4])), strict=True):
        np.testing.assert_array_equal(drawn, plain)


def test_no_bits_make_a_uniform_of_zero_or_one(monkeypatch):
    # Every value there is: nine low bits do not matter, the other 23 are enumerated.
    values = np.arange(2**23, dtype=np.uint32)
    for low_bits in (0, 511):
        monkeypatch.setattr(noise, "bits", lambda shape, seed, low=low_bits: tf.constant(values << 9 | low))
        uniform = ops.uniform([2**23], SEED).numpy()
        assert uniform.dtype == np.float32
        assert uniform.min() == 2.0**-24
        assert uniform.max() == 1 - 2.0**-24
        assert (np.diff(uniform) > 0).all()
        np.testing.assert_array_equal(uniform + uniform[::-1], 1)
        assert (ops.exponential([2**23], SEED).numpy() > 0).all()
        gumbel = ops.gumbel([2**23], SEED).numpy()
        assert np.isfinite(gumbel).all()
        assert (gumbel.min() > -2.83, gumbel.max() < 16.64) == (True, True)


@pytest.mark.parametrize(
    ("draw", "distribution"),
    [
        (ops.uniform, scipy.stats.uniform),
        (ops.exponential, scipy.stats.expon),
        (ops.gumbel, scipy.stats.gumbel_r),
    ],
)
def test_noise_has_its_distribution(draw, distribution):
    # Kolmogorov-Smirnov at a false-failure rate of 1e-6, and no correlation with the neighbour.
    sample = draw([300_000], SEED).numpy().astype(np.float64)
    assert scipy.stats.kstest(sample, distribution.cdf).pvalue > 1e-6
    assert abs(np.corrcoef(sample[1:], sample[:-1])[0, 1]) < 5 / np.sqrt(len(sample))


def test_children_of_a_seed_are_different():
    children = {tuple(child) for child in ops.split(SEED, 1000).numpy()}
    assert len(children) == 1000
    folded = {tuple(ops.fold_in(seed, data).numpy()) for seed, data in itertools.product([(0, 1), (1, 0)], range(100))}
    assert len(folded) == 200
    wide = {tuple(ops.fold_in(SEED, tf.constant(data, tf.int64)).numpy()) for data in (0, 1, 2**32, 2**32 + 1, -1)}
    assert len(wide) == 5
    draws = np.stack([ops.uniform([1000], ops.fold_in(SEED, data)) for data in (0, 1, 2)])
    assert np.abs(np.corrcoef(draws) - np.eye(3)).max() < 0.17  # 5.4 standard errors


@pytest.mark.parametrize("data", [1.5, [1, 2]])
def test_only_an_integer_folds_into_a_seed(data):
    with pytest.raises(ValueError, match="data to be one integer"):
        ops.fold_in(SEED, data)


def test_a_dynamic_shape_of_noise():
    shape = tf.function(lambda x: ops.gumbel(tf.shape(x), SEED), input_signature=[tf.TensorSpec([None, 3])])
    np.testing.assert_array_equal(shape(tf.zeros([2, 3])), ops.gumbel([2, 3], SEED))


def test_argmax_of_gumbel_noise_says_up_seventy_times_in_a_hundred():
    # Left, up, right. argmax alone always says up. Chi-square at a false-failure rate of 1e-6.
    log_probs = np.log([0.1, 0.7, 0.2]).astype(np.float32)
    assert np.argmax(log_probs) == 1
    action = np.argmax(log_probs + ops.gumbel([100_000, 3], SEED), -1)
    assert scipy.stats.chisquare(np.bincount(action), [10_000, 70_000, 20_000]).pvalue > 1e-6
