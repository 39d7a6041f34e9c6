"""Heads as Keras layers: saving, compiling, mixed precision, temperature, sampling state, options, errors."""

from __future__ import annotations

import json

import gymnasium as gym
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Tuple

from rlsample import heads, samplers, schedules
from rlsample.spaces import config as space_config
from tests.helpers import ALL_SPACES, space_name

SEED = (0, 1)
RAGGED = Dict({"steer": Discrete(3, start=2), "boost": MultiDiscrete([2, 5])})
HEADS = {
    "categorical": lambda **options: heads.CategoricalHead(Discrete(4, start=7), "reinmax", **options),
    "factored": lambda **options: heads.FactoredHead(RAGGED, {"name": "gumbel_rao", "num_samples": 3}, **options),
    "autoregressive": lambda **options: heads.AutoregressiveHead([2, 3], context_size=8, **options),
    "ordinal": lambda **options: heads.OrdinalHead(MultiDiscrete([3, 6]), "sine", **options),
    "top_k": lambda **options: heads.TopKHead(5, 2, relaxed=True, **options),
}


def features(rows=4, size=6):
    return tf.random.stateless_normal([rows, size], SEED)


def model_with(head, hidden=8):
    inputs = keras.Input((6,))
    return keras.Model(inputs, head(keras.layers.Dense(hidden, "tanh")(inputs)))


@pytest.fixture(autouse=True)
def _no_policy_left_behind():
    yield
    keras.config.set_dtype_policy("float32")


# ---- saving


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("options", [{}, {"hidden_sizes": (5,), "activation": "relu", "temperature": 0.3, "seed": 5}])
def test_a_saved_model_draws_the_same(name, options, tmp_path):
    model = model_with(HEADS[name](**options))
    head = model.layers[-1]
    head.temperature.assign(0.25)
    model.save(tmp_path / "policy.keras")
    loaded = keras.models.load_model(tmp_path / "policy.keras")
    other = loaded.layers[-1]
    assert type(other) is type(head)
    assert other.get_config() == head.get_config()
    assert other.action_space == head.action_space
    assert float(other.temperature) == 0.25
    np.testing.assert_array_equal(loaded(features()), model(features()))
    for drawn, expected in zip(
        other.sample(loaded(features()), SEED), head.sample(model(features()), SEED), strict=True
    ):
        np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize("name", HEADS)
def test_the_config_is_plain_data_and_makes_an_equal_head(name):
    head = HEADS[name](kernel_gain=0.5, name="policy")
    config = json.loads(json.dumps(head.get_config()))
    again = type(head).from_config(config)
    assert again.get_config() == head.get_config()
    assert again.name == "policy"


@pytest.mark.parametrize("space", ALL_SPACES, ids=space_name)
def test_spaces_survive_json(space):
    again = space_config.from_config(json.loads(json.dumps(space_config.to_config(space))))
    assert again == space
    assert again.dtype == space.dtype
    if isinstance(space, Dict):
        assert list(again.spaces) == list(space.spaces)


def test_a_head_with_a_sampler_of_somebody_elses_survives(tmp_path):
    import dataclasses

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Mine(type(samplers.create("straight_through"))):
        name = "mine_for_saving"
        strength: float = 1.0

    samplers.register(Mine)
    model = model_with(heads.CategoricalHead(3, {"name": "mine_for_saving", "strength": 2.0}))
    model.save(tmp_path / "policy.keras")
    assert keras.models.load_model(tmp_path / "policy.keras").layers[-1].sampler == Mine(strength=2.0)


def test_sampling_state_goes_on_after_loading(tmp_path):
    model = model_with(heads.CategoricalHead(3, seed=11))
    head = model.layers[-1]
    drawn = [head.next_seed().numpy().tolist() for _ in range(3)]
    model.save(tmp_path / "policy.keras")
    checkpoint = tf.train.Checkpoint(model=model).write(str(tmp_path / "checkpoint"))
    model.save_weights(tmp_path / "policy.weights.h5")
    expected = head.next_seed().numpy().tolist()
    assert expected not in drawn
    assert keras.models.load_model(tmp_path / "policy.keras").layers[-1].next_seed().numpy().tolist() == expected
    for restore in (
        lambda other: tf.train.Checkpoint(model=other).read(checkpoint).expect_partial(),
        lambda other: other.load_weights(tmp_path / "policy.weights.h5"),
    ):
        other = model_with(heads.CategoricalHead(3, seed=99))
        restore(other)
        assert other.layers[-1].next_seed().numpy().tolist() == expected


