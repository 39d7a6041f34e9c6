"""Fini against the exact gradient of what is ordered: functions of a value, tables, masks; by enumeration."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from gymnasium.spaces import MultiDiscrete

from rlsample import heads, lab, samplers
from rlsample.distributions import OrdinalDistribution
from tests.helpers import MODES

SEED = (1, 2)
FUNCTIONS = {"z^2": lambda z: z**2, "(z - 2.3)^2": lambda z: (z - 2.3) ** 2, "z^3": lambda z: z**3}


def by_draw(sampler, objective, logits, mask=None, draws=3000):
    """(probabilities [N], gradients [N, K]) of the categories that can be drawn, in float64."""
    rows = tf.constant(np.tile(logits, (draws, 1)), tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(rows)
        action, one_hot = sampler(rows, SEED, mask=mask)
        total = tf.reduce_sum(objective(one_hot))
    gradients = tape.gradient(total, rows).numpy()
    legal = np.ones(len(logits), bool) if mask is None else np.array(mask)
    probs = np.where(legal, np.exp(logits - np.max(logits[legal])), 0)
    found = [category for category in range(len(logits)) if legal[category]]
    return (probs / probs.sum())[found], np.array([gradients[action.numpy() == each][0] for each in found])


def exact(objective, logits, mask=None):
    return lab.exact_gradient(objective, tf.constant([logits], tf.float64), mask)[0].numpy()


def bias_and_variance(name, objective, logits):
    """Of one estimate, relative to the exact gradient and to its square."""
    probs, rows = by_draw(samplers.create(name), objective, logits)
    target, mean = exact(objective, logits), probs @ rows
    size = np.linalg.norm(target)
    return np.linalg.norm(mean - target) / size, probs @ np.sum((rows - mean) ** 2, -1) / size**2


GENERATOR = np.random.default_rng(0)
POLICIES = {4: GENERATOR.normal(size=4), 9: GENERATOR.normal(size=9)}
# He and Wu's estimator beside ReinMax, relative (bias, variance), to two or three digits.
KNOWN = [
    (4, "zgr", {"z^2": (0, 1.68), "(z - 2.3)^2": (0, 3.43), "z^3": (0.30, 3.61)}),
    (4, "fini", {"z^2": (0, 0.57), "(z - 2.3)^2": (0, 1.88), "z^3": (0.18, 1.17)}),
    (9, "zgr", {"z^2": (0, 4.91), "(z - 2.3)^2": (0, 10.4), "z^3": (0.19, 10.6)}),
    (9, "fini", {"z^2": (0, 1.86), "(z - 2.3)^2": (0, 3.94), "z^3": (0.13, 4.1)}),
    (4, "straight_through", {"z^2": (0.35, 0.51)}),
    (9, "straight_through", {"z^2": (0.37, 0.22)}),
]


@pytest.mark.parametrize(("categories", "name", "known"), KNOWN)
def test_bias_and_variance_on_functions_of_a_level(categories, name, known):
    levels = tf.range(categories, dtype=tf.float64)
    for function, (bias, variance) in known.items():
        found = bias_and_variance(
            name, lambda d, f=FUNCTIONS[function]: f(tf.linalg.matvec(d, levels)), POLICIES[categories]
        )
        np.testing.assert_allclose(found, (bias, variance), atol=6e-3, rtol=9e-3)
        assert bias or found[0] < 1e-12


@pytest.mark.parametrize(
    "mask",
    [[1, 1, 1, 1, 1, 1], [0, 1, 0, 0, 1, 1], [1, 0, 1, 0, 0, 1], [1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0]],
    ids=str,
)
@pytest.mark.parametrize("values", [None, [0.0, 1.0, 4.0, 4.5, 8.0, 9.0], [3.0, -1.0, 20.0, 4.0, 0.5, 2.0]], ids=str)
def test_no_bias_for_tables_that_are_quadratic_in_the_value(values, mask):
    logits, mask = np.array([0.5, -1.0, 0.25, 1.0, 0.3, -0.2]), np.array(mask, bool)
    numbers = np.arange(6.0) if values is None else np.array(values)
    table = tf.constant(np.where(mask, 0.3 * numbers**2 - 2 * numbers + 1, 1e3))
    sampler = samplers.create({"name": "fini", "values": values})

    def objective(one_hot):
        return tf.linalg.matvec(one_hot, table)

    probs, rows = by_draw(sampler, objective, logits, mask)
    np.testing.assert_allclose(probs @ rows, exact(objective, logits, mask), atol=1e-12)
    assert not rows[:, ~mask].any()
    if mask.sum() == 2:
        np.testing.assert_allclose(rows, by_draw(samplers.create("zgr"), objective, logits, mask)[1], atol=1e-12)


def test_values_count_up_to_a_factor_and_a_constant():
    logits, table = np.array([0.5, -1.0, 0.25, 1.0]), tf.constant([1.0, -2.0, 0.5, 7.0], tf.float64)
    rows = [
        by_draw(samplers.create({"name": "fini", "values": values}), lambda d: tf.linalg.matvec(d, table), logits)[1]
        for values in (None, [0, 1, 2, 3], [-1e30, 0, 1e30, 2e30], [7.5, 7.0, 6.5, 6.0])
    ]
    for other in rows[1:]:
        np.testing.assert_allclose(rows[0], other, atol=1e-6)


def test_a_nearly_certain_draw_keeps_its_gradient():
    """Where p is 1 up to rounding, (a - m) of the category drawn would be lost if m were subtracted from a."""
    logits = tf.constant([[40.0, 20.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        total = tf.reduce_sum(samplers.create("fini")(logits, SEED).one_hot * [0.0, 1.0, 2.0])
    p = np.exp(-20.0)
    # dm = p and dv / (2 v) (z - m) = -p / 2 of the second level.
    np.testing.assert_allclose(tape.gradient(total, logits), [[-p / 2, p / 2, 0]], rtol=1e-5, atol=1e-15)


def test_values_of_another_number_are_refused():
    with pytest.raises(ValueError, match="one of 3 values per category"):
        samplers.create({"name": "fini", "values": [0, 1, 5]})(tf.zeros([2, 4]), SEED)


# ---- the head of ordered actions


@pytest.mark.parametrize("mask", [[1, 1, 1, 1, 1], [0, 1, 1, 0, 1]], ids=str)
def test_the_ordinal_distribution_has_no_bias_in_its_location_and_scale(mask):
    table = tf.constant([3.0, 1.0, 0.0, 0.0, 1.0], tf.float64)  # (k - 2)(k - 3) / 2
    rows = 3000
    parameters = tf.constant(np.tile([1.3, 0.8], (rows, 1)))

    def expected(values):
        policy = OrdinalDistribution(values[:, 0], values[:, 1], 5, mask=np.array(mask, bool))
        return tf.linalg.matvec(policy.probs(), table), policy.probs()

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(parameters)
        exact_value, probs = expected(parameters)
        policy = OrdinalDistribution(
            parameters[:, 0], parameters[:, 1], 5, mask=np.array(mask, bool), sampler="fini", sharpness=2.0
        )
        draw = policy.sample(SEED)
        total = tf.linalg.matvec(draw.one_hot, table)
    gradients, actions = tape.gradient(total, parameters).numpy(), draw.action.numpy()
    mean = sum(probs[0, k].numpy() * gradients[actions == k][0] for k in range(5) if mask[k])
    np.testing.assert_allclose(mean, tape.gradient(exact_value, parameters)[0], rtol=1e-9)
    assert set(actions) == set(np.flatnonzero(mask))


@pytest.mark.parametrize("sampler", ["fini", "leave_one_out"])
def test_an_ordinal_head_draws_by_a_sampler(sampler):
    head = heads.OrdinalHead(MultiDiscrete([2, 4]), sampler=sampler)
    logits = head(tf.random.stateless_normal([3, 6], SEED))

    def run(logits):
        policy = head.distribution(logits)
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = head.distribution(logits).expectation(lambda d: tf.reduce_sum(d, -2)[..., 3], SEED)
        return policy.sample(SEED, [7]), value, tape.gradient(value, logits)

    (draw, _, _), expected = run(logits), run(logits)
    assert draw.action.shape == (7, 3, 2)
    assert (draw.action[..., 0] < 2).numpy().all()
    if sampler == "fini":
        for ours, other in zip(tf.nest.flatten(MODES["xla"](run)(logits)), tf.nest.flatten(expected), strict=True):
            np.testing.assert_allclose(ours, other, atol=1e-6)
    assert expected[2].numpy().any()
    again = heads.OrdinalHead.from_config(head.get_config())
    assert again.sampler == head.sampler


def test_an_ordinal_head_refuses_what_cannot_draw_by_the_masses():
    head = heads.OrdinalHead(4, sampler="entmax")
    with pytest.raises(ValueError, match="draws by the masses"):
        head.distribution(head(tf.zeros([1, 2])))
    with pytest.raises(ValueError, match="gradient to the temperature"):
        heads.OrdinalHead(4, sampler="fini", trainable_temperature=True)


def test_an_ordinal_distribution_takes_a_temperature_per_row():
    arguments = tf.zeros([3, 2]), tf.ones([3, 2]), 4
    policy = OrdinalDistribution(*arguments, sharpness=tf.ones([3]), factored=True, sampler="gumbel_softmax")
    scalar = OrdinalDistribution(*arguments, sharpness=1.0, factored=True, sampler="gumbel_softmax")
    np.testing.assert_allclose(policy.sample(SEED, [5]).one_hot, scalar.sample(SEED, [5]).one_hot, atol=1e-6)
