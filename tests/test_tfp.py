"""Policies as TensorFlow Probability distributions: mass, density, slicing, composition, dtypes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from rlsample import heads, samplers
from rlsample import tfp as wrappers
from rlsample.distributions import CategoricalDistribution, Distribution, OrdinalDistribution, SubsetDistribution
from tests.helpers import MODES

tfd = tfp.distributions
SEED = (5, 6)
LOGITS = tf.constant([[0.5, -1.0, 0.25], [1.0, 2.0, 0.0], [0.0, 0.0, 3.0], [-1.0, 1.0, 1.0]])
MAKERS = {
    "categorical": lambda: heads.CategoricalHead(3, "reinmax"),
    "factored": lambda: heads.FactoredHead([2, 3]),
    "autoregressive": lambda: heads.AutoregressiveHead([2, 3], context_size=4),
    "ordinal": lambda: heads.OrdinalHead(4),
    "simple": lambda: heads.TopKHead(4, 2, estimator="simple"),
    "top_k": lambda: heads.TopKHead(4, 2),
}


@pytest.fixture(params=MAKERS)
def policy(request):
    head = MAKERS[request.param]()
    return head.distribution(head(tf.random.stateless_normal([4, 6], SEED))).to_tfp()


def test_shapes_and_sampling(policy):
    event = tuple(policy.event_shape)
    assert policy.batch_shape == (4,)
    assert tuple(policy.batch_shape_tensor()) == (4,)
    assert tuple(policy.event_shape_tensor()) == event
    draw = policy.sample(seed=SEED)
    assert draw.shape == (4, *event)
    assert policy.sample([2, 5], seed=SEED).shape == (2, 5, 4, *event)
    assert policy.sample(0, seed=SEED).shape == (0, 4, *event)
    np.testing.assert_array_equal(draw, policy.distribution.sample(SEED).one_hot)
    np.testing.assert_array_equal(policy.action(draw), policy.distribution.sample(SEED).action)
    assert len(np.unique(policy.sample(64, seed=SEED).numpy().reshape(64, -1), axis=0)) > 1
    np.testing.assert_array_equal(policy.sample(seed=7), policy.sample(seed=7))
    assert policy.sample().shape == draw.shape


def test_log_prob_of_one_hots_and_of_integers(policy):
    draws = policy.sample(6, seed=SEED)
    log_prob = policy.log_prob(draws)
    assert log_prob.shape == (6, 4)
    np.testing.assert_array_equal(log_prob, policy.log_prob_of_action(policy.action(draws)))
    np.testing.assert_allclose(policy.prob(draws), np.exp(log_prob), rtol=1e-6)
    value, together = policy.experimental_sample_and_log_prob(seed=SEED)
    np.testing.assert_array_equal(policy.log_prob(value), together)
    assert np.all(policy.log_prob(draws) <= policy.log_prob(policy.mode()) + 1e-6)


def test_slices_and_copies_are_the_same_distribution(policy):
    draws = policy.sample(seed=SEED)
    expected = policy.log_prob(draws)
    np.testing.assert_allclose(policy[1].log_prob(draws[1]), expected[1], rtol=1e-6)
    np.testing.assert_allclose(policy[1:3].log_prob(draws[1:3]), expected[1:3], rtol=1e-6)
    np.testing.assert_allclose(policy[..., tf.newaxis].log_prob(draws[:, None]), expected[:, None], rtol=1e-6)
    assert policy[1:3].sample(5, seed=SEED).shape == (5, 2, *policy.event_shape)
    np.testing.assert_array_equal(policy.copy(name="again").sample(seed=SEED), draws)
    np.testing.assert_allclose(tfd.kl_divergence(policy, policy.copy()), np.zeros(4), atol=1e-6)


def test_independent_and_joint_distributions(policy):
    independent = tfd.Independent(policy, 1)
    draw = independent.sample(seed=SEED)
    np.testing.assert_allclose(independent.log_prob(draw), np.sum(policy.log_prob(draw)), rtol=1e-5)
    np.testing.assert_allclose(independent.entropy(), np.sum(policy.entropy()), rtol=1e-5)
    event = list(range(-len(policy.event_shape), 0))

    def reward(action):
        return tfd.Normal(tf.reduce_sum(action * tf.range(action.shape[-1], dtype=tf.float32), event), 1.0)

    for joint in (
        tfd.JointDistributionNamed({"action": policy, "reward": reward}),
        tfd.JointDistributionSequential([policy, reward]),
    ):
        value = joint.sample(3, seed=SEED)
        action, outcome = tf.nest.flatten(value)
        expected = policy.log_prob(action) + reward(action).log_prob(outcome)
        np.testing.assert_allclose(joint.log_prob(value), expected, rtol=1e-4)


def test_the_gradient_of_a_joint_sample_reaches_the_logits():
    logits = tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        policy = CategoricalDistribution(logits, "straight_through").to_tfp()
        joint = tfd.JointDistributionSequential([policy, lambda action: tfd.Deterministic(action[..., 1] ** 2)])
        score = tf.reduce_sum(joint.sample(seed=SEED)[1])
    assert np.abs(tape.gradient(score, logits)).max() > 0.1


@pytest.mark.parametrize("mode", ["graph", "xla"])
@pytest.mark.thinned(3)
def test_distributions_enter_and_leave_compiled_functions(policy, mode):
    draw = MODES[mode](lambda given, seed: given.sample(seed=seed))
    np.testing.assert_array_equal(
        draw(tfp.experimental.as_composite(policy), tf.constant(SEED)).numpy(), policy.sample(seed=SEED)
    )
    if mode == "graph":
        returned = tf.function(lambda given: given)(policy)
        assert type(returned) is type(policy)
        np.testing.assert_allclose(returned.entropy(), policy.entropy(), rtol=1e-6)


def test_reparameterisation_says_whether_draws_carry_a_gradient():
    for name in samplers.SAMPLERS:
        policy = CategoricalDistribution(LOGITS, name).to_tfp()
        expected = tfd.FULLY_REPARAMETERIZED if samplers.create(name).pathwise else tfd.NOT_REPARAMETERIZED
        assert policy.reparameterization_type == expected, name


@pytest.mark.parametrize("sampler", ["categorical", {"name": "decoupled_straight_through", "forward_temperature": 3.0}])
def test_agrees_with_one_hot_categorical(sampler):
    policy = CategoricalDistribution(LOGITS, sampler, temperature=0.3).to_tfp()
    factor = 1.0 if sampler == "categorical" else 3.0
    reference = tfd.OneHotCategorical(LOGITS / factor, dtype=tf.float32)
    other = CategoricalDistribution(LOGITS[::-1], sampler).to_tfp()
    draws = policy.sample(8, seed=SEED)
    np.testing.assert_allclose(policy.log_prob(draws), reference.log_prob(draws), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(policy.entropy(), reference.entropy(), rtol=1e-5)
    np.testing.assert_allclose(policy.mean(), reference.mean(), rtol=1e-5)
    expected = tfd.kl_divergence(reference, tfd.OneHotCategorical(LOGITS[::-1] / factor))
    np.testing.assert_allclose(tfd.kl_divergence(policy, other), expected, rtol=1e-4, atol=1e-6)
    for theirs in (tfd.OneHotCategorical(LOGITS[::-1]), tfd.Categorical(LOGITS[::-1])):
        expected = tfd.kl_divergence(reference, tfd.OneHotCategorical(LOGITS[::-1]))
        np.testing.assert_allclose(tfd.kl_divergence(policy, theirs), expected, rtol=1e-4, atol=1e-6)
        expected = tfd.kl_divergence(tfd.OneHotCategorical(LOGITS[::-1]), reference)
        np.testing.assert_allclose(tfd.kl_divergence(theirs, policy), expected, rtol=1e-4, atol=1e-6)


def test_divergence_from_a_distribution_of_tfp_needs_one_factor():
    policy = CategoricalDistribution(LOGITS, factored=True).to_tfp()
    with pytest.raises(ValueError, match="one factor"):
        tfd.kl_divergence(policy, tfd.OneHotCategorical(LOGITS))


def test_everything_is_finite_under_a_mask_and_illegal_actions_are_impossible():
    mask = np.array([True, False, True])
    logits = tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        policy = CategoricalDistribution(logits, "straight_through_gumbel_softmax", 0.5, mask).to_tfp()
        other = CategoricalDistribution(2 * logits, mask=mask).to_tfp()
        draw = policy.sample(seed=SEED)
        divergence = tfd.kl_divergence(policy, other)
        total = tf.reduce_sum(policy.log_prob(draw) + policy.entropy() + divergence) + tf.reduce_sum(draw**2)
    gradient = tape.gradient(total, logits).numpy()
    assert np.isfinite(total)
    assert np.isfinite(gradient).all()
    assert not gradient[:, 1].any()
    assert np.isneginf(policy.log_prob(tf.one_hot([1] * 4, 3))).all()
    assert not policy.probs_parameter().numpy()[:, 1].any()
    assert np.isinf(tfd.kl_divergence(CategoricalDistribution(LOGITS).to_tfp(), policy)).all()
    np.testing.assert_array_equal(policy[2].sample(seed=SEED).shape, (3,))


# ---- a relaxed draw has a mass and a density, under two names


def test_log_prob_of_a_relaxed_draw_is_the_mass_of_its_action_and_has_no_gradient_to_it():
    policy = CategoricalDistribution(LOGITS, "gumbel_softmax", 0.7).to_tfp()
    soft = policy.sample(seed=SEED)
    hard = tf.one_hot(tf.argmax(soft, -1), 3)
    assert not np.isin(soft, (0, 1)).all()
    np.testing.assert_array_equal(policy.log_prob(soft), policy.log_prob(hard))
    with tf.GradientTape() as tape:
        tape.watch(soft)
        mass = policy.log_prob(soft)
    assert tape.gradient(mass, soft) is None


def test_the_density_of_a_relaxed_draw_is_that_of_the_concrete_distribution():
    policy = CategoricalDistribution(LOGITS, "gumbel_softmax", tf.constant([0.7, 1.5, 0.4, 1.0])).to_tfp()
    reference = tfd.RelaxedOneHotCategorical(tf.constant([0.7, 1.5, 0.4, 1.0]), logits=LOGITS)
    draws = policy.sample(5, seed=SEED)
    np.testing.assert_allclose(policy.relaxed_log_density(draws), reference.log_prob(draws), rtol=1e-4, atol=1e-4)


def test_the_density_leaves_illegal_categories_out():
    wide = tf.concat([LOGITS[:, :1], tf.fill([4, 1], 3.0), LOGITS[:, 1:]], -1)
    policy = CategoricalDistribution(wide, "gumbel_softmax", 0.7, mask=[True, False, True, True]).to_tfp()
    narrow = CategoricalDistribution(LOGITS, "gumbel_softmax", 0.7).to_tfp()
    draw = narrow.sample(seed=SEED)
    padded = tf.concat([draw[:, :1], tf.zeros([4, 1]), draw[:, 1:]], -1)
    np.testing.assert_allclose(policy.relaxed_log_density(padded), narrow.relaxed_log_density(draw), rtol=1e-5)
    factored = CategoricalDistribution(LOGITS, "gumbel_softmax", 0.7, factored=True).to_tfp()
    np.testing.assert_allclose(factored.relaxed_log_density(draw), np.sum(narrow.relaxed_log_density(draw)), rtol=1e-5)


def test_only_the_gumbel_softmax_has_that_density():
    with pytest.raises(ValueError, match="gumbel_softmax"):
        CategoricalDistribution(LOGITS, "straight_through").to_tfp().relaxed_log_density(LOGITS)


# ---- dtypes, parameters, errors


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtypes(dtype):
    policy = CategoricalDistribution(tf.cast(LOGITS, dtype), "gumbel_softmax", 0.5).to_tfp()
    draw = policy.sample(seed=SEED)
    tolerance = {"float16": 2e-3, "bfloat16": 2e-2}.get(dtype, 1e-6)
    assert draw.dtype == policy.log_prob(draw).dtype == policy.entropy().dtype == policy.mode().dtype == dtype
    np.testing.assert_allclose(
        tf.cast(policy.entropy(), tf.float64),
        CategoricalDistribution(tf.cast(LOGITS, tf.float64)).to_tfp().entropy(),
        rtol=tolerance,
    )


def test_a_temperature_has_the_precision_of_the_logits():
    policy = CategoricalDistribution(tf.cast(LOGITS, tf.float64), "gumbel_softmax", 0.3)
    np.testing.assert_array_equal(policy.to_tfp().sample(seed=SEED), policy.to_tfp().copy().sample(seed=SEED))
    np.testing.assert_array_equal(policy.to_tfp().sample(1, seed=SEED), policy.sample(SEED, [1]).one_hot)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_dtypes_of_ordered_levels_and_subsets(dtype):
    level = OrdinalDistribution(tf.constant([0.5, 3.0], dtype), tf.constant([0.5, 2.0], dtype), 5).to_tfp()
    subset = SubsetDistribution(tf.cast(LOGITS, dtype), 2, 0.5, mask=[True, True, True]).to_tfp()
    for policy in (level, subset):
        draw = policy.sample(seed=SEED)
        assert draw.dtype == policy.log_prob(draw).dtype == policy.entropy().dtype == policy.mode().dtype == dtype
        np.testing.assert_array_equal(tf.reduce_sum(tf.cast(draw, tf.float32), -1).numpy(), 1)
        assert np.isfinite(tf.cast(policy.log_prob(draw), tf.float32)).all()
    with tf.GradientTape() as tape:
        tape.watch(level._location)
        total = tf.reduce_sum(level.distribution.entropy())
    assert np.isfinite(tf.cast(tape.gradient(total, level._location), tf.float32)).all()


def test_variables_are_read_at_each_use():
    logits, temperature = tf.Variable(LOGITS), tf.Variable(1.0)
    policy = CategoricalDistribution(logits, "gumbel_softmax", temperature).to_tfp()
    assert len(policy.trainable_variables) == 2
    before, entropy = policy.sample(seed=SEED), policy.entropy()
    temperature.assign(0.1)
    assert np.abs(policy.sample(seed=SEED) - before).max() > 0.01
    logits.assign(LOGITS * 0)
    np.testing.assert_allclose(policy.entropy(), np.full(4, np.log(3)), rtol=1e-6)
    assert np.abs(entropy - policy.entropy()).max() > 0.01


def test_the_temperature_of_a_head_is_read_at_each_use():
    head = heads.CategoricalHead(3, "gumbel_softmax", temperature=5.0)
    policy = head.distribution(LOGITS).to_tfp()
    before = policy.sample(seed=SEED)
    head.temperature.assign(0.1)
    assert np.abs(policy.sample(seed=SEED) - before).max() > 0.1
    np.testing.assert_array_equal(policy.sample(seed=SEED), head.sample(LOGITS, SEED).one_hot)


@pytest.mark.parametrize("kind", MAKERS)
def test_other_parameters_do_not_retrace(kind):
    head = MAKERS[kind]()
    entropy = tf.function(lambda policy: policy.entropy())
    for seed in (1, 2):
        policy = head.distribution(head(tf.random.stateless_normal([4, 6], [seed, 0])))
        np.testing.assert_allclose(entropy(policy.to_tfp()), policy.entropy(), rtol=1e-5)
    assert entropy.experimental_get_tracing_count() == 1


def test_names_and_options_are_those_of_tfp():
    policy = CategoricalDistribution(LOGITS)
    assert policy.to_tfp().name == "CategoricalDistribution"
    named = policy.to_tfp(name="actor", validate_args=True, allow_nan_stats=False)
    assert named.name == "actor"
    assert named.validate_args
    assert not named.allow_nan_stats
    assert named[1:].parameters["validate_args"]
    assert list(named.parameters) == [
        *("logits", "sampler", "temperature", "mask", "factored", "validate_args", "allow_nan_stats", "name")
    ]


def test_an_unknown_number_of_categories():
    @tf.function(input_signature=[tf.TensorSpec([None, None])])
    def shapes(logits):
        policy = CategoricalDistribution(logits).to_tfp()
        return policy.event_shape_tensor(), policy.batch_shape_tensor()

    event, batch = shapes(LOGITS)
    np.testing.assert_array_equal(event, [3])
    np.testing.assert_array_equal(batch, [4])


def test_kinds_of_ones_own():
    class Sharper(CategoricalDistribution):
        def __init__(self, logits, sharpness, mask=None):
            super().__init__(tf.convert_to_tensor(logits) * tf.convert_to_tensor(sharpness)[..., None], mask=mask)

    policy = CategoricalDistribution(2.0 * LOGITS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(wrappers.PARAMETERS, Sharper, {"logits": "K", "sharpness": "", "mask": "K"})
        sharper = Sharper(LOGITS, tf.fill([4], 2.0)).to_tfp()
        np.testing.assert_allclose(sharper[2:].entropy(), policy.entropy()[2:], rtol=1e-5)
        np.testing.assert_allclose(sharper.copy(sharpness=tf.ones([4])).mean(), tf.nn.softmax(LOGITS), rtol=1e-5)

    class Unknown(Distribution):
        event_shape = sample = mode = probs = entropy = kl_divergence = _log_prob = None

    with pytest.raises(ValueError, match=r"Received: kind='Unknown'\. Add a row for it to rlsample\.tfp\.PARAMETERS"):
        Unknown().to_tfp()


def test_a_temperature_per_row():
    tau = tf.constant([0.1, 10.0, 0.1, 10.0])
    policy = CategoricalDistribution(tf.stack([LOGITS] * 2, 1), "gumbel_softmax", tau, factored=True).to_tfp()
    peak = tf.reduce_max(policy.sample(50, seed=SEED), -1).numpy().mean((0, 2))
    assert (peak[[0, 2]] > 0.9).all()
    assert (peak[[1, 3]] < 0.5).all()
    wide = CategoricalDistribution(LOGITS[0], "gumbel_softmax", tau).to_tfp()
    assert wide.batch_shape == (4,)
    assert wide.sample(2, seed=SEED).shape == (2, 4, 3)
    assert wide.entropy().shape == (4,)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda p: p.log_prob(tf.constant([0, 1, 2, 0])), "For integers: log_prob_of_action"),
        (lambda p: p.log_prob(tf.zeros([4, 2])), r"a one-hot of event shape \(3,\)"),
        (lambda p: p.log_prob_of_action(LOGITS), r"For one-hots \(floats\): log_prob"),
        (lambda p: p.log_prob_of_action([0, 1, 2, 3]), r"in \[0, 3\)\. Received: row=\(3,\), value=3"),
        (lambda p: p.log_prob_of_action([0, 1]), "a batch shape that goes with"),
        (lambda p: p.sample(seed="seven"), "seed to be a pair of integers"),
        (lambda p: tfd.kl_divergence(p, CategoricalDistribution(LOGITS[:, :2]).to_tfp()), "one event shape"),
        (lambda p: p.copy(temperature=-1.0).sample(seed=SEED), "temperature to be a finite number > 0"),
        (lambda p: p.copy(logits=LOGITS * np.nan).sample(seed=SEED), "logits without NaN"),
        (lambda p: p.copy(mask=[True, True]), "mask to have the shape of the logits"),
        (lambda p: p.copy(sampler="argmaxx"), "Unknown sampler 'argmaxx'"),
        (lambda p: p.copy(logits=[1, 2]), "logits to be floating-point"),
        (lambda p: p.copy(factored=True, logits=LOGITS[0]), r"logits of shape \[\.\.\., F, K\]"),
    ],
)
def test_errors_say_what_was_expected(use, message):
    with pytest.raises(ValueError, match=message):
        use(CategoricalDistribution(LOGITS).to_tfp())


def test_a_value_that_stands_for_no_action_has_no_log_prob():
    policy = CategoricalDistribution(LOGITS[:3]).to_tfp()
    value = np.array([[0.0, 0, 0], [np.nan, 1, 0], [0, 1, 0]], np.float32)
    np.testing.assert_array_equal(np.isnan(policy.log_prob(value)), [True, True, False])
