"""A policy in NumPy: for a handful of rows, calling TensorFlow takes ten times as long as the arithmetic."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np

from rlsample import checks
from rlsample.networks.flattening import Flattening
from rlsample.rollouts.numpy_network import (
    ACTIVATIONS,
    NumpyAct,
    NumpyActor,
    NumpyNetwork,
    noise_of,
    uniform_actions,
)
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.recurrent_policy import RecurrentPolicy, Remembering


def quickest_actor(policy: Policy, seed: np.ndarray) -> NumpyAct:
    """The quickest way to draw the actions of a rollout, with the weights as they are now.

    That is a `NumpyActor` where one can stand for the policy: its model is dense layers, with activations among
    `ACTIVATIONS`, on a flat observation, and the head, whose sampler draws from softmax(logits). Otherwise it is
    `policy.sample`.

    Args:
        policy: the policy.
        seed: int32 `[2]`, of the whole rollout.

    Raises:
        ValueError: NaN or inf among the weights.

    Examples:
        >>> from rlsample.rollouts.numpy_policy import quickest_actor
        >>> from rlsample.rollouts.policy import Policy
        >>> env = gym.make("CartPole-v1")
        >>> policy = Policy(env.observation_space, env.action_space, samplers.create("straight_through"))
        >>> act = quickest_actor(policy, np.array([0, 1], np.int32))
        >>> act(np.zeros([8, 4], np.float32), np.array([[True, False]] * 8))
        array([0, 0, 0, 0, 0, 0, 0, 0], dtype=int32)
    """
    if can_be_replaced(policy):
        return NumpyActor(network_of(policy), seed)
    steps = itertools.count()
    return lambda observation, mask: policy.sample(observation, mask, seed + np.array([0, next(steps)], np.int32))


def epsilon_greedy_actor(policy: Policy, epsilon: float, seed: np.ndarray) -> NumpyAct:
    """The most probable action, but with probability epsilon a legal one drawn uniformly: in each row by itself.

    Args:
        policy: with its weights as they are now.
        epsilon: in [0, 1].
        seed: int32 `[2]`, of the whole rollout.

    Raises:
        ValueError: NaN or inf among the weights.

    Examples:
        >>> from rlsample.rollouts.numpy_policy import epsilon_greedy_actor
        >>> from rlsample.rollouts.policy import Policy
        >>> env = gym.make("CartPole-v1")
        >>> policy = Policy(env.observation_space, env.action_space, samplers.create("categorical"))
        >>> act = epsilon_greedy_actor(policy, 0.5, np.array([0, 1], np.int32))
        >>> len(set(act(np.ones([64, 4], np.float32), np.ones([64, 2], bool))))  # without noise all would do the same
        2
    """
    noise = noise_of(seed)
    mode = network_of(policy).mode if can_be_replaced(policy) else policy.mode

    def act(observation: Any, mask: np.ndarray) -> np.ndarray:
        explores = noise.random((len(mask), *[1] * (mask.ndim - 2))) < epsilon
        return np.where(explores, uniform_actions(noise, mask), mode(observation, mask))

    return act


def quickest_policy(policy: Any) -> Any:
    """Whatever is quickest that acts as the policy does as long as its weights stay: a `NumpyPolicy`, or the policy.

    One with a memory keeps its state itself: see `Remembering`.

    Examples:
        >>> from rlsample.rollouts.numpy_policy import quickest_policy
        >>> from rlsample.rollouts.policy import Policy
        >>> env = gym.make("CartPole-v1")
        >>> policy = Policy(env.observation_space, env.action_space, samplers.create("categorical"))
        >>> quick = quickest_policy(policy)
        >>> seen = np.random.default_rng(0).normal(size=[8, 4])
        >>> type(quick).__name__, bool((quick.act(seen) == policy.act(seen)).all())
        ('NumpyPolicy', True)
    """
    if isinstance(policy, RecurrentPolicy):
        return Remembering(policy)
    return NumpyPolicy(policy) if isinstance(policy, Policy) and can_be_replaced(policy) else policy


def can_be_replaced(policy: Policy) -> bool:
    """Whether `network_of` can stand for the policy: see `quickest_actor`.

    Examples:
        >>> from rlsample.rollouts.numpy_policy import can_be_replaced
        >>> from rlsample.rollouts.policy import Policy
        >>> env = gym.make("CartPole-v1")
        >>> spaces_of_it, sampler = (env.observation_space, env.action_space), samplers.create("exact")
        >>> policies = [Policy(*spaces_of_it, sampler, activation=name) for name in ("tanh", "gelu")]
        >>> [can_be_replaced(policy) for policy in policies]
        [True, False]
    """
    _, hidden, head = _layers(policy)
    plain = all(type(layer) is keras.layers.Dense and _activation(layer) in ACTIVATIONS for layer in hidden)
    return plain and head is policy.head and head.sampler.draws_from_logits


def check_for_runners(policy: Any) -> None:
    """Checks that a policy can act in processes that have no TensorFlow.

    Raises:
        ValueError: it cannot.

    Examples:
        >>> from rlsample.rollouts.numpy_policy import check_for_runners
        >>> from rlsample.rollouts.policy import Policy
        >>> env = gym.make("CartPole-v1")
        >>> check_for_runners(Policy(env.observation_space, env.action_space, samplers.create("exact")))
        >>> other = Policy(env.observation_space, env.action_space, samplers.create("exact"), activation="gelu")
        >>> check_for_runners(other)
        Traceback (most recent call last):
            ...
        ValueError: Expected a policy that acts in NumPy, for runners: dense layers, tanh or relu, no memory. ...
    """
    if isinstance(policy, RecurrentPolicy) or not (isinstance(policy, Policy) and can_be_replaced(policy)):
        rule = f"a policy that acts in NumPy, for runners: dense layers, {' or '.join(ACTIVATIONS)}, no memory"
        received = {"network": policy.network.name, "sampler": policy.head.sampler.name}
        raise checks.invalid(rule, **received, hint="Such as network=mlp; or leave scale out.")


def _layers(policy: Policy) -> tuple[Flattening | None, list[keras.layers.Layer], keras.layers.Layer]:
    """What flattens the observation, if anything does; the hidden layers; the last one."""
    *layers, head = (layer for layer in policy.model.layers if not isinstance(layer, keras.layers.InputLayer))
    return (layers[0], layers[1:], head) if layers and isinstance(layers[0], Flattening) else (None, layers, head)


def _activation(layer: keras.layers.Dense) -> str:
    return keras.activations.serialize(layer.activation)


def network_of(policy: Policy) -> NumpyNetwork:
    """The arithmetic of a policy that `can_be_replaced`, with the weights as they are now.

    Raises:
        ValueError: NaN or inf among them.

    Examples:
        >>> from rlsample.rollouts.numpy_policy import network_of
        >>> from rlsample.rollouts.policy import Policy
        >>> env = gym.make("CartPole-v1")
        >>> sampler, sizes = samplers.create("exact"), (16,)
        >>> policy = Policy(env.observation_space, env.action_space, sampler, hidden_sizes=sizes)
        >>> network = network_of(policy)
        >>> [weight.shape for weight in network.weights], network.activations
        ([(4, 16), (16,), (16, 2), (2,)], ['tanh'])
    """
    flattening, hidden, _ = _layers(policy)
    return NumpyNetwork(
        parts=None if flattening is None else flattening.parts,
        weights=[np.asarray(weight) for weight in policy.model.trainable_variables],
        activations=[_activation(layer) for layer in hidden],
        event_shape=policy.factors.event_shape,
    )


class NumpyPolicy:
    """A policy with the weights as they were when this was made.

    Raises:
        ValueError: NaN or inf among them.

    Examples:
        >>> from rlsample.rollouts.numpy_policy import NumpyPolicy
        >>> from rlsample.rollouts.policy import Policy
        >>> env = gym.make("CartPole-v1")
        >>> policy = Policy(env.observation_space, env.action_space, samplers.create("categorical"))
        >>> seen = np.random.default_rng(0).normal(size=[8, 4]).astype(np.float32)
        >>> bool((NumpyPolicy(policy).act(seen) == policy.act(seen)).all())
        True
    """

    def __init__(self, policy: Policy) -> None:
        self.network = network_of(policy)
        self._policy = policy

    def act(self, observations: Any, mask: Any = None, seed: Any = None) -> Any:
        """See `Policy.act`."""
        if seed is not None:
            return self._policy.act(observations, mask, seed)
        return self._policy.factors.to_env(self.network.mode(*self._policy.read(observations, mask)))
