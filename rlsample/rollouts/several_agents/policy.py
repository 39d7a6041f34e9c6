"""One policy of several agents: each decides from what it sees alone, with a sampler and a temperature of its own."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf

from rlsample import checks, networks, ops
from rlsample.distributions import CategoricalDistribution
from rlsample.rollouts.environments.masks import without_mask
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.several_agents.agents import Agents
from rlsample.samplers import Sampler
from rlsample.schedules import Temperature
from rlsample.types import Sample


class JointPolicy(Policy):
    """A network for each agent, or one for all that is told whose turn it is, and an independent draw from each.

    Attributes:
        agents: whose policy it is.
        shared: whether one network is all agents'.
        model: joint features float32 `[B, all]` -> logits `[B, N, K]`; the padding of agents with fewer actions is
            left to masks.
        head: draws, with a sampler and a temperature for each agent; its sampler is that of agents without one of
            their own.

    Args:
        observation_space: of one environment.
        action_space: of one environment.
        sampler: the gradient estimator of agents that are not in `samplers`.
        network: of each agent, as `networks.create` takes it.
        samplers: those of others, by the agents' names.
        temperatures: schedules of agents that do not have the run's temperature, by their names.
        shared: one network for all agents, with a one-hot of the agent beside what it sees.
        **defaults: what the network's dense layers are where it does not say: `hidden_sizes`, `activation`.

    Raises:
        ValueError: spaces that are not those of several agents, the name of an agent that does not exist, or a
            temperature that is no schedule.

    Examples:
        >>> from envs.speaker_listener import SpeakerListener
        >>> from rlsample.rollouts.several_agents.policy import JointPolicy
        >>> game = SpeakerListener(targets=4)
        >>> own = {"speaker_0": samplers.create("reinmax")}
        >>> policy = JointPolicy(game.observation_space, game.action_space, samplers.create("exact"), samplers=own)
        >>> [sampler.name for sampler in policy.head.samplers]
        ['reinmax', 'exact']
        >>> policy.act(np.zeros([3, *game.observation_space.shape], np.float32))
        {'speaker_0': array([0, 0, 0]), 'listener_0': array([0, 0, 0])}
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        sampler: Sampler,
        network: Any = None,
        *,
        samplers: Mapping[str, Sampler] = types.MappingProxyType({}),
        temperatures: Mapping[str, Temperature] = types.MappingProxyType({}),
        shared: bool = False,
        **defaults: Any,
    ) -> None:
        self.agents = Agents.of(observation_space, action_space)
        self.observation_space, self.factors = without_mask(observation_space), self.agents.factors
        self.network = networks.create(network).fitted(self.agents.space, **defaults)
        self.head: Any = JointHead(
            sampler, self.agents.read(samplers, sampler), self.agents.read(temperatures, None), self.agents
        )
        self.shared = shared
        # Nearly uniform at first.
        self.model = self.of_each(self.factors.num_categories, gain=0.01)
        self._concrete: dict[tuple[str, int], Any] = {}

    @property
    def input_space(self) -> gym.Space:
        """Of the joint features."""
        return self.agents.space

    def of_each(self, outputs: int, gain: float = 1.0) -> keras.Model:
        """A model like the policy's, with fresh weights: joint features `[B, all]` -> `[B, N, outputs]`."""
        return NetworkOfEach(self.agents, self.network, outputs, gain=gain, shared=self.shared)

    def of_all(self, outputs: int) -> keras.Model:
        """A model of the same shapes and with the same network, whose outputs are of all that everybody sees."""
        count = len(self.agents.names)
        flat = self.another_network(count * outputs)
        return networks.on_features(flat, keras.layers.Reshape((count, outputs)))

    def read_in_graph(self, observation: Any) -> tf.Tensor:
        """See `Policy.read_in_graph`: joint features float32 `[B, all]`."""
        return self.agents.flattening(observation)

    def read(self, observations: Any, mask: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """As of `Policy`, with joint features for an observation."""
        observation, legal = super().read(observations, mask)
        batch = legal.shape[:-2]
        return self.agents.features(observation).reshape(*batch, -1), legal

    def sample(self, observation: Any, mask: np.ndarray, seed: np.ndarray) -> np.ndarray:
        """See `Policy.sample`."""
        return super().sample(self.agents.features(observation), mask, seed)

    def probabilities(self, features: Any, mask: np.ndarray) -> np.ndarray:
        """Of everybody's actions, by what `logits` takes: float32 `[B, N, K]`; exactly 0 for what is illegal."""
        return self._call(self._probs, features, mask, (0, 0))


class NetworkOfEach(keras.Model):
    """Joint features `[B, all]` -> outputs of each agent `[B, N, outputs]`, from its own features alone.

    Args:
        agents: who there is.
        network: what reads an agent's features.
        outputs: how many.
        gain: of the last layer.
        shared: one for all, told whose turn it is.

    Examples:
        >>> from envs.speaker_listener import SpeakerListener
        >>> from rlsample.rollouts.several_agents.agents import Agents
        >>> from rlsample.rollouts.several_agents.policy import NetworkOfEach
        >>> game = SpeakerListener(targets=4)
        >>> agents = Agents.of(game.observation_space, game.action_space)
        >>> network = networks.create("mlp").fitted(agents.space)
        >>> NetworkOfEach(agents, network, outputs=4, shared=True)(tf.zeros([8, agents.flattening.size])).shape
        TensorShape([8, 2, 4])
    """

    def __init__(
        self, agents: Agents, network: networks.Network, outputs: int, *, gain: float = 1.0, shared: bool = False
    ) -> None:
        super().__init__()
        self.agents, self.shared, self.outputs_of_each = agents, shared, outputs
        count, size = agents.places.shape
        space = gym.spaces.Box(-np.inf, np.inf, (size + count if shared else size,))
        made = range(1 if shared else count)
        self.networks = [networks.with_outputs(self._features(network, space), outputs, gain) for _ in made]
        self.built = True

    def _features(self, network: networks.Network, space: gym.Space) -> keras.Model:
        return networks.model_of(network, space)

    def own(self, features: tf.Tensor) -> tf.Tensor:
        """What each agent sees, shorter ones padded with zeros: `[..., all]` -> `[..., N, D]`."""
        padded = tf.concat([features, tf.zeros_like(features[..., :1])], -1)
        return tf.gather(padded, self.agents.places, axis=-1)

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """See the class."""
        own = self.own(features)
        if not self.shared:
            return tf.stack([network(own[:, index]) for index, network in enumerate(self.networks)], 1)
        return tf.reshape(self.networks[0](self.told(own)), [-1, own.shape[1], self.outputs_of_each])

    def told(self, own: tf.Tensor) -> tf.Tensor:
        """What a shared network is given of `[B, N, D]`: a row for each agent, with who it is, `[B * N, D + N]`."""
        count, batch = own.shape[1], tf.shape(own)[0]
        who = tf.broadcast_to(tf.eye(count, dtype=own.dtype), [batch, count, count])
        return tf.reshape(tf.concat([own, who], -1), [-1, own.shape[-1] + count])


class JointHead:
    """Turns the logits of all agents into actions.

    Attributes:
        sampler: the estimator of agents without one of their own.
        samplers: one for each agent.
        temperature: float32 scalar, a variable; of agents without a schedule of their own.

    Args:
        sampler: see above.
        samplers: see above.
        schedules: of each agent; None for those that have the run's temperature.
        agents: who they are.

    Examples:
        >>> from envs.speaker_listener import SpeakerListener
        >>> from rlsample.rollouts.several_agents.agents import Agents
        >>> from rlsample.rollouts.several_agents.policy import JointHead
        >>> game = SpeakerListener(targets=4)
        >>> agents = Agents.of(game.observation_space, game.action_space)
        >>> exact, reinmax = samplers.create("exact"), samplers.create("reinmax")
        >>> head = JointHead(exact, [reinmax, exact], [schedules.create(0.5), None], agents)
        >>> head.set_own(step=1000)
        {'agents/temperature/speaker_0': 0.5, 'agents/temperature/listener_0': 1.0}
        >>> head.sample(tf.zeros([8, 2, 4]), (0, 1), tf.ones([8, 2, 4], tf.bool)).one_hot.shape
        TensorShape([8, 2, 4])
    """

    def __init__(
        self,
        sampler: Sampler,
        samplers: Sequence[Sampler],
        schedules: Sequence[Temperature | None],
        agents: Agents,
    ) -> None:
        self.sampler, self.samplers, self._schedules, self._names = sampler, tuple(samplers), schedules, agents.names
        self._padding = agents.factors.padding_mask
        for name, schedule in zip(agents.names, schedules, strict=True):
            if schedule is not None and schedule.metric is not None:
                rule = f"the temperature of agent {name!r} to be a schedule"
                raise checks.invalid(rule, temperature=schedule.to_config())
        self.temperature = tf.Variable(1.0, trainable=False)
        self._own = tf.Variable(np.ones(len(agents.names), np.float32), trainable=False)

    def set_own(self, step: int) -> dict[str, float]:
        """Sets the temperatures of agents with a schedule of their own; returns everybody's, `agents/temperature/*`."""
        given = [self.temperature if each is None else each.at(each.initial(), step) for each in self._schedules]
        self._own.assign(tf.stack([tf.convert_to_tensor(temperature) for temperature in given]))
        names = [f"agents/temperature/{name}" for name in self._names]
        return dict(zip(names, self._own.numpy().tolist(), strict=True))

    def distribution(self, logits: tf.Tensor, mask: tf.Tensor | None) -> JointDistribution:
        """Logits `[..., N, K]`, and a mask bool `[..., N, K]` or None -> the distribution of the joint action."""
        if self._padding is not None:
            mask = tf.constant(self._padding) if mask is None else mask & self._padding
        parts = []
        for index, (sampler, schedule) in enumerate(zip(self.samplers, self._schedules, strict=True)):
            temperature = self.temperature if schedule is None else self._own[index]
            legal = None if mask is None else mask[..., index, :]
            parts.append(CategoricalDistribution(logits[..., index, :], sampler, temperature, legal))
        return JointDistribution(parts, self.sampler, self.temperature)

    def sample(self, logits: tf.Tensor, seed: tf.Tensor, mask: tf.Tensor | None) -> Sample:
        """Draws from everybody."""
        return self.distribution(logits, mask).sample(seed)

    def mode(self, logits: tf.Tensor, mask: tf.Tensor | None) -> Sample:
        """Everybody's most probable action."""
        return self.distribution(logits, mask).mode()


class JointDistribution:
    """Independent agents.

    Attributes:
        agents: the distribution of each agent's action, over `[..., K]`.
        sampler: of agents without one of their own.
        temperature: likewise.

    Examples:
        >>> from rlsample.distributions import CategoricalDistribution
        >>> from rlsample.rollouts.several_agents.policy import JointDistribution
        >>> sampler, mask = samplers.create("reinmax"), tf.ones([8, 3], tf.bool)
        >>> each = [CategoricalDistribution(tf.zeros([8, 3]), sampler, 1.0, mask) for _ in range(2)]
        >>> policy = JointDistribution(each, sampler, temperature=tf.Variable(1.0))
        >>> policy.sample(tf.constant([0, 1])).action.shape, policy.probs().shape, policy.entropy().shape
        (TensorShape([8, 2]), TensorShape([8, 2, 3]), TensorShape([8, 2]))
    """

    def __init__(self, agents: list[CategoricalDistribution], sampler: Sampler, temperature: tf.Variable) -> None:
        self.agents, self.sampler, self.temperature = agents, sampler, temperature

    @property
    def logits(self) -> tf.Tensor:
        """Side by side, -inf for what is illegal: `[..., N, K]`."""
        return tf.stack([agent.logits for agent in self.agents], -2)

    def sample(self, seed: tf.Tensor) -> Sample:
        """Draws from each: actions int32 `[..., N]`, weights float `[..., N, K]`."""
        return _side_by_side([agent.sample(ops.fold_in(seed, index)) for index, agent in enumerate(self.agents)])

    def mode(self) -> Sample:
        """The most probable action of each."""
        return _side_by_side([agent.mode() for agent in self.agents])

    def probs(self) -> tf.Tensor:
        """`[..., N, K]`."""
        return tf.stack([agent.probs() for agent in self.agents], -2)

    def drawn_logits(self) -> tf.Tensor:
        """Logits of the distributions that actions are drawn from, `[..., N, K]`."""
        return tf.stack([agent.drawn_logits for agent in self.agents], -2)

    def log_prob(self, action: tf.Tensor) -> tf.Tensor:
        """Of each agent's action, int32 `[..., N]`: `[..., N]`."""
        return tf.stack([agent.log_prob(action[..., index]) for index, agent in enumerate(self.agents)], -1)

    def entropy(self) -> tf.Tensor:
        """In nats, `[..., N]`."""
        return tf.stack([agent.entropy() for agent in self.agents], -1)


def _side_by_side(draws: list[Sample]) -> Sample:
    return Sample(tf.stack([draw.action for draw in draws], -1), tf.stack([draw.one_hot for draw in draws], -2))
