"""`exact` where there are more outcomes than the graph has copies of the objective for: it visits them in a loop."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from rlsample import samplers
from rlsample.samplers.exact import UNROLLED
from tests.helpers import MODES

SINGLE, JOINT = (3, 100), (2, 5, 3)
WIDE = {"name": "exact", "max_outcomes": 10_000}


def logits_of(shape):
    logits = np.random.default_rng(0).normal(size=shape)
    logits[0, ..., 1] = -np.inf  # Never chosen.
    return logits


def closed_form(logits, weights):
    """Value, gradient to the logits and gradient to the weights of f(x) = (sum of the weights of what is chosen)^2."""
    probs = np.exp(logits - logits.max(-1, keepdims=True))
    probs /= probs.sum(-1, keepdims=True)
    factored = probs.reshape(len(probs), -1, probs.shape[-1])
    weights = np.broadcast_to(weights, factored.shape[1:])
    value, to_logits, to_weights = np.zeros(len(probs)), np.zeros_like(factored), np.zeros(weights.shape)
    for joint in itertools.product(range(probs.shape[-1]), repeat=factored.shape[1]):
        chosen = np.eye(probs.shape[-1])[list(joint)]
        chance = (factored * chosen).sum(-1).prod(-1)  # [B]
        total = (weights * chosen).sum()
        value += chance * total**2
        to_logits += (chance * total**2)[:, None, None] * (chosen - factored)
        to_weights += chance.sum() * 2 * total * chosen
    return value, to_logits.reshape(probs.shape), to_weights


def estimates(shape, mode, dtype="float64", signature=None):
    weights = tf.Variable(np.linspace(-1, 2, int(np.prod(shape[1:]))).reshape(shape[1:]), dtype=dtype)

    def objective(one_hot):
        return tf.reduce_sum(weights * one_hot, list(range(1, one_hot.shape.rank))) ** 2

    def estimate(logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = samplers.create(WIDE).expectation(objective, logits, (0, 1))
            total = tf.reduce_sum(value)
        return value, *tape.gradient(total, [logits, weights])

    if mode != "eager":
        estimate = tf.function(estimate, signature, jit_compile=mode == "xla", autograph=False)
    return weights.numpy(), estimate(tf.constant(logits_of(shape), dtype))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [SINGLE, JOINT], ids=["single", "joint"])
def test_value_and_gradients_are_the_closed_form(shape, mode):
    assert shape[-1] ** int(np.prod(shape[1:-1])) > UNROLLED
    weights, found = estimates(shape, mode)
    value, to_logits, to_weights = closed_form(logits_of(shape), weights)
    np.testing.assert_allclose(found[0], value, rtol=1e-12)
    np.testing.assert_allclose(found[1], to_logits, atol=1e-12)
    np.testing.assert_allclose(found[2], to_weights.reshape(shape[1:]), atol=1e-12)


def test_a_batch_whose_size_only_the_graph_knows():
    _, found = estimates(JOINT, "graph", signature=[tf.TensorSpec([None, *JOINT[1:]], tf.float64)])
    np.testing.assert_allclose(found[1], estimates(JOINT, "eager")[1][1], atol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_other_dtypes_come_back(dtype):
    _, found = estimates(SINGLE, "xla", dtype)
    assert {part.dtype for part in found} == {tf.as_dtype(dtype)}
    np.testing.assert_allclose(found[0], estimates(SINGLE, "eager")[1][0], rtol=1e-2 if dtype == "float16" else 1e-5)


def test_what_is_never_chosen_may_have_no_value():
    def objective(one_hot):
        return tf.math.log(1.0 - one_hot[..., 1])  # -inf there, with a slope that is infinite

    logits = tf.constant(logits_of(SINGLE)[:1], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = samplers.create(WIDE).expectation(objective, logits, (0, 1))
    np.testing.assert_array_equal(value, [0.0])
    np.testing.assert_array_equal(tape.gradient(value, logits), np.zeros(logits.shape))
