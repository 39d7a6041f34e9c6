"""Learning from sequences in one compiled program: a replay of single steps, with what was remembered before each."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rlsample.learning.ring import Ring, sequence_places, start_ring
from rlsample.rollouts.off_policy.in_graph import Replayed, WithReplay
from rlsample.rollouts.recurrent.memory import ends
from rlsample.rollouts.recurrent.sequences import Seen, Steps
from rlsample.rollouts.transitions import Transition


class WithSequences(WithReplay):
    """As `WithReplay`, of a learner with a memory: a `learning.remembering.RememberingLearner`.

    Args: as of `WithReplay`; the capacity is rounded up to a multiple of E.

    Examples:
        >>> from agents import dqn
        >>> from rlsample.rollouts.off_policy.in_graph_sequences import WithSequences
        >>> from rlsample.runs.shipped import known_agents
        >>> words = ["env.id=rlsample/CartPole-v1", "agent.jit_compile=false", "network.name=recurrent"]
        >>> config = runs.load_config("dqn_cartpole", words, agents=known_agents())
        >>> envs = config.env.make()
        >>> learner = dqn.Learner(config, envs.single_observation_space, envs.single_action_space)
        >>> with_sequences = WithSequences(learner, capacity=500, num_envs=8, masked=False)
        >>> state = with_sequences.start(0)
        >>> state.ring.rows[0].shape, with_sequences.memory(state).shape
        (TensorShape([504, 77]), TensorShape([8, 64]))
    """

    def __init__(self, learner: Any, capacity: int, num_envs: int, masked: bool) -> None:
        super().__init__(learner, -(-capacity // num_envs) * num_envs, num_envs, masked)

    def start(self, member: int) -> Replayed:
        """See `Learner.start`."""
        size = self.learner.kept["memory"].shape[0]
        begun = {"memory": tf.zeros([self.num_envs, size]), "starts": tf.ones([self.num_envs], tf.bool)}
        return Replayed(self.learner.start(member), start_ring(self.capacity, self._kinds), begun)

    def memory(self, state: Replayed) -> tf.Tensor:
        """What is remembered: `[E, M]`."""
        return state.begun["memory"]

    def split(self, state: Replayed) -> Any:
        """The weights and the memory that `logits` takes."""
        return self.learner.split(state.learned), self.memory(state)

    def logits(self, parameters: Any, observation: Any) -> tf.Tensor:
        """Observations `[E, ...]` -> logits, from what is remembered after the last rollout."""
        return self.logits_and_memory(parameters, observation, parameters[1])[0]

    def logits_and_memory(self, parameters: Any, observation: Any, memory: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `RememberingLearner`."""
        return self.learner.logits_and_memory(parameters[0], observation, memory)

    def _rows(self, state: Replayed, transitions: Transition) -> tuple[dict[str, Any], dict[str, Any]]:
        ended, begun = ends(transitions), state.begun
        starts = tf.concat([begun["starts"][tf.newaxis], ended[:-1]], 0)
        # Once more than while acting, which handed on the last state alone.
        steps = Steps(begun["memory"], None, Seen(transitions.observation, starts))
        networks = zip(self.learner.networks, self.learner.split(state.learned), strict=True)
        states = [network.go(layers, steps)[1] for network, layers in networks]
        after = tf.reshape(tf.concat(states, -1), [*starts.shape, -1])
        after = tf.where(ended[..., tf.newaxis], 0.0, after)
        rows = {name: getattr(transitions, name, None) for name in self._kept}
        rows |= {"starts": starts, "memory": tf.concat([begun["memory"][tf.newaxis], after[:-1]], 0)}
        return rows, {"memory": after[-1], "starts": ended[-1]}

    def _draw(self, ring: Ring, seed: tf.Tensor) -> dict[str, Any]:
        sequences: Any = self.learner.sequences
        places = sequence_places(ring, (sequences.per_batch, sequences.drawn), self.num_envs, seed)
        drawn = self._unpack([tf.gather(matrix, places) for matrix in ring.rows])
        return drawn | {"memory": drawn["memory"][:, 0]}