def test_sampling_state_starts_from_the_seed_and_advances_in_compiled_code():
    first, second, other = (heads.CategoricalHead(3, seed=seed) for seed in (4, 4, 5))
    step = tf.function(second.next_seed, jit_compile=True)
    for _ in range(3):
        np.testing.assert_array_equal(first.next_seed(), step())
    assert step.experimental_get_tracing_count() == 1
    assert first.next_seed().numpy().tolist() != other.next_seed().numpy().tolist()
    keras.utils.set_random_seed(3)
    drawn = heads.CategoricalHead(3).seed, heads.CategoricalHead(3).seed
    keras.utils.set_random_seed(3)
    assert drawn == (heads.CategoricalHead(3).seed, heads.CategoricalHead(3).seed)
    assert drawn[0] != drawn[1]


# ---- temperature


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.thinned(2)
def test_moving_the_temperature_changes_the_gradient_and_never_retraces(name):
    head = HEADS[name](kernel_gain=1.0)
    outputs = head(features(64))

    @tf.function(jit_compile=True)
    def gradient(outputs):
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            one_hot = head.sample(outputs, SEED).one_hot
            score = tf.reduce_sum(one_hot * tf.range(float(one_hot.shape[-1])) ** 2)
        return tape.gradient(score, outputs)

    schedule = schedules.create({"name": "linear", "start": 1.0, "end": 0.2, "steps": 2})
    seen = []
    for step in range(3):
        head.temperature.assign(schedule(step))
        seen.append(gradient(outputs).numpy())
    assert gradient.experimental_get_tracing_count() == 1
    assert np.abs(seen[0] - seen[1]).max() > 1e-3
    assert np.abs(seen[1] - seen[2]).max() > 1e-3


def test_the_temperature_can_be_trained():
    head = heads.CategoricalHead(3, "gumbel_softmax", temperature=2.0, trainable_temperature=True)
    logits = head(features())
    assert "log_temperature" in [variable.name for variable in head.trainable_variables]
    np.testing.assert_allclose(head.temperature, 2.0, rtol=1e-6)
    optimizer = keras.optimizers.SGD(0.5)
    for _ in range(10):
        with tf.GradientTape() as tape:
            # Sharper draws have a larger sum of squares.
            loss = -tf.reduce_mean(head.sample(logits, SEED).one_hot ** 2)
        variable = head.trainable_variables[0]
        optimizer.apply([tape.gradient(loss, variable)], [variable])
    assert 0 < float(head.temperature) < 1.9


@pytest.mark.parametrize("name", ["categorical", "zgr", "score_function"])
def test_a_sampler_without_a_temperature_gradient_cannot_train_it(name):
    with pytest.raises(ValueError, match=r"gradient to the temperature\. Received: sampler='" + name):
        heads.CategoricalHead(3, name, trainable_temperature=True)


# ---- Keras


@pytest.mark.parametrize("name", HEADS)
def test_shapes_are_known_before_anything_runs(name):
    head = HEADS[name]()
    symbolic = head(keras.Input((6,)))
    assert tuple(symbolic.shape) == tuple(head.compute_output_shape((None, 6)))
    assert tuple(head(features()).shape) == tuple(head.compute_output_shape((4, 6)))
    assert tuple(head(tf.zeros([2, 4, 6])).shape) == tuple(head.compute_output_shape((2, 4, 6)))
    assert head(tf.zeros([0, 6])).shape[0] == 0


