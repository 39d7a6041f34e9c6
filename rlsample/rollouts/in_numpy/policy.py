"""A policy in NumPy: for a handful of rows, calling TensorFlow takes ten times as long as the arithmetic."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from rlsample import checks
from rlsample.rollouts.in_numpy.actor import NumpyAct, NumpyActor, RememberingActor, explored, noise_of
from rlsample.rollouts.in_numpy.network import NumpyNetwork
from rlsample.rollouts.in_numpy.translation import NotInNumPy, multiplications, translated
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.recurrent.policy import RecurrentPolicy, Remembering, RolloutActor

MOST_MULTIPLICATIONS = 300_000
"""Of the convolutions for one row: where there are more, TensorFlow is quicker in spite of what a call costs."""


def quickest_actor(policy: Policy, seed: np.ndarray) -> NumpyAct:
    """The quickest way to draw the actions of a rollout, with the weights as they are now.

    That is a `NumpyActor` where one can stand for the policy, and its convolutions are small; otherwise an
    `OtherActor`.

    Args:
        policy: the policy, without a memory.
        seed: int32 `[2]`, of the whole rollout.

    Raises:
        ValueError: NaN or inf among the weights.

    Examples:
        >>> from rlsample.rollouts.in_numpy.policy import quickest_actor
        >>> from rlsample.rollouts.policy import Policy
        >>> env = gym.make("CartPole-v1")
        >>> policy = Policy(env.observation_space, env.action_space, samplers.create("straight_through"))
        >>> act = quickest_actor(policy, np.array([0, 1], np.int32))
        >>> act(np.zeros([8, 4], np.float32), np.array([[True, False]] * 8))
        array([0, 0, 0, 0, 0, 0, 0, 0], dtype=int32)
    """
    return _quickest(policy, seed)


def epsilon_greedy_actor(policy: Policy, epsilon: float, seed: np.ndarray) -> NumpyAct:
    """The most probable action, but with probability epsilon a legal one drawn uniformly: in each row by itself.

    Args:
        policy: with its weights as they are now, without a memory.
        epsilon: in [0, 1].
        seed: int32 `[2]`, of the whole rollout.

    Raises:
        ValueError: NaN or inf among the weights.

    Examples:
        >>> from rlsample.rollouts.in_numpy.policy import epsilon_greedy_actor
        >>> from rlsample.rollouts.policy import Policy
        >>> env = gym.make("CartPole-v1")
        >>> policy = Policy(env.observation_space, env.action_space, samplers.create("categorical"))
        >>> act = epsilon_greedy_actor(policy, 0.5, np.array([0, 1], np.int32))
        >>> len(set(act(np.ones([64, 4], np.float32), np.ones([64, 2], bool))))  # without noise all would do the same
        2
    """
    return _quickest(policy, seed, epsilon)


class OtherActor:
    """Chooses the actions of a rollout by TensorFlow: a `NumpyAct`.

    Attributes:
        policy: with its weights as they are when it acts.
        seed: int32 `[2]`, of the whole rollout.
        epsilon: as of `NumpyActor`.

    Examples:
        >>> from rlsample.rollouts.in_numpy.policy import OtherActor
        >>> from rlsample.rollouts.policy import Policy
        >>> env = gym.make("CartPole-v1")
        >>> policy = Policy(env.observation_space, env.action_space, samplers.create("exact"))
        >>> act = OtherActor(policy, np.array([0, 1], np.int32))
        >>> act(np.zeros([8, 4], np.float32), np.array([[True, False]] * 8))
        array([0, 0, 0, 0, 0, 0, 0, 0], dtype=int32)
    """

    def __init__(self, policy: Policy, seed: np.ndarray, epsilon: float | None = None) -> None:
        self.policy, self.seed, self.epsilon = policy, seed, epsilon
        self._noise, self._steps = noise_of(seed), itertools.count()

    def __call__(self, observation: Any, mask: np.ndarray) -> np.ndarray:
        """See `NumpyAct`."""
        if self.epsilon is None:
            return self.policy.sample(observation, mask, self.seed + np.array([0, next(self._steps)], np.int32))
        return explored(self._noise, mask, self.epsilon, lambda: self.policy.mode(observation, mask))


def sendable(act: NumpyAct) -> NumpyActor:
    """What acts by the same policy wherever it is sent.

    Args:
        act: of `quickest_actor` or `epsilon_greedy_actor`, or a `NumpyActor`.

    Raises:
        ValueError: it is something else, or its policy cannot act in NumPy.

    Examples:
        >>> from rlsample.rollouts.in_numpy.policy import OtherActor, sendable
        >>> from rlsample.rollouts.policy import Policy
        >>> env = gym.make("CartPole-v1")
        >>> policy = Policy(env.observation_space, env.action_space, samplers.create("exact"))
        >>> type(sendable(OtherActor(policy, np.array([0, 1], np.int32)))).__name__
        'NumpyActor'
    """
    if isinstance(act, OtherActor):
        return NumpyActor(network_of(act.policy), act.seed, epsilon=act.epsilon)
    if not isinstance(act, NumpyActor):
        raise checks.invalid("a policy that acts in NumPy, for runners", act=type(act).__name__)
    return act


def rollout_actor(
    policy: RecurrentPolicy, state: np.ndarray, starts: Callable[[], np.ndarray], seed: np.ndarray
) -> RolloutActor | RememberingActor:
    """As `quickest_actor`, of a policy with a memory.

    Args:
        policy: the policy.
        state: before the first step, float32 `[B, S]`.
        starts: tells, before each step, where an episode begins with it: bool `[B]`.
        seed: int32 `[2]`, of the whole rollout.

    Examples:
        >>> from rlsample.rollouts.in_numpy.policy import rollout_actor
        >>> from rlsample.rollouts.recurrent.policy import RecurrentPolicy
        >>> env, begun = gym.make("CartPole-v1"), np.array([True, True])
        >>> policy = RecurrentPolicy(env.observation_space, env.action_space, samplers.create("exact"), "recurrent")
        >>> act = rollout_actor(policy, policy.initial_state(2), lambda: begun, np.array([0, 1], np.int32))
        >>> act(np.zeros([2, 4], np.float32), np.array([[True, False]] * 2))
        array([0, 0], dtype=int32)
    """
    network = _quick_network(policy)
    if network is None:
        return RolloutActor(policy, state, starts, seed)
    return RememberingActor(NumpyActor(network, seed), [state], starts)


def quickest_policy(policy: Any) -> Any:
    """Whatever is quickest that acts as the policy does as long as its weights stay: a `NumpyPolicy`, or the policy.

    One with a memory keeps its state itself: see `Remembering`.

    Examples:
        >>> from rlsample.rollouts.in_numpy.policy import quickest_policy
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
    network = _quick_network(policy) if isinstance(policy, Policy) else None
    return policy if network is None else NumpyPolicy(policy, network)


