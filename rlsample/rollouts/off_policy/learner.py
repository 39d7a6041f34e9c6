"""What learners from a replay have in common, wherever the environments are stepped."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from rlsample import ops
from rlsample.learning.bits import unpack_bits
from rlsample.learning.loops import repeat
from rlsample.learning.replay import Replay, batches_per_call
from rlsample.rollouts.in_numpy.actor import NumpyAct
from rlsample.rollouts.in_numpy.policy import quickest_actor
from rlsample.rollouts.loop import finite_metrics
from rlsample.rollouts.off_policy.kept_rows import MASKS, packed_specs
from rlsample.rollouts.off_policy.updates import Updates
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.recurrent.network import go_on, network_of
from rlsample.rollouts.recurrent.recall import Recall
from rlsample.rollouts.recurrent.sequences import Sequences
from rlsample.rollouts.sampler_metrics import CriticAudit
from rlsample.streams import Streams


class ReplayLearner(abc.ABC):
    """Base of learners from a replay: pure functions of a state, which an agent writes, and rounds of updates.

    An agent writes `start`, `weights`, `choose`, `publish` and `learn_from`. `off_policy.in_graph` compiles them
    together with the environment; where Python steps it, `learn` makes the updates of a round in one call of a compiled
    program. With a memory the networks are of the kind `recurrent.network.SequenceNetwork`, and observations among rows
    are `Steps` and `Following` of `recurrent.sequences`: the same code of an agent learns with both.

    Attributes:
        metrics: names of what `learn_from` measures.
        hint: what to do when losses are not finite.
        num_steps: steps that a row spans.
        audit: measures the gradients of the sampler; None does not.
        policy: acts outside of compiled code; its weights are as of the last `actor`.
        state: what was learned so far, where Python steps the environments.
        update: updates so far, likewise.
        updates: how many there are; learning rates end with them.
        kept: what the replay keeps of a row: trees of `tf.TensorSpec` by name.
        network: computes the policy's logits.
        networks: that, and with a memory the others that remember.
        sequences: what a minibatch is drawn as; None without a memory.
        recall: what is remembered where Python steps the environments; None without a memory, or elsewhere.

    Args:
        config: of the run; its agent has `batch_size`, `jit_compile` and what `Updates.planned` takes.
        policy: as above.
        fields: names of the fields of a row, as `Transition` has them; and `discount`, of the value after it.
        remembering: how many networks do, with a memory.

    Examples:
        >>> from agents import dqn
        >>> from rlsample.runs.shipped import known_agents
        >>> words = ["env.id=rlsample/CartPole-v1", "total_steps=1000", "agent.jit_compile=false", "env.num_envs=2"]
        >>> config = runs.load_config("dqn_cartpole", words, agents=known_agents())
        >>> envs = config.env.make()
        >>> learner = dqn.Learner(config, envs.single_observation_space, envs.single_action_space)
        >>> from rlsample.learning.replay import Replay
        >>> learner.state, replay = learner.start(0), Replay(100)
        >>> rows = {name: np.zeros([100, *spec.shape], spec.dtype.name) for name, spec in learner.kept.items()}
        >>> places = replay.add(rows | {"next_mask": np.ones([100, 2], bool)})
        >>> sorted(learner.learn(replay, np.random.default_rng(0), step=132)), learner.update
        (['losses/value', 'policy/epsilon', 'policy/value'], 32)
    """

    metrics: ClassVar[tuple[str, ...]]
    hint: ClassVar[str] = ""
    num_steps = 1
    audit: CriticAudit | None = None

    def __init__(self, config: Any, policy: Policy, fields: Sequence[str], remembering: int = 1) -> None:
        self.config, self.agent, self.policy, self._fields = config, config.agent, policy, tuple(fields)
        self.network: Any = network_of(policy)
        self.networks: list[Any] = [self.network]
        self.kept, self.sequences = packed_specs(policy, fields, remembering), Sequences.planned(config)
        self.recall: Recall | None = None
        first_steps, self._per_batch, rows = 0, self.agent.batch_size, self.agent.batch_size
        if self.sequences is not None:
            first_steps, self._per_batch = self.sequences.first_steps(config.env.num_envs), self.sequences.per_batch
            rows = self._per_batch * self.sequences.drawn
        self.updates = Updates.planned(self.agent, config.total_steps, first_steps)
        self.per_call = batches_per_call(self.updates.per_call, rows, self.kept)
        self.state: Any = None
        self.update, self.update_seeds = 0, Streams(config.seed).generator("updates")
        whole = self.agent.jit_compile and config.scale.devices == 1  # Else each device's part alone.
        self._round = tf.function(self._learn_round, jit_compile=whole, autograph=False)

    @property
    def traces(self) -> int:
        """How often the program of a round was traced."""
        return self._round.experimental_get_tracing_count()

    @abc.abstractmethod
    def start(self, member: int) -> Any:
        """The state before training, with fresh weights."""

    @abc.abstractmethod
    def weights(self, state: Any) -> list[tf.Tensor]:
        """Of the policy's network; and then of the others that remember, in the order of `networks`."""

    def split(self, state: Any) -> Any:
        """The weights that `logits` takes, or `logits_and_memory`."""
        weights = self.weights(state)
        if self.sequences is None:
            return self.network.split(weights[0])
        return [network.split(own) for network, own in zip(self.networks, weights, strict=True)]

    def logits(self, parameters: Any, observation: Any) -> tf.Tensor:
        """Observations `[E, ...]` -> logits `[E, K]` or `[E, F, K]`."""
        return self.network.apply(parameters, observation)

    def logits_and_memory(self, parameters: Any, observation: Any, memory: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `learning.remembering.RememberingLearner`; what networks remember stands side by side: `[E, M]`."""
        return go_on(self.networks, parameters, observation, memory)

    @abc.abstractmethod
    def choose(self, logits: tf.Tensor, mask: tf.Tensor | None, seed: tf.Tensor) -> tf.Tensor:
        """See `learning.population.Learner`."""

    @abc.abstractmethod
    def publish(self, state: Any) -> Policy:
        """The policy of a state to judge and to keep."""

    @abc.abstractmethod
    def learn_from(self, state: Any, rows: dict[str, Any], seed: tf.Tensor) -> tuple[Any, dict[str, Any], tf.Tensor]:
        """One update on a minibatch.

        Args:
            state: what was learned so far.
            rows: trees of tensors `[B, ...]` by the names of the fields; masks None where everything is legal.
            seed: int32 `[2]`.

        Returns:
            (state, metrics: scalars by name, what was wrong with the value of each row `[B]`).
        """

    def measure(self, state: Any, rows: dict[str, Any], seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """What is measured once a round, on one minibatch, where Python steps the environments."""
        return {}

    def exploration(self, step: Any) -> tf.Tensor:
        """The probability of an action drawn uniformly at an environment step after the warm-up."""
        return tf.zeros([])

    def told(self, step: int) -> dict[str, float]:
        """Metrics that the environment step alone decides."""
        return {}

    def actor(self, seed: np.ndarray, step: int) -> NumpyAct:
        """How to act outside of compiled code to the end of a round, as the policy is now."""
        if self.recall is not None:
            exploration = 1.0 if step < self.updates.uniform_steps else float(self.exploration(step))
            return self.recall.actor(self.state, exploration, seed)
        self.network.assign(self.weights(self.state)[0])
        return self.quickest_actor(seed, step)

    def quickest_actor(self, seed: np.ndarray, step: int) -> NumpyAct:
        """How to act by the `policy`, without a memory: draws from it."""
        return quickest_actor(self.policy, seed)

    def publish_averaged(self) -> Policy:
        """The policy to judge and to keep, of the state on the host."""
        return self.publish(self.state)

    def replay(self, capacity: int, masks: Sequence[str]) -> Replay | None:
        """A replay of the learner's own kind, on the host; None for a uniform one."""
        return None

    def draw(self, replay: Replay, generator: np.random.Generator, shape: tuple[int, int], step: int) -> dict[str, Any]:
        """Draws minibatches `[U, B, ...]` on the host."""
        return replay.sample(generator, shape)

    def learn(self, replay: Replay, generator: np.random.Generator, step: int) -> dict[str, float]:
        """Makes the updates that are due after so many environment steps; returns the metrics of the last.

        Raises:
            ValueError: a loss is not finite: training has diverged.
        """
        metrics: dict[str, float] = {}
        due, per_call = self.updates.due(step), self.per_call
        while self.update < due:
            count = min(per_call, due - self.update)
            drawn = self.draw(replay, generator, (per_call, self._per_batch), step)
            rows = {name: column for name, column in drawn.items() if name != "place"}
            seed = self.update_seeds.integers(-(2**31), 2**31, 2, np.int32)
            state, errors, values = self._round(self.state, *tf.nest.map_structure(tf.constant, (rows, count, seed)))
            metrics |= finite_metrics({name: float(value) for name, value in values.items()}, self.hint)
            self.weigh(replay, drawn, errors, count)
            self.state, self.update = state, self.update + count
        return metrics | (self.told(step) if metrics else {})

    def rows(self, drawn: dict[str, Any]) -> dict[str, Any]:
        """The rows `[B, ...]` of a minibatch, of rows or sequences as a replay gives them.

        Masks are bools instead of bits; where there are none, what exists, or None.
        """
        rows = drawn
        if self.sequences is not None:
            every = self.sequences.rows(drawn, self.agent.discount)
            rows = {name: every[name] for name in self._fields if name in every}
        factors = self.policy.factors
        exists, shape = factors.padding_mask, [rows["reward"].shape[0], *factors.event_shape]
        everything = None if exists is None else tf.broadcast_to(tf.constant(exists), shape)
        masks = {name: rows.get(name, everything) for name in self.kept if name in MASKS}
        for name, mask in masks.items():
            if mask is not None and mask.dtype == tf.uint8:
                masks[name] = unpack_bits(mask, factors.num_categories)
        return rows | masks

    def weigh(  # noqa: B027 (only a replay with priorities asks)
        self, replay: Replay, drawn: dict[str, Any], errors: tf.Tensor, count: int
    ) -> None:
        """Tells a replay on the host what was wrong with the rows `[U, B]` of the first `count` minibatches."""

    def _learn_round(self, state: Any, rows: dict[str, Any], count: tf.Tensor, seed: tf.Tensor) -> Any:
        """One update for each of the first `count` minibatches; the errors `[U, B]`, and the metrics of the last."""

        def minibatch(index: Any) -> dict[str, Any]:
            return self.rows(tf.nest.map_structure(lambda column: column[index], rows))

        def once(index: tf.Tensor, carry: Any) -> Any:
            state, errors, _ = carry
            state, metrics, error = self.learn_from(state, minibatch(index), ops.fold_in(seed, index))
            return state, tf.tensor_scatter_nd_update(errors, [[index]], [error]), metrics

        shape = minibatch(0)["reward"].shape
        nothing = tf.zeros([self.per_call, *shape]), dict.fromkeys(self.metrics, tf.zeros([]))
        state, errors, metrics = repeat(once, count, (state, *nothing))
        return state, errors, metrics | self.measure(state, minibatch(-1), seed)
