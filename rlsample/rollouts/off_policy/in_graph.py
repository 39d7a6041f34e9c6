"""Learning from a replay in one compiled program: acting, stepping, keeping, drawing and updating."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from rlsample import ops
from rlsample.learning.bits import pack_bits
from rlsample.learning.loops import add_to, repeat
from rlsample.learning.n_step import join_steps
from rlsample.learning.population import actor
from rlsample.learning.remembering import remembering_actor
from rlsample.learning.ring import Ring, add_rows, draw_rows, start_ring
from rlsample.learning.shuffle import pack
from rlsample.rollouts.in_graph_collector import InGraphCollector, Running
from rlsample.rollouts.in_graph_turns import Turn, TurnMaker
from rlsample.rollouts.off_policy.exploring import explore
from rlsample.rollouts.off_policy.kept_rows import MASKS
from rlsample.rollouts.off_policy.learner import ReplayLearner
from rlsample.rollouts.transitions import Transition, finite_steps, specs

UPDATES = "updates"
"""A metric of each turn that is not logged: means over updates need their number."""


class Replayed(NamedTuple):
    """What one member has learned, and what it learns from.

    Examples:
        >>> from rlsample.learning.ring import start_ring
        >>> from rlsample.rollouts.off_policy.in_graph import Replayed
        >>> Replayed(learned=tf.zeros([3]), ring=start_ring(100, [tf.TensorSpec([12])]), begun={}).ring.rows[0].shape
        TensorShape([100, 12])
    """

    learned: Any  # the agent's own state
    ring: Ring  # the replay: matrices [capacity, width] of packed rows
    begun: dict[str, Any]  # the last n - 1 steps, [n - 1, E, ...], whose rows are not complete; with a memory, that


class WithReplay:
    """A `ReplayLearner` and its replay in tensors: a `learning.population.Learner` that learns from rollouts.

    Args:
        learner: of one network.
        capacity: rows that the replay keeps, the latest of all.
        num_envs: E.
        masked: whether the environment says what is legal; masks are kept as bits, or not at all.

    Examples:
        >>> from agents import dqn
        >>> from rlsample.rollouts.off_policy.in_graph import WithReplay
        >>> from rlsample.runs.shipped import known_agents
        >>> words = ["env.id=rlsample/CartPole-v1", "total_steps=1000", "agent.jit_compile=false", "env.num_envs=2"]
        >>> config = runs.load_config("dqn_cartpole", words, agents=known_agents())
        >>> envs = config.env.make()
        >>> learner = dqn.Learner(config, envs.single_observation_space, envs.single_action_space)
        >>> state = WithReplay(learner, capacity=500, num_envs=2, masked=False).start(0)
        >>> state.ring.rows[0].shape  # two observations, the halves of an action, reward, discount, terminated
        TensorShape([500, 13])
        >>> {name: tuple(column.shape) for name, column in state.begun.items()}["reward"]  # rows span three steps
        (2, 2)
    """

    def __init__(self, learner: ReplayLearner, capacity: int, num_envs: int, masked: bool) -> None:
        self.learner, self.capacity, self.num_envs = learner, capacity, num_envs
        self.policy, self.factors = learner.policy, learner.policy.factors
        self.choose = learner.choose
        self._kept = [name for name in learner.kept if masked or name not in MASKS]
        begun = {*self._kept, "terminated", "truncated"} - {"discount"}
        every = specs(self.policy.observation_space, self.factors)
        self._begun = {name: getattr(every, name) for name in every._fields if name in begun}
        matrices, self._unpack = self._pack(_zeros({name: learner.kept[name] for name in self._kept}, 1))
        self._kinds = [tf.TensorSpec(matrix.shape[1:], matrix.dtype) for matrix in matrices]

    def start(self, member: int) -> Replayed:
        """See `Learner.start`."""
        ahead = self.learner.num_steps - 1
        begun = _zeros(self._begun, ahead, self.num_envs)
        # The first steps complete rows that began before there was any.
        ring = start_ring(self.capacity, self._kinds, skip=ahead * self.num_envs)
        return Replayed(self.learner.start(member), ring, begun)

    def split(self, state: Replayed) -> Any:
        """See `Learner.split`."""
        return self.learner.split(state.learned)

    def logits(self, parameters: Any, observation: Any) -> tf.Tensor:
        """See `Learner.logits`."""
        return self.learner.logits(parameters, observation)

    def learn(
        self, state: Replayed, transitions: Transition, seed: tf.Tensor, finite: tf.Tensor, updates: tf.Tensor
    ) -> tuple[Replayed, dict[str, tf.Tensor], tf.Tensor]:
        """Keeps a rollout `[T, E, ...]` and makes so many updates.

        Returns:
            (state, metrics: sums over updates, and their number; `finite` bool `[E]` after this rollout).
        """
        usable = finite_steps((transitions.observation, transitions.next_observation)) + tf.square(transitions.reward)
        finite &= tf.reduce_all(tf.math.is_finite(usable), 0)
        rows, begun = self._rows(state, transitions)
        matrices, _ = self._pack(
            tf.nest.map_structure(lambda column: tf.reshape(column, [-1, *column.shape[2:]]), rows),
        )
        ring = add_rows(state.ring, matrices)

        def once(index: tf.Tensor, carry: Any) -> Any:
            learned, sums = carry
            draw_seed, learn_seed = tf.unstack(ops.split(ops.fold_in(seed, index), 2))
            rows = self.learner.rows(self._draw(ring, draw_seed))
            learned, metrics, _ = self.learner.learn_from(learned, rows, learn_seed)
            return learned, {name: add_to(total, metrics[name]) for name, total in sums.items()}

        sums = dict.fromkeys(self.learner.metrics, tf.zeros([]))
        learned, sums = repeat(once, updates, (state.learned, sums))
        return Replayed(learned, ring, begun), sums | {UPDATES: tf.cast(updates, tf.float32)}, finite

    def _rows(self, state: Replayed, transitions: Transition) -> tuple[dict[str, Any], dict[str, Any]]:
        """The rows `[T, E, ...]` that a rollout completes, and what is begun after it."""
        new = {name: getattr(transitions, name) for name in self._begun}
        steps = tf.nest.map_structure(lambda old, column: tf.concat([old, column], 0), state.begun, new)
        begun = tf.nest.map_structure(lambda column: column[transitions.reward.shape[0] :], steps)
        rows = join_steps(steps, self.learner.num_steps, self.learner.agent.discount)
        return {name: rows[name] for name in self._kept}, begun

    def _draw(self, ring: Ring, seed: tf.Tensor) -> dict[str, Any]:
        """Rows of a minibatch, as the replay keeps them."""
        return self._unpack(draw_rows(ring, self.learner.agent.batch_size, seed))

    def _pack(self, rows: dict[str, tf.Tensor]) -> Any:
        bits = {name: pack_bits(rows[name]) for name in rows if name in MASKS and rows[name].dtype == tf.bool}
        return pack(rows | bits)


def _zeros(specs: Any, *leading: int) -> Any:
    return tf.nest.map_structure(lambda spec: tf.zeros([*leading, *spec.shape], spec.dtype), specs)


def replay_and_learn(learner: ReplayLearner, size: int) -> TurnMaker:
    """The turn of S members of a learner, each with its replay: takes T steps, keeps them, makes the updates due then.

    Before the first updates, actions are uniform.

    Examples:
        >>> from agents import dqn
        >>> from rlsample.rollouts.in_graph_collector import InGraphCollector, in_graph_env
        >>> from rlsample.rollouts.off_policy.in_graph import WithReplay, replay_and_learn
        >>> from rlsample.runs.shipped import known_agents
        >>> words = ["env.id=rlsample/CartPole-v1", "total_steps=1000", "agent.jit_compile=false", "env.num_envs=2"]
        >>> config = runs.load_config("dqn_cartpole", words, agents=known_agents())
        >>> envs = config.env.make()
        >>> learner = dqn.Learner(config, envs.single_observation_space, envs.single_action_space)
        >>> collector, member = InGraphCollector(in_graph_env(envs), 2), WithReplay(learner, 500, 2, masked=False)
        >>> turn = replay_and_learn(learner, 1)(member, collector, num_steps=4)
        >>> running, finite = collector.start((0, 1)), tf.ones([2], tf.bool)
        >>> state, _, _, metrics, _ = turn(member.start(0), running, tf.constant(0), tf.constant([0, 2]), finite)
        >>> int(state.ring.size), float(metrics["updates"])  # the first steps of a row of three are not rows yet
        (4, 0.0)
    """

    def make(members: Any, collector: InGraphCollector, num_steps: int) -> Turn:
        taken, updates, factors = num_steps * collector.num_envs // size, learner.updates, learner.policy.factors

        def turn(state: Any, running: Running, index: tf.Tensor, seed: tf.Tensor, finite: tf.Tensor) -> Any:
            act_seed, learn_seed = tf.unstack(ops.split(seed, 2))
            before, after = index * taken, (index + 1) * taken
            chance = tf.where(before < updates.uniform_steps, 1.0, learner.exploration(before))
            remembers = learner.sequences is not None
            act = explore((remembering_actor if remembers else actor)(members, state), factors, chance)
            memory = members.memory(state) if remembers else ()
            rollout, running, ended = collector.collect(act, running, num_steps, act_seed, memory, next_masks=True)
            due = updates.due_in_graph(after) - updates.due_in_graph(before)
            state, metrics, finite = members.learn(state, rollout, learn_seed, finite, due)
            return state, running, ended, metrics, finite

        return turn

    return make