def check_for_runners(policy: Any) -> None:
    """Checks that a policy can act in processes that have no TensorFlow.

    Raises:
        ValueError: it cannot.

    Examples:
        >>> from rlsample.rollouts.in_numpy.policy import check_for_runners
        >>> from rlsample.rollouts.policy import Policy
        >>> env = gym.make("CartPole-v1")
        >>> check_for_runners(Policy(env.observation_space, env.action_space, samplers.create("exact")))
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.UnitNormalization(), keras.layers.Dense(8)])
        >>> check_for_runners(Policy(env.observation_space, env.action_space, samplers.create("exact"), model))
        Traceback (most recent call last):
            ...
        ValueError: Expected a policy that acts in NumPy, for runners. Received: network='keras_model'. Expected ...
    """
    try:
        network_of(policy)
    except (AttributeError, ValueError) as error:
        network = getattr(getattr(policy, "network", None), "name", type(policy).__name__)
        hint = f"{error} Or leave scale out."
        raise checks.invalid("a policy that acts in NumPy, for runners", network=network, hint=hint) from error


def network_of(policy: Policy) -> NumpyNetwork:
    """The arithmetic of a policy, with the weights as they are now.

    Raises:
        NotInNumPy: a layer that is not computed in NumPy, or a sampler that does not draw from softmax(logits).
        ValueError: NaN or inf among the weights.

    Examples:
        >>> from rlsample.rollouts.in_numpy.policy import network_of
        >>> from rlsample.rollouts.policy import Policy
        >>> env = gym.make("CartPole-v1")
        >>> sampler, sizes = samplers.create("exact"), (16,)
        >>> policy = Policy(env.observation_space, env.action_space, sampler, hidden_sizes=sizes)
        >>> [weight.shape for weight in network_of(policy).weights]
        [(4, 16), (16,), (16, 2), (2,)]
    """
    sampler = policy.head.sampler
    if not sampler.draws_from_logits:
        rule = "a sampler that draws from softmax(logits), for NumPy"
        raise NotInNumPy(str(checks.invalid(rule, sampler=sampler.name)))
    return translated(policy.model, policy.factors.event_shape, policy.network.state_size)


def _quickest(policy: Policy, seed: np.ndarray, epsilon: float | None = None) -> NumpyAct:
    network = _quick_network(policy)
    return OtherActor(policy, seed, epsilon) if network is None else NumpyActor(network, seed, epsilon=epsilon)


def _quick_network(policy: Policy) -> NumpyNetwork | None:
    """What stands for a policy on this machine; None where TensorFlow is quicker, or alone can."""
    if multiplications(policy.model) > MOST_MULTIPLICATIONS:
        return None
    try:
        return network_of(policy)
    except NotInNumPy:
        return None


class NumpyPolicy:
    """A policy with the weights as they were when this was made.

    Raises:
        ValueError: NaN or inf among them.

    Examples:
        >>> from rlsample.rollouts.in_numpy.policy import NumpyPolicy
        >>> from rlsample.rollouts.policy import Policy
        >>> env = gym.make("CartPole-v1")
        >>> policy = Policy(env.observation_space, env.action_space, samplers.create("categorical"))
        >>> seen = np.random.default_rng(0).normal(size=[8, 4]).astype(np.float32)
        >>> bool((NumpyPolicy(policy).act(seen) == policy.act(seen)).all())
        True
    """

    def __init__(self, policy: Policy, network: NumpyNetwork | None = None) -> None:
        self.network = network_of(policy) if network is None else network
        self._policy = policy

    def act(self, observations: Any, mask: Any = None, seed: Any = None) -> Any:
        """See `Policy.act`."""
        if seed is not None:
            return self._policy.act(observations, mask, seed)
        observation, legal = self._policy.read(observations, mask)
        if legal.ndim > len(self._policy.factors.event_shape):
            return self._policy.factors.to_env(self.network.mode(observation, legal))
        batch = tf.nest.map_structure(lambda part: np.asarray(part)[None], observation)
        return self._policy.factors.to_env(self.network.mode(batch, legal[None])[0])
