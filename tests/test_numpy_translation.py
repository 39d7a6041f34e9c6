"""Networks in NumPy: what Keras computes, to rounding, or a refusal that names the layer."""

from __future__ import annotations

import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from agents import dqn
from rlsample import networks, runs, samplers
from rlsample.networks.base import ACTIVATIONS
from rlsample.rollouts.in_numpy.actor import RememberingActor
from rlsample.rollouts.in_numpy.policy import (
    NumpyPolicy,
    OtherActor,
    check_for_runners,
    network_of,
    quickest_actor,
    quickest_policy,
    rollout_actor,
    sendable,
)
from rlsample.rollouts.in_numpy.translation import NotInNumPy, translated
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.recurrent.policy import policy_for
from tests.helpers_networks import ALL_NETWORKS, batch_of, network_and_space

ROWS = 5
ACTIONS = MultiDiscrete([2, 3])
SEED = np.array([3, 4], np.int32)
SMALL_SPACES = [
    Discrete(3, start=2),
    MultiDiscrete([2, 3]),
    MultiBinary(2),
    Box(0, 9, (2,), np.int32),
    Box(0, 1, (2,), np.bool_),
    Tuple([Discrete(3), Box(-1.0, 1.0, (2,))]),
    Dict(a=Discrete(3), b=Dict(c=Box(-1.0, 1.0, (2, 2)))),
]


def moved(policy):
    """With weights that are nothing special, biases included."""
    draw = np.random.default_rng(1).normal
    for weight in policy.model.trainable_variables:
        weight.assign(weight + draw(size=weight.shape, scale=0.1))
    return policy


def made(name, cell=None, actions=ACTIONS):
    network, space = network_and_space(name)
    if cell:
        network = networks.Recurrent(cell=cell, units=8, encoder=networks.create(network))
    return moved(policy_for(space, actions, samplers.create("categorical"), network)), batch_of(space, ROWS)


def arrays(tree):
    return tf.nest.map_structure(np.asarray, tree)


def existing(policy, logits):
    return np.where(policy.factors.padding_mask, logits, 0.0)


@pytest.mark.parametrize("name", ALL_NETWORKS)
def test_logits_are_those_of_the_model(name):
    policy, batch = made(name)
    logits = network_of(policy).logits(arrays(batch))
    assert logits.dtype == np.float32
    np.testing.assert_allclose(existing(policy, logits), existing(policy, policy.logits(batch)), atol=1e-5)


@pytest.mark.parametrize(("name", "cell"), [*((name, "gru") for name in ALL_NETWORKS), ("mlp", "lstm")])
def test_logits_and_state_with_a_memory_are_those_of_the_model(name, cell):
    policy, batch = made(name, cell)
    state = np.random.default_rng(2).normal(size=(ROWS, policy.network.state_size)).astype(np.float32)
    logits, after = network_of(policy).after(arrays(batch), state)
    expected, expected_after = policy.model((batch, tf.constant(state), tf.zeros([1, ROWS], tf.bool)))
    np.testing.assert_allclose(existing(policy, logits), existing(policy, expected), atol=1e-5)
    assert after.dtype == np.float32
    np.testing.assert_allclose(after, expected_after, atol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation):
    network = {"name": "mlp", "hidden_sizes": [16], "activation": activation}
    policy = moved(Policy(Box(-9, 9, (3,)), Discrete(4), samplers.create("exact"), network))
    seen = 9 * np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    logits = network_of(policy).logits(seen)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, policy.logits(seen), atol=1e-5)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_convolutions(padding, strides):
    layers = [keras.Input((9, 8, 3)), keras.layers.Conv2D(5, (4, 3), strides, padding, use_bias=False)]
    model = keras.Sequential([*layers, keras.layers.Activation("relu"), keras.layers.Flatten()])
    image = np.random.default_rng(0).normal(size=(2, 9, 8, 3)).astype(np.float32)
    network = translated(model, (model.outputs[0].shape[1],))
    np.testing.assert_allclose(network.logits(image), model(image), atol=1e-5)


def test_dueling_values():
    words = {"agent": {"name": "dqn", "dueling": True}, "env": {"id": "CartPole-v1"}, "total_steps": 100}
    config = runs.config_from_dict(words, agents={"dqn": dqn.Config})
    policy = moved(dqn.make_policy(config, Box(-1, 1, (4,)), Discrete(3)))
    seen = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    np.testing.assert_allclose(network_of(policy).logits(seen), policy.logits(seen), atol=1e-5)