@pytest.mark.parametrize("name", HEADS)
def test_mixed_precision_keeps_logits_and_noise_in_float32(name):
    keras.config.set_dtype_policy("mixed_bfloat16")
    head = HEADS[name](hidden_sizes=(8,))
    model = model_with(head)
    outputs = model(features())
    assert outputs.dtype == tf.float32
    assert head.temperature.dtype == "float32"
    assert all(variable.dtype == "float32" for variable in head.trainable_variables)
    sample = head.sample(outputs, SEED)
    assert sample.one_hot.dtype == tf.float32
    assert np.isfinite(head.distribution(outputs).log_prob(sample.action)).all()
    with tf.GradientTape() as tape:
        score = tf.reduce_sum(head.sample(model(features()), SEED).one_hot ** 2)
    gradients = tape.gradient(score, head.trainable_variables, unconnected_gradients="zero")
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_float64_stays():
    head = heads.CategoricalHead(3, dtype="float64")
    assert head(tf.zeros([2, 6], tf.float64)).dtype == tf.float64
    assert head.sample(head(tf.zeros([2, 6], tf.float64)), SEED).one_hot.dtype == tf.float64


@pytest.mark.parametrize("jit_compile", [pytest.param(False, marks=pytest.mark.slow), True])
def test_fit_learns_through_the_draw(jit_compile):
    """A critic that likes category 1: the policy must find it through the gradient of its own draws."""

    class Agent(keras.Model):
        def __init__(self):
            super().__init__()
            self.head = heads.CategoricalHead(3, "straight_through_gumbel_softmax", temperature=0.7, seed=1)

        def call(self, inputs, training=False):
            logits = self.head(inputs)
            if not training:
                return self.head.mode(logits).one_hot
            return self.head.sample(logits, self.head.next_seed()).one_hot

    keras.utils.set_random_seed(0)
    agent = Agent()
    agent.compile(
        keras.optimizers.Adam(0.05),
        loss=lambda values, one_hot: -tf.reduce_sum(values * one_hot, -1),
        jit_compile=jit_compile,
    )
    inputs = np.ones((64, 2), np.float32)
    values = np.tile([0.0, 1.0, 0.2], (64, 1)).astype(np.float32)
    agent.fit(inputs, values, batch_size=16, epochs=8, verbose=0)
    state = next(variable for variable in agent.head.weights if variable.name == "sampling_state")
    np.testing.assert_array_equal(state, [1, 8 * 4])
    np.testing.assert_array_equal(agent.predict(inputs[:2], verbose=0), [[0, 1, 0]] * 2)


# ---- options


def test_unimix_bounds_every_category_from_below_and_spares_the_padding():
    head = heads.FactoredHead([2, 4], unimix=0.1, kernel_gain=50.0)
    logits = head(features())
    probs = tf.nn.softmax(logits).numpy()
    np.testing.assert_array_less(0.1 / 2 * 0.999, probs[:, 0, :2])
    np.testing.assert_array_less(0.1 / 4 * 0.999, probs[:, 1])
    assert not probs[:, 0, 2:].any()
    plain = heads.FactoredHead([2, 4], kernel_gain=50.0)
    plain(features())
    plain.set_weights(head.get_weights())
    mixed = 0.9 * tf.nn.softmax(plain(features())).numpy() + 0.1 * np.array([[0.5, 0.5, 0, 0], [0.25] * 4])
    np.testing.assert_allclose(probs, mixed, atol=1e-6)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(head.distribution(head(features())).entropy())
    assert all(np.isfinite(gradient).all() for gradient in tape.gradient(loss, head.trainable_variables))


def test_logit_clip_bounds_the_logits_and_keeps_a_gradient():
    head = heads.CategoricalHead(4, logit_clip=3.0, kernel_gain=2.0)
    with tf.GradientTape() as tape:
        logits = head(features())
    assert np.abs(logits).max() < 3
    assert np.abs(tape.gradient(logits, head.trainable_variables)[0]).min() > 0


@pytest.mark.parametrize("name", ["categorical", "factored"])
def test_the_untrained_policy_is_close_to_uniform(name):
    head = HEADS[name]()
    policy = head.distribution(head(features()))
    sizes = head.factors.sizes
    np.testing.assert_allclose(policy.entropy(), np.sum(np.log(sizes)), rtol=1e-2)


