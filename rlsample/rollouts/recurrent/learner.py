"""How a learner from rollouts acts whose policy has a memory, whatever it learns by."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rlsample.networks.flat import FlatNetwork


class RecurrentLearner:
    """Base of learners with a memory beside the one without: see `learning.remembering.RememberingLearner`.

    Their states have a field `memory`: float32 `[E, S]` of each network that remembers, the policy's first. It goes on
    from rollout to rollout, as the weights left it that collected.

    Attributes:
        config: of the run.
        policy: a `RecurrentPolicy`.
        network: computes its logits.

    Examples:
        >>> from types import SimpleNamespace
        >>> from rlsample.networks.flat import FlatNetwork
        >>> from rlsample.rollouts.recurrent.learner import RecurrentLearner
        >>> from rlsample.rollouts.recurrent.policy import RecurrentPolicy
        >>> env, learner = gym.make("CartPole-v1"), RecurrentLearner()
        >>> network = {"name": "recurrent", "units": 8}
        >>> policy = RecurrentPolicy(env.observation_space, env.action_space, samplers.create("reinmax"), network)
        >>> learner.policy, learner.network = policy, FlatNetwork(policy.model)
        >>> learner.config = SimpleNamespace(env=SimpleNamespace(num_envs=3))
        >>> state = SimpleNamespace(policy=learner.network.weights(), memory=(learner.nothing(learner.network),))
        >>> logits, memory = learner.logits_and_memory(learner.split(state), tf.ones([3, 4]), learner.memory(state))
        >>> logits.shape, memory.shape
        (TensorShape([3, 2]), TensorShape([3, 8]))
    """

    config: Any
    policy: Any
    network: FlatNetwork

    def nothing(self, network: FlatNetwork) -> tf.Tensor:
        """What a network with a memory remembers where all episodes begin: zeros `[E, S]`."""
        return tf.zeros([self.config.env.num_envs, network.model.output[1].shape[-1]])

    def forget(self, state: Any) -> Any:
        """The state with nothing to remember: all environments begin anew."""
        return state._replace(memory=tf.nest.map_structure(tf.zeros_like, state.memory))

    def memory(self, state: Any) -> tf.Tensor:
        """What the policy remembers: `[E, S]`."""
        return state.memory[0]

    def split(self, state: Any) -> Any:
        """The weights and the memory that `logits` takes."""
        return self.network.split(state.policy), self.memory(state)

    def logits(self, parameters: Any, observation: Any) -> tf.Tensor:
        """Observations `[E, ...]` -> logits, from what is remembered after the last rollout."""
        return self.logits_and_memory(parameters, observation, parameters[1])[0]

    def logits_and_memory(self, parameters: Any, observation: Any, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Observations `[E, ...]` and what is remembered `[E, S]` -> logits, and what is remembered after them."""
        logits, state = self.network.apply(parameters[0], (observation, state, tf.zeros([1, state.shape[0]], tf.bool)))
        return logits, state
