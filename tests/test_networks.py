"""Networks: what each builds, which one is chosen, what does not fit, and every agent with each of them."""

from __future__ import annotations

import dataclasses

import gymnasium as gym
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Text, Tuple

from agents import ppo
from rlsample import heads, networks, runs, samplers
from rlsample.learning import critics, replay
from rlsample.networks.flat import FlatNetwork
from rlsample.rollouts.gymnasium_collector import GymnasiumCollector
from rlsample.rollouts.in_numpy.policy import NumpyPolicy, quickest_policy
from rlsample.rollouts.policy import Policy
from rlsample.runs import ConfigError, config_from_dict, config_to_dict
from rlsample.spaces import observations
from tests.helpers_agents import AGENTS, SMALL
from tests.helpers_networks import ALL_NETWORKS, batch_of, network_and_space, own_model
from tests.helpers_runs import Silent

BYTES = np.uint8
each_network = pytest.mark.parametrize("name", ALL_NETWORKS)


def policy_with(name, sampler="categorical"):
    network, space = network_and_space(name)
    return Policy(space, Discrete(3), samplers.create(sampler), network)


def test_every_network_is_tried():
    ours = {name for name in networks.names() if networks.get(name).__module__.startswith("rlsample.")}
    ours -= {"recurrent"}  # in tests/test_memory.py
    assert {name.split(",")[0] for name in ALL_NETWORKS} == ours


class TestEveryNetwork:
    pytestmark = each_network

    def test_it_is_its_own_configuration(self, name):
        network, space = network_and_space(name)
        made = networks.create(network)
        assert networks.create(made.to_config()) == made
        fitted = made.fitted(space, hidden_sizes=(7,), activation="relu")
        assert networks.create(fitted.to_config()) == fitted == fitted.fitted(space)

    def test_it_gives_features_that_depend_on_the_observation_and_weights_of_their_own(self, name):
        network, space = network_and_space(name)
        one, other = (networks.model_of(networks.create(network), space) for _ in range(2))
        features = one(batch_of(space, 4)).numpy()
        assert features.shape[0] == 4
        assert np.isfinite(features).all()
        assert np.ptp(features, axis=0).max() > 0
        assert any(np.any(a != b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))

    @pytest.mark.thinned(2)
    def test_a_policy_acts_is_saved_loaded_and_exported(self, name, tmp_path):
        policy, space = policy_with(name), network_and_space(name)[1]
        batch = batch_of(space, 3)
        space.seed(1)
        assert policy.act(space.sample()) in range(3)
        logits = policy.model(batch).numpy()
        policy.model.save(tmp_path / "policy.keras")
        again = keras.models.load_model(tmp_path / "policy.keras")
        np.testing.assert_allclose(again(batch), logits, rtol=1e-5, atol=1e-6)
        heads.export(policy.model, tmp_path / "exported", batch)  # compares

    def test_numpy_acts_as_tensorflow_does(self, name):
        policy, space = policy_with(name), network_and_space(name)[1]
        for number, weight in enumerate(policy.model.trainable_variables):
            weight.assign(np.random.default_rng(number).normal(size=weight.shape))
        quickest, batch = quickest_policy(policy), tf.nest.map_structure(np.asarray, batch_of(space, 5))
        assert isinstance(quickest, NumpyPolicy)
        np.testing.assert_array_equal(quickest.act(batch), policy.act(batch))

    @pytest.mark.thinned(2)
    def test_gradients_reach_every_weight_compiled_as_in_graphs(self, name):
        network, space = network_and_space(name)
        flat = FlatNetwork(networks.with_outputs(networks.model_of(networks.create(network), space), 1))
        weights, batch = flat.weights(), batch_of(space, 4)

        def gradient(weights, batch):
            with tf.GradientTape() as tape:
                tape.watch(weights)
                loss = tf.reduce_sum(tf.square(flat(weights, batch) - 1))
            return tf.convert_to_tensor(tape.gradient(loss, weights))

        plain, compiled = (tf.function(gradient, jit_compile=jit)(weights, batch) for jit in (False, True))
        np.testing.assert_allclose(compiled, plain, rtol=1e-3, atol=1e-4)
        for part in flat.split(plain):
            assert np.any(part != 0)

    def test_a_critic_of_each_kind_takes_it(self, name):
        network, space = network_and_space(name)
        fitted = networks.create(network).fitted(space)
        batch, one_hot = batch_of(space, 4), tf.one_hot([0, 1, 2, 0], 3)
        for make in critics.CRITICS.values():
            values = make(fitted, space, (3,))(batch, one_hot)
            assert values.shape == (4,)
            assert np.isfinite(values).all()

    def test_observations_are_collected_in_their_own_dtype(self, name):
        network, space = network_and_space(name)
        envs = gym.make_vec("Shown-v0", 2, name=name, vectorization_mode="sync")
        policy = Policy(space, envs.single_action_space, samplers.create("categorical"), network)
        collector = GymnasiumCollector(envs, policy.factors, seed=1)
        steps = collector.collect(lambda observation, mask: policy.sample(observation, mask, (0, 1)), 4)
        for part, spec in zip(
            tf.nest.flatten(steps.observation), tf.nest.flatten(observations.specs(space)), strict=True
        ):
            assert part.dtype == spec.dtype.as_numpy_dtype
            assert part.shape == (4, 2, *spec.shape)


