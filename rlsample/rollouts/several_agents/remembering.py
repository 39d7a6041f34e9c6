"""Several agents of whom each remembers what it alone saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf

from rlsample import networks
from rlsample.networks.base import inputs_of
from rlsample.rollouts.in_numpy.actor import NumpyAct
from rlsample.rollouts.recurrent.policy import RecurrentPolicy
from rlsample.rollouts.recurrent.recall import Recall
from rlsample.rollouts.several_agents.agents import Agents
from rlsample.rollouts.several_agents.policy import JointPolicy, NetworkOfEach
from rlsample.samplers import Sampler


class RecurrentJointPolicy(JointPolicy, RecurrentPolicy):
    """A `JointPolicy` whose agents remember: a `RecurrentPolicy`, whose state is that of each agent, side by side.

    Attributes:
        model: (joint features `[T * B, all]`, state `[B, N * S]`, whether an episode begins at the step: bool
            `[T, B]`) -> (logits `[T * B, N, K]`, states `[T * B, N * S]`).

    Args:
        *arguments: as of `JointPolicy`.
        **options: likewise.

    Raises:
        ValueError: as of `JointPolicy`, or the network has no memory.

    Examples:
        >>> from envs.speaker_listener import SpeakerListener
        >>> from rlsample.rollouts.several_agents.remembering import RecurrentJointPolicy
        >>> game, network = SpeakerListener(targets=4), {"name": "recurrent", "units": 8}
        >>> seen, done = game.observation_space, game.action_space
        >>> policy = RecurrentJointPolicy(seen, done, samplers.create("exact"), network)
        >>> actions, state = policy.act(np.zeros([3, *seen.shape], np.float32))  # an episode begins
        >>> actions, state = policy.act(np.zeros([3, *seen.shape], np.float32), state=state)  # it goes on
        >>> actions["listener_0"].shape, state.shape
        ((3,), (3, 16))
    """

    @property
    def state_size(self) -> int:
        """N * S, how many numbers all agents remember of each environment."""
        return len(self.agents.names) * self.network.state_size

    def of_each(self, outputs: int, gain: float = 1.0) -> keras.Model:
        """See `JointPolicy.of_each`; inputs and states as of `model`."""
        each = RecurrentNetworkOfEach(self.agents, self.network, outputs, gain=gain, shared=self.shared)
        inputs = inputs_of(self.agents.space), keras.Input((self.state_size,)), keras.Input((None,), dtype="bool")
        return keras.Model(inputs, each(inputs))

    def sample(self, observation: Any, mask: np.ndarray, seed: np.ndarray) -> Any:
        """See `RecurrentPolicy.sample`."""
        seen, state = observation
        return RecurrentPolicy.sample(self, (self.agents.features(seen), state), mask, seed)


class RecurrentNetworkOfEach(NetworkOfEach):
    """A `NetworkOfEach` of networks with a memory: what one agent remembers is of its own features alone.

    Of (joint features `[T * B, all]`, state `[B, N * S]`, whether an episode begins at the step: bool `[T, B]`) it
    makes (outputs `[T * B, N, outputs]`, states `[T * B, N * S]`).

    Examples:
        >>> from envs.speaker_listener import SpeakerListener
        >>> from rlsample.rollouts.several_agents.agents import Agents
        >>> from rlsample.rollouts.several_agents.remembering import RecurrentNetworkOfEach
        >>> game = SpeakerListener(targets=4)
        >>> agents = Agents.of(game.observation_space, game.action_space)
        >>> network = networks.create({"name": "recurrent", "units": 8}).fitted(agents.space)
        >>> steps, envs = 5, 3
        >>> features = tf.zeros([steps * envs, agents.flattening.size])
        >>> inputs = features, tf.zeros([envs, 2 * 8]), tf.zeros([steps, envs], tf.bool)
        >>> outputs, states = RecurrentNetworkOfEach(agents, network, outputs=4)(inputs)
        >>> outputs.shape, states.shape
        (TensorShape([15, 2, 4]), TensorShape([15, 16]))
    """

    def _features(self, network: networks.Network, space: gym.Space) -> keras.Model:
        return networks.recurrent_model_of(network, space)

    def call(self, inputs: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """See the class."""
        features, state, starts = inputs
        own, count = self.own(features), len(self.agents.names)
        if not self.shared:
            each = zip(self.networks, tf.unstack(own, axis=1), tf.split(state, count, -1), strict=True)
            outputs, states = zip(*(network((seen, before, starts)) for network, seen, before in each), strict=True)
            return tf.stack(outputs, 1), tf.concat(states, -1)
        # To the network agents are so many environments more.
        begins = tf.reshape(tf.tile(starts[..., tf.newaxis], [1, 1, count]), [starts.shape[0], -1])
        size = state.shape[-1] // count
        output, states = self.networks[0]((self.told(own), tf.reshape(state, [-1, size]), begins))
        return tf.reshape(output, [-1, count, self.outputs_of_each]), tf.reshape(states, [-1, count * size])

    def compute_output_spec(self, inputs: Any) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Float `[T * B, N, outputs]` and `[T * B, N * S]`."""
        features, state, _ = inputs
        rows, count = features.shape[0], len(self.agents.names)
        shapes = (rows, count, self.outputs_of_each), (rows, state.shape[-1])
        return tuple(keras.KerasTensor(shape, features.dtype) for shape in shapes)


