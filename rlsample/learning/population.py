"""Several members in one compiled program: the same learner for each, with weights and environments of its own.

A learner is written for one network, as pure functions of its state. A `Population` of it has the same functions, of
the states of S members side by side. Their S * E environments are stepped as one batch, those of the first member
first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import tensorflow as tf

from rlsample import checks


class Learner(Protocol):
    """What an agent brings that learns from rollouts of its own policy: pure functions of a state of tensors.

    Shapes are those of one network with E environments.

    Examples:
        >>> class Fixed:
        ...     def start(self, member): return tf.constant([0.0, 1.0, 2.0])
        ...     def split(self, state): return state
        ...     def logits(self, parameters, features): return tf.tile(parameters[None], [features.shape[0], 1])
        ...     def choose(self, logits, mask, seed): return ops.mode(logits, mask)
        ...     def learn(self, state, transitions, seed, finite): return state, {"losses/policy": tf.zeros([])}, finite
        >>> from rlsample.learning.population import actor
        >>> actor(Fixed(), Fixed().start(0))(tf.zeros([5, 4]), None, (0, 1)).numpy()
        array([2, 2, 2, 2, 2], dtype=int32)
    """

    def start(self, member: int) -> Any:
        """The state before training: a structure of tensors."""

    def split(self, state: Any) -> Any:
        """What of a state is needed to act, prepared for many calls of `logits`."""

    def logits(self, parameters: Any, observation: Any) -> tf.Tensor:
        """The policy: observations, a tree of tensors `[E, ...]`, -> logits `[E, K]` or `[E, F, K]`."""

    def choose(self, logits: tf.Tensor, mask: tf.Tensor | None, seed: tf.Tensor) -> tf.Tensor:
        """Draws actions: int32 `[E]` or `[E, F]`, or one-hots through which gradients are to flow."""

    def learn(self, state: Any, transitions: Any, seed: tf.Tensor, finite: tf.Tensor) -> tuple[Any, Any, tf.Tensor]:
        """Learns from one rollout `[T, E, ...]`, but only if everything has been finite so far.

        Returns:
            (state, metrics: scalars by name, `finite` bool `[E]` after this rollout).
        """


class DifferentiatingLearner(Protocol):
    """A learner whose gradients pass through the steps of the environment: acts as a `Learner`, learns in two parts.

    Examples:
        >>> class Tuned:
        ...     def play(self, state, transitions):
        ...         return {"loss": tf.reduce_mean((state - transitions) ** 2)}
        ...     def descend(self, state, gradients, played, seed, finite):
        ...         return state - 0.5 * gradients, {"losses/policy": played["loss"]}, finite
        >>> state = tf.constant(1.0)
        >>> with tf.GradientTape() as tape:
        ...     tape.watch(state)
        ...     played = Tuned().play(state, tf.constant([3.0, 5.0]))
        >>> state, metrics, finite = Tuned().descend(state, tape.gradient(played["loss"], state), played, (0, 1), True)
        >>> float(state), float(metrics["losses/policy"])
        (4.0, 10.0)
    """

    def play(self, state: Any, transitions: Any) -> Any:
        """What a gradient tape is to see of steps `[T, E, ...]`: a structure with a `loss`, a scalar."""

    def descend(
        self, state: Any, gradients: Any, played: Any, seed: tf.Tensor, finite: tf.Tensor
    ) -> tuple[Any, Any, tf.Tensor]:
        """Learns from the gradients of the loss; returns as `Learner.learn` does."""


def actor(learner: Learner, state: Any) -> Callable[[Any, tf.Tensor | None, tf.Tensor], tf.Tensor]:
    """How a learner acts in a given state: (observations, mask or None, seed) -> actions.

    Examples:
        >>> from types import SimpleNamespace
        >>> from rlsample.learning.population import actor
        >>> learner = SimpleNamespace(
        ...     split=lambda state: state,
        ...     logits=lambda kernel, features: features @ kernel,
        ...     choose=lambda logits, mask, seed: ops.mode(logits, mask),
        ... )
        >>> actor(learner, tf.eye(3))(tf.constant([[0.0, 2.0, 1.0]]), None, (0, 1)).numpy()
        array([1], dtype=int32)
    """
    parameters = learner.split(state)
    return lambda observation, mask, seed: learner.choose(learner.logits(parameters, observation), mask, seed)


class Population:
    """S members of one learner, as if they were one: see `Learner`, with S in front of every state and metric.

    Noise in `learn` is drawn once for all members (the order of minibatches, say); actions are drawn for each.

    Args:
        learner: of one network.
        size: S, at least 2.

    Examples:
        >>> from types import SimpleNamespace
        >>> from rlsample.learning.population import Population
        >>> learner = SimpleNamespace(
        ...     start=lambda member: tf.constant([float(member), 1.0]),
        ...     logits=lambda parameters, features: features * parameters,
        ... )
        >>> population = Population(learner, size=2)
        >>> states = population.start()
        >>> print(states.numpy())
        [[0. 1.]
         [1. 1.]]
        >>> print(population.logits(states, tf.ones([4, 2])).numpy())  # two rows of each member
        [[0. 1.]
         [0. 1.]
         [1. 1.]
         [1. 1.]]
    """

    def __init__(self, learner: Any, size: int) -> None:
        self.learner = learner
        self.size = checks.check_count("size", size, minimum=2)

    def start(self, member: int = 0) -> Any:
        """The states of all members; the first is number `member`."""
        states = [self.learner.start(member + index) for index in range(self.size)]
        return tf.nest.map_structure(lambda *leaves: tf.stack(leaves), *states)

    def split(self, state: Any) -> Any:
        """See `Learner.split`."""
        return for_each_member(self.learner.split)(state)

    def logits(self, parameters: Any, observation: Any) -> tf.Tensor:
        """See `Learner.logits`; `[S * E, ...]` -> `[S * E, ...]`."""
        each = for_each_member(self.learner.logits, differentiable=True)
        return _flat(each(parameters, self._by_member(observation, 0)))

    def memory(self, state: Any) -> tf.Tensor:
        """See `remembering.RememberingLearner`: `[S * E, ...]`."""
        return _flat(for_each_member(self.learner.memory)(state))

    def logits_and_memory(self, parameters: Any, observation: Any, memory: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `remembering.RememberingLearner`; `[S * E, ...]` -> `[S * E, ...]`."""
        each = for_each_member(self.learner.logits_and_memory, differentiable=True)
        logits, memory = each(parameters, *self._by_member((observation, memory), 0))
        return _flat(logits), _flat(memory)

    def choose(self, logits: tf.Tensor, mask: tf.Tensor | None, seed: tf.Tensor) -> tf.Tensor:
        """See `Learner.choose`; all members' at once, with noise for each row."""
        return self.learner.choose(logits, mask, seed)

    def learn(
        self, state: Any, transitions: Any, seed: tf.Tensor, finite: tf.Tensor, *shared: Any
    ) -> tuple[Any, Any, tf.Tensor]:
        """See `Learner.learn`; rows `[T, S * E, ...]`. What the learner takes besides is the same for all members."""
        rows, build = _present(transitions)
        each = for_each_member(
            lambda state, rows, finite: self.learner.learn(state, build(rows), seed, finite, *shared)
        )
        state, metrics, finite = each(state, self._by_member(rows, 1), self._by_member(finite, 0))
        return state, metrics, tf.reshape(finite, [-1])

    def play(self, state: Any, transitions: Any) -> Any:
        """See `DifferentiatingLearner.play`."""
        rows, build = _present(transitions)
        each = for_each_member(lambda state, rows: self.learner.play(state, build(rows)), differentiable=True)
        return each(state, self._by_member(rows, 1))

    def descend(
        self, state: Any, gradients: Any, played: Any, seed: tf.Tensor, finite: tf.Tensor
    ) -> tuple[Any, Any, tf.Tensor]:
        """See `DifferentiatingLearner.descend`."""
        each = for_each_member(lambda *arguments: self.learner.descend(*arguments[:3], seed, arguments[3]))
        state, metrics, finite = each(state, gradients, played, self._by_member(finite, 0))
        return state, metrics, tf.reshape(finite, [-1])

    def _by_member(self, rows: Any, axis: int) -> Any:
        """`[S * E, ...]` or `[T, S * E, ...]` -> `[S, E, ...]` or `[S, T, E, ...]`."""

        def split(tensor: tf.Tensor) -> tf.Tensor:
            before, (envs, *event) = tensor.shape[:axis], tensor.shape[axis:]
            members = tf.reshape(tensor, [*before, self.size, envs // self.size, *event])
            return members if axis == 0 else tf.transpose(members, [1, 0, *range(2, members.shape.rank)])

        return tf.nest.map_structure(split, rows)


def _flat(rows: tf.Tensor) -> tf.Tensor:
    """`[S, E, ...]` -> `[S * E, ...]`."""
    return tf.reshape(rows, [-1, *rows.shape[2:]])


def for_each_member(function: Callable[..., Any], *, differentiable: bool = False) -> Callable[..., Any]:
    """Makes a pure function of one member's tensors into one of all members', stacked along a first axis.

    Args:
        function: structures of tensors -> a structure of tensors.
        differentiable: whether gradients are taken of the result. They are then those of `function`, member by member:
            XLA does not compile the gradient of every operation that vectorizing makes.

    Examples:
        >>> from rlsample.learning.population import for_each_member
        >>> apply = for_each_member(lambda kernel, x: tf.linalg.matvec(x, kernel))
        >>> apply(tf.constant([[1.0], [10.0]]), tf.ones([2, 3, 1])).numpy()
        array([[ 1.,  1.,  1.],
               [10., 10., 10.]], dtype=float32)
    """

    def several(*stacked: Any) -> Any:
        return tf.vectorized_map(lambda member: function(*member), stacked, fallback_to_while_loop=False)

    return _with_own_gradient(function, several) if differentiable else several


def _with_own_gradient(function: Callable[..., Any], several: Callable[..., Any]) -> Callable[..., Any]:
    def gradient_of_one(leaves: list[tf.Tensor], upstream: list[tf.Tensor], structure: Any) -> list[tf.Tensor]:
        floats = [leaf for leaf in leaves if leaf.dtype.is_floating]
        with tf.GradientTape() as tape:
            tape.watch(floats)
            outputs = tf.nest.flatten(function(*tf.nest.pack_sequence_as(structure, leaves)))
        pairs = [(output, up) for output, up in zip(outputs, upstream, strict=True) if output.dtype.is_floating]
        targets, weights = zip(*pairs, strict=True)
        return tape.gradient(list(targets), floats, list(weights), unconnected_gradients="zero")

    def call(*stacked: Any) -> Any:
        outputs: Any = None

        @tf.custom_gradient
        def flat_call(*leaves: tf.Tensor) -> Any:
            nonlocal outputs
            outputs = several(*tf.nest.pack_sequence_as(stacked, leaves))

            def backward(*upstream: tf.Tensor) -> list[tf.Tensor | None]:
                each = for_each_member(lambda leaves, upstream: gradient_of_one(leaves, upstream, stacked))
                gradients = iter(each(list(leaves), list(upstream)))
                return [next(gradients) if leaf.dtype.is_floating else None for leaf in leaves]

            return tf.nest.flatten(outputs), backward

        flat = flat_call(*tf.nest.flatten(stacked))
        return tf.nest.pack_sequence_as(outputs, flat)

    return call


def _present(transitions: Any) -> tuple[dict[str, tf.Tensor], Callable[[dict[str, tf.Tensor]], Any]]:
    """The fields of a named tuple that are not None, and how to make the tuple of them again."""
    rows = {name: column for name, column in transitions._asdict().items() if column is not None}
    return rows, lambda rows: type(transitions)(**(dict.fromkeys(transitions._fields) | rows))


def members_of(learner: Any, size: int) -> Any:
    """The learner itself for one member, else a `Population` of it.

    Examples:
        >>> from rlsample.learning.population import members_of
        >>> learner = object()
        >>> members_of(learner, 1) is learner, type(members_of(learner, 8)).__name__
        (True, 'Population')
    """
    return learner if checks.check_count("population", size) == 1 else Population(learner, size)


def member_of(state: Any, index: int) -> Any:
    """The state of one member of a population's.

    Examples:
        >>> from rlsample.learning.population import member_of
        >>> member_of({"kernel": tf.constant([[1.0], [2.0]])}, 1)["kernel"].numpy()
        array([2.], dtype=float32)
    """
    return tf.nest.map_structure(lambda leaf: leaf[index], state)