def train(agent, env, network, **settings):
    small = SMALL[agent]
    config = config_from_dict(
        {
            "agent": {"name": agent, **small["agent"], "audit_draws": 0}
            if agent == "relaxed_actor_critic"
            else {"name": agent, **small["agent"]},
            "env": {"id": env, "num_envs": 4, **settings},
            "network": network,
            "sampler": "straight_through_gumbel_softmax",
            "total_steps": small["total_steps"],
            "tracking": {"wandb": "disabled"},
        },
        agents=AGENTS,
    )
    run = Silent()
    return AGENTS.module(agent).train(config, run), run


@pytest.mark.parametrize("name", ["grid", pytest.param("joined", marks=pytest.mark.slow), "mlp, parts"])
@pytest.mark.thinned(3)
def test_ppo_learns_through_gymnasium(name):
    network, space = network_and_space(name)
    policy, run = train("ppo", "Shown-v0", network, kwargs={"name": name})
    assert run.records[-1]["update"] == 16
    assert policy.network == networks.create(network).fitted(space)


def test_the_relaxed_actor_critic_learns_from_a_replay_of_bytes():
    """An image among other parts: trees go through replay, updates and both averages."""
    network = network_and_space("joined")[0]
    _, run = train("relaxed_actor_critic", "Shown-v0", network, kwargs={"name": "joined"})
    assert run.records[-1]["update"] > 100
    assert np.isfinite(run.records[-1]["losses/critic"])
    # 161 places: one more than there are steps. Twice the observation, masks, and nine bytes beside.
    assert any(line.startswith("Replay: 161 transitions, 0.00 GB") for line in run.said)


def test_ppo_learns_from_planes_in_its_own_program():
    policy, run = train("ppo", "rlsample/Breakout-v0", {"filters": [2], "kernel_sizes": [3], "name": "convolutional"})
    assert policy.network.name == "convolutional"
    assert run.records[-1]["update"] == 16


@pytest.mark.parametrize("agent", ["ppo", "short_horizon_actor_critic"])
@pytest.mark.thinned(2)
def test_a_keras_model_is_every_agents(agent):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "tanh")])
    policy, run = train(agent, "rlsample/CartPole-v1", model)
    assert isinstance(policy.network, networks.KerasModel)
    assert run.records