# ---- errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: heads.for_space(Box(-1, 1)), "discrete action space"),
        (lambda: heads.for_space(Dict({"steer": Box(-1, 1), "gear": Discrete(3)})), r"Dict\['steer'\]"),
        (lambda: heads.for_space(Tuple(())), "at least one action factor"),
        (lambda: heads.CategoricalHead(0), "num_categories to be a whole number >= 1"),
        (lambda: heads.CategoricalHead(MultiDiscrete([2, 2])), "heads.for_space"),
        (lambda: heads.FactoredHead(Discrete(3)), "Use CategoricalHead"),
        (lambda: heads.AutoregressiveHead(Discrete(3)), "Use CategoricalHead"),
        (lambda: heads.CategoricalHead(3, "reinmacks"), "Did you mean 'reinmax'"),
        (lambda: heads.CategoricalHead(3, temperature=0.0), r"temperature to be a finite number > 0. Received"),
        (lambda: heads.CategoricalHead(3, temperature=float("nan")), "temperature to be a finite number > 0"),
        (lambda: heads.CategoricalHead(3, unimix=1.0), r"unimix to be a number in \[0, 1\)"),
        (lambda: heads.CategoricalHead(3, logit_clip=-1), "logit_clip to be a finite number > 0"),
        (lambda: heads.CategoricalHead(3, hidden_sizes=(8, 0)), "hidden_sizes to be a whole number >= 1"),
        (lambda: heads.CategoricalHead(3, hidden_sizes=8), "hidden_sizes to be a list of widths. Received: .*=8"),
        (lambda: heads.CategoricalHead(3, kernel_gain=float("inf")), "kernel_gain to be a finite number > 0"),
        (lambda: heads.CategoricalHead(3, seed=-1), "seed to be a whole number >= 0"),
        (lambda: heads.OrdinalHead(4, "rampp"), "Did you mean 'ramp'"),
        (lambda: heads.OrdinalHead(4, "straight_through", trainable_temperature=True), "a rounder with a sharpness"),
        (lambda: heads.TopKHead(3, 4), "k <= K"),
        (lambda: heads.TopKHead(MultiDiscrete([3, 4])), "a slate"),
        (lambda: heads.EmbeddingHead(MultiDiscrete([3, 4])), "a Discrete space"),
        (lambda: heads.ValueHead(0), "num_values to be a whole number >= 1"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_features_do_not_pass_for_logits():
    for space, wrong in ((Discrete(3), [2, 8]), (MultiDiscrete([3, 4]), [2, 8]), (MultiDiscrete([3, 4]), [2, 2, 3])):
        with pytest.raises(ValueError, match="Pass what calling the head returned"):
            heads.for_space(space).sample(tf.zeros(wrong), (0, 1))


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "float64"])
@pytest.mark.parametrize("hidden_sizes", [(), (4,)], ids=str)
def test_integer_features_are_taken(hidden_sizes, dtype):
    head = heads.CategoricalHead(3, hidden_sizes=hidden_sizes, dtype=dtype)
    features = np.uint8([[0, 255, 3], [1, 0, 1]])
    np.testing.assert_array_equal(head(features), head(features.astype(np.float32)))


def test_actions_outside_the_space_are_refused():
    head = heads.CategoricalHead(Discrete(3, start=5))
    with pytest.raises(ValueError, match="from 5 to 7"):
        head.from_env(np.array([5, 8]))
    with pytest.raises(ValueError, match="an index from 0 to 2"):
        head.to_env(np.array([3]))


@pytest.mark.parametrize("kind", ["CartPole-v1", "Taxi-v4", "FrozenLake-v1"])
def test_a_head_acts_in_a_real_environment(kind):
    env = gym.make(kind)
    head = heads.for_space(env.action_space)
    _, info = env.reset(seed=0)
    mask = head.factors.mask(info.get("action_mask"))
    action = head.to_env(head.sample(tf.zeros([head.factors.num_categories]), SEED, mask).one_hot)
    assert env.action_space.contains(action)
    assert mask is None or info["action_mask"][action] == 1
    env.step(action)


# ---- sizes as NumPy and Gymnasium have them, and parameters that are no head's


