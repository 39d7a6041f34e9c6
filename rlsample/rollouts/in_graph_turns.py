"""What happens in a turn of a compiled program: collecting and learning, remembering or playing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from rlsample import ops
from rlsample.learning.population import actor
from rlsample.learning.remembering import remembering_actor
from rlsample.rollouts.in_graph_collector import Finished, InGraphCollector, Running

Turn = Callable[[Any, Running, tf.Tensor, tf.Tensor, tf.Tensor], tuple[Any, Running, Finished, Any, tf.Tensor]]
"""(state, episodes under way, turns taken before, seed int32 `[2]`, finite bool `[B]`) -> (state, episodes under way,
episodes that ended, metrics, finite): one rollout and what is learned from it, in compiled code. Nothing may be learned
once an environment has not been finite."""

TurnMaker = Callable[[Any, InGraphCollector, int], Turn]
"""(learner or population, collector, T) -> the turn."""


def collect_and_learn(members: Any, collector: InGraphCollector, num_steps: int) -> Turn:
    """The turn of a `learning.population.Learner`: collects T steps with its policy, then learns from them.

    Examples:
        >>> from types import SimpleNamespace
        >>> from envs.cartpole import CartPole
        >>> from rlsample.rollouts.in_graph_collector import InGraphCollector
        >>> from rlsample.rollouts.in_graph_turns import collect_and_learn
        >>> learner = SimpleNamespace(
        ...     split=lambda state: state,
        ...     logits=lambda kernel, observation: observation @ kernel,
        ...     choose=lambda logits, mask, seed: ops.mode(logits, mask),
        ...     learn=lambda state, steps, seed, finite: (state, {"reward": tf.reduce_mean(steps.reward)}, finite),
        ... )
        >>> collector = InGraphCollector(CartPole(), num_envs=2)
        >>> turn = collect_and_learn(learner, collector, num_steps=5)
        >>> begun = collector.start((0, 1)), tf.constant(0), tf.constant([0, 2])  # and the index and seed of the turn
        >>> outcome = turn(tf.zeros([4, 2]), *begun, tf.constant([True, True]))
        >>> state, running, ended, metrics, finite = outcome
        >>> float(metrics["reward"]), running.length.numpy()
        (1.0, array([5, 5], dtype=int32))
    """

    def turn(state: Any, running: Running, index: tf.Tensor, seed: tf.Tensor, finite: tf.Tensor) -> Any:
        act_seed, learn_seed = tf.unstack(ops.split(seed, 2))
        transitions, running, ended = collector.collect(actor(members, state), running, num_steps, act_seed)
        state, metrics, finite = members.learn(state, transitions, learn_seed, finite)
        return state, running, ended, metrics, finite

    return turn


def remember_and_learn(members: Any, collector: InGraphCollector, num_steps: int) -> Turn:
    """The turn of a `RememberingLearner`: as `collect_and_learn`, from what its policy remembers.

    Examples:
        >>> from types import SimpleNamespace
        >>> from envs.cartpole import CartPole
        >>> from rlsample.rollouts.in_graph_collector import InGraphCollector
        >>> from rlsample.rollouts.in_graph_turns import remember_and_learn
        >>> alternating = SimpleNamespace(  # remembers what it did last
        ...     memory=lambda state: state,
        ...     split=lambda state: (),
        ...     logits_and_memory=lambda _, seen, memory: (tf.concat([memory, 1 - memory], -1), 1 - memory),
        ...     choose=lambda logits, mask, seed: ops.mode(logits, mask),
        ...     learn=lambda state, steps, seed, finite: (state, {"action": steps.action}, finite),
        ... )
        >>> collector = InGraphCollector(CartPole(), num_envs=1)
        >>> turn = remember_and_learn(alternating, collector, num_steps=6)
        >>> begun = collector.start((0, 1)), tf.constant(0), tf.constant([0, 2])
        >>> outcome = turn(tf.zeros([1, 1]), *begun, tf.constant([True]))
        >>> outcome[3]["action"].numpy().ravel()
        array([1, 0, 1, 0, 1, 0], dtype=int32)
    """

    def turn(state: Any, running: Running, index: tf.Tensor, seed: tf.Tensor, finite: tf.Tensor) -> Any:
        act_seed, learn_seed = tf.unstack(ops.split(seed, 2))
        act, memory = remembering_actor(members, state), members.memory(state)
        transitions, running, ended = collector.collect(act, running, num_steps, act_seed, memory)
        state, metrics, finite = members.learn(state, transitions, learn_seed, finite)
        return state, running, ended, metrics, finite

    return turn


def play_and_learn(members: Any, collector: InGraphCollector, num_steps: int) -> Turn:
    """The turn of a `DifferentiatingLearner`: plays T steps under a gradient tape, then learns from the gradient.

    Examples:
        >>> from collections import namedtuple
        >>> from types import SimpleNamespace
        >>> from envs.cartpole import CartPole
        >>> from rlsample.rollouts.in_graph_collector import InGraphCollector
        >>> from rlsample.rollouts.in_graph_turns import play_and_learn
        >>> State, Played = namedtuple("State", "policy"), namedtuple("Played", "loss")
        >>> sampler = samplers.create("straight_through")
        >>> learner = SimpleNamespace(  # learns to drive to the right
        ...     split=lambda state: state.policy,
        ...     logits=lambda kernel, observation: observation @ kernel,
        ...     choose=lambda logits, mask, seed: sampler(logits, seed).one_hot,
        ...     play=lambda state, steps: Played(-tf.reduce_mean(steps.next_observation[-1, :, 0])),
        ...     descend=lambda state, slope, played, seed, finite: (State(state.policy - slope), {}, finite),
        ... )
        >>> collector = InGraphCollector(CartPole(), num_envs=64)
        >>> turn = play_and_learn(learner, collector, num_steps=4)
        >>> before = State(tf.zeros([4, 2]))
        >>> begun = collector.start((0, 1)), tf.constant(0), tf.constant([0, 2])
        >>> after, *_ = turn(before, *begun, tf.ones([64], tf.bool))
        >>> np.abs(after.policy.numpy()).max() > 0
        np.True_
    """
    return _play(members, collector, num_steps, lambda state: (actor(members, state), ()))


def play_remembering_and_learn(members: Any, collector: InGraphCollector, num_steps: int) -> Turn:
    """The turn of a `DifferentiatingLearner` that is a `RememberingLearner` too: as `play_and_learn`.

    It plays from what its policy remembers, and gradients pass from step to step through that as well.

    Examples:
        >>> from collections import namedtuple
        >>> from types import SimpleNamespace
        >>> from envs.cartpole import CartPole
        >>> from rlsample.rollouts.in_graph_collector import InGraphCollector
        >>> from rlsample.rollouts.in_graph_turns import play_remembering_and_learn
        >>> State, Played = namedtuple("State", "policy memory"), namedtuple("Played", "loss")
        >>> learner = SimpleNamespace(  # adds a number to what it remembers, and pushes by the sum
        ...     memory=lambda state: state.memory,
        ...     split=lambda state: state.policy,
        ...     logits_and_memory=lambda added, seen, memory: (tf.concat([0 * memory, memory], -1), memory + added),
        ...     choose=lambda logits, mask, seed: logits,
        ...     play=lambda state, steps: Played(-tf.reduce_mean(steps.next_observation[-1, :, 1])),
        ...     descend=lambda state, slope, played, seed, finite: (state._replace(policy=-slope), {}, finite),
        ... )
        >>> collector = InGraphCollector(CartPole(), num_envs=64)
        >>> turn = play_remembering_and_learn(learner, collector, num_steps=4)
        >>> before = State(tf.zeros([]), tf.zeros([64, 1]))
        >>> begun = collector.start((0, 1)), tf.constant(0), tf.constant([0, 2])
        >>> after, *_ = turn(before, *begun, tf.ones([64], tf.bool))
        >>> float(after.policy) > 0  # what it added at a step drove to the right at later ones
        True
    """
    return _play(
        members, collector, num_steps, lambda state: (remembering_actor(members, state), members.memory(state))
    )


def _play(members: Any, collector: InGraphCollector, num_steps: int, acting: Callable[[Any], tuple[Any, Any]]) -> Turn:
    def turn(state: Any, running: Running, index: tf.Tensor, seed: tf.Tensor, finite: tf.Tensor) -> Any:
        play_seed, learn_seed = tf.unstack(ops.split(seed, 2))
        with tf.GradientTape() as tape:
            tape.watch(state.policy)
            act, memory = acting(state)
            steps, running, ended = collector.collect(act, running, num_steps, play_seed, memory)
            played = members.play(state, steps)
        gradient = tape.gradient(played.loss, state.policy)
        state, metrics, finite = members.descend(state, gradient, played, learn_seed, finite)
        return state, running, ended, metrics, finite

    return turn