@pytest.mark.parametrize(
    ("space", "name", "options"),
    [
        (Box(-1, 1, (4,)), "mlp", {"hidden_sizes": (7,), "activation": "elu"}),
        (Discrete(5), "mlp", {}),
        (MultiDiscrete([2, 3]), "mlp", {}),
        (MultiBinary(3), "mlp", {}),
        (Box(0, 255, (128,), BYTES), "mlp", {}),
        (Box(-1, 1, (5, 5)), "mlp", {}),
        (Box(-1, 1, (5, 5, 64)), "mlp", {}),
        (Tuple((Discrete(32), Discrete(11), Discrete(2))), "mlp", {}),
        (Box(0, 255, (4, 84, 84), BYTES), "convolutional", {"channels": "first", "strides": (4, 2, 1)}),
        (Box(0, 255, (84, 84, 3), BYTES), "convolutional", {"channels": "last", "hidden_sizes": (512,)}),
        (Box(0, 255, (84, 84), BYTES), "convolutional", {"activation": "relu"}),
        (Box(0, 255, (4, 64, 64, 3), BYTES), "convolutional", {"channels": "last"}),
        (Box(0, 255, (28, 28, 1), BYTES), "convolutional", {"kernel_sizes": (3, 3, 3)}),
        (Box(0, 1, (10, 10, 4), bool), "convolutional", {"filters": (16,), "hidden_sizes": (128,)}),
        (Box(0, 1, (6, 7, 2), np.int8), "convolutional", {}),
        (Box(0, 255, (7, 7, 3), BYTES), "grid", {"embedding_size": 16}),
        (Box(0, 4, (8, 8), np.int64), "grid", {"embedding_size": 0}),
        (Dict(image=Box(0, 255, (7, 7, 3), BYTES), direction=Discrete(4)), "joined", {"hidden_sizes": (256,)}),
    ],
    ids=str,
)
def test_the_choice(space, name, options):
    network = networks.create(None).fitted(space, hidden_sizes=(7,), activation="elu")
    assert network.name == name
    for option, value in options.items():
        assert getattr(network, option) == value


def test_images_of_every_layout_are_the_same_planes():
    """An image [5, 6, 2] with its channels last, first, and as frames that are stacked."""
    image = np.random.default_rng(0).integers(0, 256, (1, 5, 6, 2)).astype(BYTES)
    layouts = {
        (5, 6, 2): image,
        (2, 5, 6): image.transpose(0, 3, 1, 2),
        (2, 5, 6, 1): image.transpose(0, 3, 1, 2)[..., None],
    }
    network = networks.create({"name": "convolutional", "filters": [2], "kernel_sizes": [3], "hidden_sizes": []})
    outputs = []
    for shape, values in layouts.items():
        model = networks.model_of(network, Box(0, 255, shape, BYTES))
        model.set_weights([np.linspace(-1, 1, weight.size).reshape(weight.shape) for weight in model.get_weights()])
        outputs.append(model(values).numpy())
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-6)
    np.testing.assert_allclose(outputs[2], outputs[0], rtol=1e-6)
    floats = networks.model_of(network, Box(0, 1, (5, 6, 2)))
    floats.set_weights([np.linspace(-1, 1, weight.size).reshape(weight.shape) for weight in floats.get_weights()])
    np.testing.assert_allclose(floats(image.astype(np.float32) / 255), outputs[0], rtol=1e-5)


def test_the_vectors_of_a_cell_are_added_up():
    space = Box(0, np.tile(np.int64([1, 2]), (3, 3, 1)), dtype=np.int64)
    model = networks.model_of(
        networks.create({"name": "grid", "embedding_size": 2, "filters": [], "kernel_sizes": [], "hidden_sizes": []}),
        space,
    )
    table = np.arange(10, dtype=np.float32).reshape(5, 2)
    model.set_weights([table])
    cells = np.zeros((1, 3, 3, 2), np.int32)
    cells[0, 1, 2] = 1, 2
    planes = model(cells).numpy().reshape(3, 3, 2)
    np.testing.assert_array_equal(planes[0, 0], table[0] + table[2])
    np.testing.assert_array_equal(planes[1, 2], table[1] + table[4])


class Wide(networks.Network):
    """Features that nobody flattened."""

    name = "wide"

    def build(self, space):
        return keras.Sequential([keras.Input(space.shape), keras.layers.Reshape((1, -1))])


class Broken(Wide):
    name = "broken"

    def build(self, space):
        raise KeyError("depth")