def joint_policy_for(
    observation_space: gym.Space, action_space: gym.Space, sampler: Sampler, network: Any = None, **options: Any
) -> JointPolicy:
    """A `RecurrentJointPolicy` for networks with a memory, else a `JointPolicy`; arguments and errors as there.

    Examples:
        >>> from envs.speaker_listener import SpeakerListener
        >>> from rlsample.rollouts.several_agents.remembering import joint_policy_for
        >>> game = SpeakerListener(targets=4)
        >>> spaces_of_it = game.observation_space, game.action_space
        >>> made = [joint_policy_for(*spaces_of_it, samplers.create("exact"), name) for name in ("mlp", "recurrent")]
        >>> [type(policy).__name__ for policy in made]
        ['JointPolicy', 'RecurrentJointPolicy']
    """
    kind = RecurrentJointPolicy if networks.create(network).state_size else JointPolicy
    return kind(observation_space, action_space, sampler, network, **options)


class JointRecall(Recall):
    """A `Recall` of several agents, which acts on their joint features.

    Args:
        learner: acts as a `learning.remembering.RememberingLearner`.
        agents: who there is.
        shape: (B, M).
        starts: as of `Recall`.
        prepare: what is made of the fields of rows before they are kept.

    Examples:
        >>> from envs.speaker_listener import SpeakerListener
        >>> from rlsample.rollouts.several_agents.agents import Agents
        >>> from rlsample.rollouts.several_agents.remembering import JointRecall
        >>> class Counting:  # remembers how often it has acted
        ...     def split(self, state): return ()
        ...     def choose(self, logits, mask, seed): return ops.mode(logits, mask)
        ...     def logits_and_memory(self, parameters, observation, memory): return tf.zeros([1, 2, 4]), memory + 1
        >>> game = SpeakerListener(targets=4)
        >>> agents = Agents.of(game.observation_space, game.action_space)
        >>> recall = JointRecall(Counting(), agents, (1, 1), lambda: np.array([False]), prepare=dict)
        >>> act = recall.actor((), exploration=0.0, seed=np.array([0, 1], np.int32))
        >>> act(np.zeros([1, *game.observation_space.shape], np.float32), np.ones([1, 2, 4], bool)), recall.memory
        (array([[0, 0]], dtype=int32), array([[1.]], dtype=float32))
    """

    def __init__(
        self,
        learner: Any,
        agents: Agents,
        shape: tuple[int, int],
        starts: Callable[[], np.ndarray],
        prepare: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    ) -> None:
        super().__init__(learner, agents.factors, shape, starts)
        self._agents, self._prepare = agents, prepare

    def actor(self, state: Any, exploration: float, seed: np.ndarray) -> NumpyAct:
        """See `Recall.actor`."""
        act = super().actor(state, exploration, seed)
        return lambda observation, mask: act(self._agents.features(observation), mask)

    def add(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """See `Recall.add`; rows as they were prepared."""
        return dict(self._prepare(super().add(step)))