def test_heads_take_sizes_as_gymnasium_has_them():
    n, nvec = gym.make("CartPole-v1").action_space.n, MultiDiscrete([2, 3]).nvec
    assert isinstance(n, np.integer)
    for kind in (heads.CategoricalHead, heads.OrdinalHead, heads.EmbeddingHead):
        assert kind(n).action_space == Discrete(2)
    assert heads.TopKHead(np.int32(4), num_items=2).action_space == MultiDiscrete([4, 4])
    for kind in (heads.FactoredHead, heads.AutoregressiveHead):
        for sizes in (nvec, (2, 3), [2, 3]):
            assert kind(sizes).action_space == MultiDiscrete([2, 3])
    assert heads.CategoricalHead(3, unimix=np.float32(0.25)).unimix == 0.25


@pytest.mark.parametrize("kind", [heads.FactoredHead, heads.AutoregressiveHead])
@pytest.mark.parametrize("sizes", [[2.5, 2], [2, 0], [], ["2"], [True, True]])
def test_sizes_that_are_none(kind, sizes):
    with pytest.raises(
        ValueError, match=r"Expected the sizes of factors to be whole numbers >= 1\. Received: action_sp"
    ):
        kind(sizes)


@pytest.mark.parametrize(
    ("head", "shape"),
    [
        (lambda: heads.CategoricalHead(4), (1, 8)),
        (lambda: heads.FactoredHead([2, 3]), (2, 2)),
        (lambda: heads.TopKHead(4, 2), (1, 8)),
        (lambda: heads.TopKHead(4, 2, estimator="simple"), (1, 8)),
        (lambda: heads.OrdinalHead(3), (4, 3)),
        (lambda: heads.OrdinalHead(MultiDiscrete([3, 3])), (4, 2)),
        (lambda: heads.OrdinalHead(MultiDiscrete([3, 3])), (5, 3, 2)),
        (lambda: heads.AutoregressiveHead([2, 3], context_size=5), (1, 8)),
    ],
)
def test_features_in_the_place_of_logits_are_refused(head, shape):
    head = head()
    head(tf.zeros([1, 8]))
    with pytest.raises(ValueError, match=r"Expected logits that end in .* Received: shape="):
        head.distribution(tf.zeros(shape))


def test_what_else_heads_refuse():
    with pytest.raises(ValueError, match="Expected a head that was called on features"):
        heads.AutoregressiveHead([2, 3]).sample(tf.zeros([1, 64]), SEED)
    with pytest.raises(ValueError, match="Expected num_items beside the number of items"):
        heads.TopKHead(5)
    with pytest.raises(ValueError, match=r"Expected the 2 items of MultiDiscrete\(\[5 5\]\). Received: num_items=3"):
        heads.TopKHead(MultiDiscrete([5, 5]), num_items=3)
    with pytest.raises(ValueError, match=r"Expected a keras.Model. Received: model='CategoricalHead'"):
        heads.export(heads.CategoricalHead(3), "nowhere", np.zeros([2, 8], np.float32))


@pytest.mark.parametrize("policy", ["float32", "float64", "mixed_bfloat16", "mixed_float16", "bfloat16", "float16"])
@pytest.mark.parametrize("name", [*HEADS, "value"])
def test_the_dtype_that_keras_is_told_is_that_of_the_output(name, policy):
    head = {**HEADS, "value": heads.ValueHead}[name](dtype=policy, hidden_sizes=(3,))
    inputs = keras.Input((6,))
    model = keras.Model(inputs, head(inputs))
    value = model(features())
    assert model.output.dtype == value.dtype.name == ("float64" if policy == "float64" else "float32")
    assert value.shape[1:] == model.output.shape[1:]
    assert not np.isnan(value).any()


def test_an_ordered_action_without_a_legal_level_is_told_in_graphs():
    head = heads.OrdinalHead(3)
    values = head(features())
    draw = tf.function(lambda mask: head.sample(values, SEED, mask=mask).action)
    draw(tf.constant([[True, False, False]] * 4))
    with pytest.raises(tf.errors.InvalidArgumentError, match="Expected at least one legal category in every row"):
        draw(tf.constant([[True, False, False]] * 3 + [[False] * 3]))


def test_a_mask_of_unknown_shape():
    head = heads.TopKHead(4, 2)
    logits = head(features())

    @tf.function(autograph=False)
    def draw():
        mask = tf.numpy_function(lambda: np.array([True, False, True, True]), [], tf.bool)
        return head.sample(logits, SEED, mask=mask).action

    assert not (draw().numpy() == 1).any()