@pytest.mark.parametrize(
    ("network", "space", "message"),
    [
        ("convolutionl", Box(-1, 1, (4,)), "Unknown network 'convolutionl'. Did you mean 'convolutional'"),
        ({"name": "mlp", "hiden_sizes": [4]}, Box(-1, 1, (4,)), "Did you mean 'hidden_sizes'"),
        ({"name": "mlp", "hidden_sizes": 4}, Box(-1, 1, (4,)), "hidden_sizes to be a list of whole numbers"),
        ({"activation": "rellu"}, Box(-1, 1, (4,)), "Unknown activation 'rellu'. Did you mean 'relu'"),
        ("convolutional", Box(-1, 1, (4,)), r"an image: a Box of shape .*Received: observation=Box"),
        ("convolutional", Discrete(4), "an image"),
        ("convolutional", Box(0, 255, (84, 84, 3)), r"to be scaled, .*high=255.0.*RescaleObservation"),
        ({"name": "convolutional", "filters": [4], "kernel_sizes": [9]}, Box(0, 1, (8, 8, 1)), "kernels that fit"),
        (
            {"name": "convolutional", "kernel_sizes": [4]},
            Box(0, 1, (8, 8, 1)),
            "filters with kernel_sizes and strides",
        ),
        ({"name": "convolutional", "channels": "middle"}, Box(0, 1, (8, 8, 1)), "first or last"),
        ("grid", Box(-1, 1, (4, 4)), "a grid: a Box of integers from 0 to 1023"),
        ("joined", Box(-1, 1, (4,)), "a Dict or a Tuple"),
        ({"name": "joined", "parts": {"imag": "mlp"}}, Dict(image=Discrete(3)), "Did you mean 'image'"),
        (None, Text(5), "A network reads no text"),
        (None, Dict(a=Discrete(2), words=Text(5)), r"observation\['words'\]=Text"),
        (
            Wide(),
            Box(-1, 1, (4,)),
            r"'wide' to return features, floats \[B, D\]. Received: shape=\(None, 1, 4\).*Flatten",
        ),
        (Broken(), Box(-1, 1, (4,)), "'broken' to build for .* Received: KeyError: 'depth'"),
        (own_model, Box(-1, 1, (4,)), r"'keras_model' to take the observations, float32\[None, 4\]"),
        ({"name": "keras_model", "architecture": {"class_name": "Sequentiel"}}, Box(-1, 1, (4,)), "can be made again"),
    ],
)
def test_what_does_not_fit_is_told(network, space, message):
    with pytest.raises(ValueError, match=message):
        Policy(space, Discrete(2), samplers.create("categorical"), network() if callable(network) else network)


def test_a_model_with_a_function_in_it_is_refused():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda values: values + 1)])
    with pytest.raises(ValueError, match=r"can be made again from its description.*register_keras_serializable"):
        networks.create(model)


def test_a_registered_network_is_created_by_name_and_trains(monkeypatch):
    monkeypatch.setattr(networks.registry, "registered", dict(networks.registry.registered))

    @networks.register
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Squares(networks.Network):
        name = "squares"
        power: int = 2

        def build(self, space):
            inputs = keras.Input(space.shape)
            return keras.Model(inputs, inputs**self.power)

    config = config_from_dict(
        {"agent": "ppo", "env": "CartPole-v1", "network": {"name": "squares", "power": 3}, "total_steps": 64},
        agents=AGENTS,
    )
    assert config.network == Squares(power=3)
    assert config_to_dict(config)["network"] == {"name": "squares", "power": 3}
    policy, run = train("ppo", "rlsample/CartPole-v1", "squares")
    assert policy.network == Squares()
    assert run.records


def test_a_replay_beyond_the_memory_is_refused(monkeypatch, tmp_path):
    specs = {"image": tf.TensorSpec([84, 84, 3], tf.uint8), "reward": tf.TensorSpec([])}
    assert replay.size_in_words(100_000, specs) == "100,000 transitions, 2.12 GB"
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(replay, "MEMORY_LIMIT", limit)
    limit.write_text("max\n")
    replay.check_memory(1000, specs)
    assert replay.memory_there_is() > 10**8
    limit.write_text("1000000000\n")
    with pytest.raises(ValueError, match=r"at most the 1.00 GB of memory .*size='2.12 GB'. Keep at most 47,"):
        replay.check_memory(100_000, specs)


def test_weights_that_are_not_trained_are_refused_before_there_is_a_folder(tmp_path):
    doubles = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, dtype="float64")])
    settings = {"agent": "ppo", "env": "CartPole-v1", "network": doubles, "total_steps": 100}
    config = runs.config_from_dict(settings, agents={"ppo": ppo.Config})
    with pytest.raises(ConfigError, match=r"Expected float32 weights\. Received: weight='.*kernel', dtype='float64'"):
        runs.train(config, tmp_path / "run", agents=AGENTS)
    assert not (tmp_path / "run").exists()