class Scaled(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs


class OwnDense(keras.layers.Dense):
    """Named as one that is known, in a module that is not."""


OwnDense.__name__ = "Dense"


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Scaled, "layer='Scaled'"),
        (lambda: OwnDense(3), "layer='Dense'"),
        (lambda: keras.layers.Dense(3, activation=tf.math.sin), "Expected an activation among .*sin of your own"),
        (lambda: keras.layers.LayerNormalization(scale=False), "Expected a normalisation over the last axis"),
        (lambda: keras.layers.BatchNormalization(), "layer='BatchNormalization'"),
    ],
)
def test_layers_that_only_keras_computes_are_named(layer, message):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layer()(inputs))
    with pytest.raises(NotInNumPy, match=message):
        translated(model, (3,))


def test_convolutions_of_other_kinds_and_models_without_a_graph_are_named():
    inputs = keras.Input((6, 6, 2))
    with pytest.raises(NotInNumPy, match=r"Expected convolutions with channels last, one group and no dilation"):
        translated(keras.Model(inputs, keras.layers.Conv2D(2, 3, dilation_rate=2)(inputs)), (8,))

    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(NotInNumPy, match=r"layer='Own'"):
        translated(Own(), (3,))


def test_large_convolutions_act_by_tensorflow_here_and_in_numpy_elsewhere():
    policy = Policy(Box(0, 255, (40, 40, 3), np.uint8), Discrete(3), samplers.create("categorical"))
    act = quickest_actor(policy, SEED)
    assert isinstance(act, OtherActor)
    assert quickest_policy(policy) is policy
    image, mask = arrays(batch_of(policy.observation_space, 4)), np.ones((4, 3), bool)
    assert sendable(act)(image, mask).shape == act(image, mask).shape == (4,)
    with pytest.raises(ValueError, match=r"Expected a policy that acts in NumPy.*Received: act='function'"):
        sendable(lambda observation, mask: np.zeros(4, np.int32))


def test_a_small_convolution_acts_in_numpy_also_on_a_single_observation():
    policy, batch = made("convolutional", actions=Discrete(3))
    quick, seen = quickest_policy(policy), arrays(batch)
    assert isinstance(quick, NumpyPolicy)
    np.testing.assert_array_equal(quick.act(seen), policy.act(seen))
    assert quick.act(seen[0]) == policy.act(seen[0])


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_memory_is_carried_through_a_rollout_and_lost_where_an_episode_begins(cell):
    policy, batch = made("mlp", cell, actions=Discrete(3))
    seen, starts = arrays(batch), [np.zeros(ROWS, bool), np.array([False, True, False, False, True])]
    begins = iter(starts)
    act = rollout_actor(policy, policy.initial_state(ROWS), lambda: next(begins), SEED)
    assert isinstance(act, RememberingActor)
    state = policy.initial_state(ROWS)
    for begun in starts:
        act(seen, np.ones((ROWS, 3), bool))
        state = np.where(begun[:, None], np.float32(0), state)
        np.testing.assert_allclose(act.seen[1], state, atol=1e-5)
        _, state = policy.act(seen, state=state)
    np.testing.assert_allclose(act.states[0], state, atol=1e-5)


def test_what_runners_can_do_with_is_told_before():
    policy = Policy(Box(-1, 1, (3,)), Discrete(2), samplers.create("exact"))
    check_for_runners(policy)
    policy.model = keras.Model(policy.model.input, Scaled()(policy.model.output))
    with pytest.raises(ValueError, match=r"Expected a policy that acts in NumPy, for runners.*layer='Scaled'"):
        check_for_runners(policy)
    with pytest.raises(ValueError, match=r"Expected a policy that acts in NumPy.*Received: network='str'"):
        check_for_runners("a policy of another kind")


@pytest.mark.parametrize("name", ALL_NETWORKS)
def test_it_is_sent_to_a_process_that_has_no_keras(name):
    policy, batch = made(name)
    try:
        network = network_of(policy)
    except NotInNumPy:
        return
    sent, batch = pickle.dumps(network), tf.nest.map_structure(np.asarray, batch)
    assert b"keras" not in sent
    assert b"tensorflow" not in sent
    arrived, mask = pickle.loads(sent), np.ones((ROWS, *policy.factors.event_shape), bool)
    np.testing.assert_array_equal(arrived.mode(batch, mask), network.mode(batch, mask))


@pytest.mark.parametrize("observed", SMALL_SPACES, ids=str)
def test_whatever_is_observed_is_sent(observed):
    policy = Policy(observed, ACTIONS, samplers.create("categorical"))
    batch = tf.nest.map_structure(np.asarray, batch_of(observed, ROWS))
    arrived = pickle.loads(pickle.dumps(network_of(policy)))
    np.testing.assert_array_equal(arrived.logits(batch), network_of(policy).logits(batch))
