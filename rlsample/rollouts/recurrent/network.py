"""A network with a memory as a function of its weights, and of steps in place of observations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf

from rlsample.learning.critics import LinearCritic
from rlsample.networks import MLP, recurrent_model_of
from rlsample.networks.flat import FlatNetwork
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.recurrent import memory
from rlsample.rollouts.recurrent.sequences import Following, Seen, Steps, one_step


class SequenceNetwork:
    """As `networks.flat.FlatNetwork` to whoever learns, of `Steps` or `Following` where that takes observations.

    Attributes:
        columns: of all that is remembered, those of this network.

    Args:
        model: with a memory, as `Network.build` says.
        first: its first column.
        head: a model of the outputs of `model` `[N, D]` and of other inputs; None for the outputs themselves.

    Examples:
        >>> from rlsample.rollouts.recurrent.network import SequenceNetwork
        >>> from rlsample.rollouts.recurrent.sequences import Seen, Steps
        >>> space = gym.spaces.Box(-1, 1, (4,))
        >>> model = networks.recurrent_model_of(networks.Recurrent(units=8), space)
        >>> network = SequenceNetwork(model, first=0)
        >>> seen = Seen(tf.ones([5, 2, 4]), tf.zeros([5, 2], tf.bool))
        >>> network(network.weights(), Steps(tf.zeros([2, 8]), burn_in=None, seen=seen)).shape
        TensorShape([10, 8])
    """

    def __init__(self, model: keras.Model, first: int, head: keras.Model | None = None) -> None:
        self.columns = slice(first, first + model.output[1].shape[-1])
        self._parts = [FlatNetwork(part) for part in (model, head) if part is not None]

    def weights(self) -> Any:
        """The models' own weights, as `FlatNetwork` has them; of two models a list."""
        own = [part.weights() for part in self._parts]
        return own if own[1:] else own[0]

    def assign(self, weights: Any) -> None:
        """Copies such weights into the models."""
        for part, own in zip(self._parts, self._apart(weights), strict=True):
            part.assign(own)

    def split(self, weights: Any) -> list[list[tf.Tensor]]:
        """The weights of each layer of each model, of what `weights` gave."""
        return [part.split(own) for part, own in zip(self._parts, self._apart(weights), strict=True)]

    def _apart(self, weights: Any) -> list[Any]:
        return weights if self._parts[1:] else [weights]

    def __call__(self, weights: Any, observation: Steps | Following, *inputs: Any) -> tf.Tensor:
        """The outputs `[N, ...]`, with such weights."""
        return self.seeing(weights, observation)(*inputs)

    def seeing(self, weights: Any, observation: Steps | Following) -> Callable[..., tf.Tensor]:
        """The function of other inputs alone that weights and steps make of it; the steps are taken once."""
        layers = self.split(weights)
        if isinstance(observation, Following):
            rows = self._follow(layers, observation)
        else:
            rows, _ = self.go(layers, observation)
        return lambda *inputs: self._parts[1].apply(layers[1], rows, *inputs) if layers[1:] else rows

    def go(self, layers: list[list[tf.Tensor]], steps: Steps) -> tuple[tf.Tensor, tf.Tensor]:
        """The outputs of the model `[T * B, ...]` and its states `[T * B, S]`, with the weights that `split` gave."""
        state = steps.memory[:, self.columns]
        if steps.burn_in is not None:
            state = tf.stop_gradient(self._run(layers, steps.burn_in, state)[1][-1])
        outputs = self._run(layers, steps.seen, state)
        return tf.nest.map_structure(lambda each: tf.reshape(each, [-1, *each.shape[2:]]), outputs)

    def _follow(self, layers: list[list[tf.Tensor]], following: Following) -> tf.Tensor:
        states = tf.gather(self.go(layers, following.steps)[1], following.after)
        return self._run(layers, one_step(following.observation, states).seen, states)[0][0]

    def _run(self, layers: list[list[tf.Tensor]], seen: Seen, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Outputs and states `[T, B, ...]`."""
        model = self._parts[0]
        return memory.over_rollout(lambda inputs: model.apply(layers[0], inputs), seen.observation, state, seen.starts)


def network_of(policy: Policy) -> FlatNetwork | SequenceNetwork:
    """The computation of a policy's logits, from observations or, with a memory, from steps.

    Examples:
        >>> from rlsample.rollouts.recurrent.policy import policy_for
        >>> from rlsample.rollouts.recurrent.network import network_of
        >>> env = gym.make("CartPole-v1")
        >>> spaces_of_it = env.observation_space, env.action_space
        >>> made = [policy_for(*spaces_of_it, samplers.create("reinmax"), name) for name in ("mlp", "recurrent")]
        >>> [type(network_of(policy)).__name__ for policy in made]
        ['FlatNetwork', 'SequenceNetwork']
    """
    return SequenceNetwork(policy.model, 0) if policy.network.state_size else FlatNetwork(policy.model)


def critic_of(policy: Policy, make: Callable[..., keras.Model], number: int = 0) -> FlatNetwork | SequenceNetwork:
    """A critic with fresh weights that sees what a policy sees; where that remembers, from a memory of its own.

    With a memory it judges what its own recurrent network gives.

    Args:
        policy: with a memory or without.
        make: (network, observation space, shape of an action) -> the critic, one of `learning.critics.CRITICS`.
        number: which of several critics it is: what they remember stands side by side, behind what the policy does.

    Examples:
        >>> from rlsample.learning.critics import LinearCritic
        >>> from rlsample.rollouts.recurrent.policy import RecurrentPolicy
        >>> from rlsample.rollouts.recurrent.network import critic_of
        >>> from rlsample.rollouts.recurrent.sequences import one_step
        >>> env, network = gym.make("CartPole-v1"), networks.Recurrent(units=8)
        >>> policy = RecurrentPolicy(env.observation_space, env.action_space, samplers.create("reinmax"), network)
        >>> critic = critic_of(policy, LinearCritic, number=1)
        >>> critic(critic.weights(), one_step(tf.ones([3, 4]), tf.zeros([3, 24])), tf.constant([0, 1, 1])).shape
        TensorShape([3])
    """
    network, space, event_shape = policy.network, policy.input_space, policy.factors.event_shape
    if not network.state_size:
        return FlatNetwork(make(network, space, event_shape))
    model = recurrent_model_of(network, space)
    width = model.output[0].shape[-1]
    # Nothing but a layer of its own would let one that is not linear in the action bring the two together.
    hidden = MLP(hidden_sizes=() if make is LinearCritic else (width,), activation="relu")
    head = make(hidden, gym.spaces.Box(-np.inf, np.inf, (width,)), event_shape)
    return SequenceNetwork(model, policy.state_size + number * network.state_size, head)


def go_on(
    networks: Sequence[SequenceNetwork], layers: Sequence[Any], observation: Any, memory: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """A step of networks whose memories stand side by side.

    Args:
        networks: in the order of their columns.
        layers: of each, as its `split` gave them.
        observation: a tree of tensors `[B, ...]`.
        memory: float32 `[B, M]`.

    Returns:
        (the outputs of the first `[B, ...]`, what all remember then `[B, M]`).

    Examples:
        >>> from rlsample.rollouts.recurrent.network import SequenceNetwork, go_on
        >>> space, network = gym.spaces.Box(-1, 1, (4,)), networks.Recurrent(units=8)
        >>> both = [SequenceNetwork(networks.recurrent_model_of(network, space), first) for first in (0, 8)]
        >>> layers = [each.split(each.weights()) for each in both]
        >>> output, memory = go_on(both, layers, tf.ones([2, 4]), tf.zeros([2, 16]))
        >>> output.shape, memory.shape
        (TensorShape([2, 8]), TensorShape([2, 16]))
    """
    steps = one_step(observation, memory)
    found = [network.go(own, steps) for network, own in zip(networks, layers, strict=True)]
    return found[0][0], tf.concat([states for _, states in found], -1)
