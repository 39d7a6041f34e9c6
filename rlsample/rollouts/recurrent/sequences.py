"""Sequences of steps drawn from a replay, for networks with a memory: what they see, and the rows to learn from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from rlsample import checks
from rlsample.learning.n_step import join_steps
from rlsample.rollouts.transitions import swap_axes


class Seen(NamedTuple):
    """T steps of B environments.

    Attributes:
        observation: a tree of tensors `[T, B, ...]`.
        starts: bool `[T, B]`, whether an episode begins at the step.

    Examples:
        >>> from rlsample.rollouts.recurrent.sequences import Seen
        >>> Seen(tf.zeros([5, 2, 4]), tf.zeros([5, 2], tf.bool)).starts.shape
        TensorShape([5, 2])
    """

    observation: Any
    starts: tf.Tensor


class Steps(NamedTuple):
    """What networks with a memory are given in place of observations: T steps of B environments, as T * B rows.

    Attributes:
        memory: float32 `[B, M]`, what was remembered before the first step; each network has columns of its own.
        burn_in: steps that only bring the memory up to date, without a gradient; None where there are none.
        seen: the steps after them.

    Examples:
        >>> from rlsample.rollouts.recurrent.sequences import Seen, Steps
        >>> seen = Seen(tf.zeros([5, 2, 4]), tf.zeros([5, 2], tf.bool))
        >>> Steps(tf.zeros([2, 8]), burn_in=None, seen=seen).memory.shape
        TensorShape([2, 8])
    """

    memory: tf.Tensor
    burn_in: Seen | None
    seen: Seen


class Following(NamedTuple):
    """Observations that each follow on one of the steps, from what is remembered after it.

    Attributes:
        steps: T steps of B environments.
        observation: a tree of tensors `[N, ...]`.
        after: int32 `[N]`, which of the T * B rows of `steps.seen` it follows on.

    Examples:
        >>> from rlsample.rollouts.recurrent.sequences import Following, one_step
        >>> Following(one_step(tf.zeros([2, 4]), tf.zeros([2, 8])), tf.ones([1, 4]), after=tf.constant([1])).after.shape
        TensorShape([1])
    """

    steps: Steps
    observation: Any
    after: tf.Tensor


def one_step(observation: Any, memory: tf.Tensor) -> Steps:
    """A single step of B environments: observations `[B, ...]` on what is remembered `[B, M]`.

    Examples:
        >>> from rlsample.rollouts.recurrent.sequences import one_step
        >>> one_step(tf.zeros([2, 4]), tf.zeros([2, 8])).seen.observation.shape
        TensorShape([1, 2, 4])
    """
    seen = tf.nest.map_structure(lambda part: part[tf.newaxis], observation)
    return Steps(memory, None, Seen(seen, tf.zeros([1, memory.shape[0]], tf.bool)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sequences:
    """How long the sequences are that a network with a memory learns from, and how many make a minibatch.

    A minibatch has about as many rows as one without memory: the steps after the burn-in count.

    Attributes:
        length: steps of a sequence.
        burn_in: the first of them, which only bring the memory up to date.
        num_steps: rewards that are summed before a value is trusted.
        batch_size: rows that are asked for.

    Source: Kapturowski et al. (2019), Recurrent experience replay in distributed reinforcement learning, section 3.

    Examples:
        >>> from rlsample.rollouts.recurrent.sequences import Sequences
        >>> sequences = Sequences(length=32, burn_in=8, num_steps=3, batch_size=64)
        >>> sequences.drawn, sequences.per_batch
        (34, 3)
    """

    length: int
    burn_in: int
    num_steps: int
    batch_size: int

    @property
    def drawn(self) -> int:
        """W, the steps drawn: those of the last row's rewards too."""
        return self.length + self.num_steps - 1

    @property
    def per_batch(self) -> int:
        """Sequences of a minibatch."""
        return -(-self.batch_size // (self.length - self.burn_in))

    def first_steps(self, num_envs: int) -> int:
        """Environment steps after which there is one: a reset that is a step of its own fills at least every other."""
        return 2 * self.drawn * num_envs

    @classmethod
    def planned(cls, config: Any) -> Sequences | None:
        """By an agent's `sequence_length`, `burn_in`, `batch_size` and `num_steps`; None without a memory.

        Raises:
            ValueError: sequences that are all burn-in, or for which replay or run are too short.
        """
        if not config.network.state_size:
            return None
        agent, num_envs = config.agent, config.env.num_envs
        length, burn_in = agent.sequence_length, agent.burn_in
        if burn_in >= length:
            raise checks.invalid("agent.burn_in below agent.sequence_length", burn_in=burn_in, sequence_length=length)
        made = cls(
            length=length, burn_in=burn_in, num_steps=getattr(agent, "num_steps", 1), batch_size=agent.batch_size
        )
        received = {"sequence_length": length, "num_steps": made.num_steps, "num_envs": num_envs}
        if made.drawn * num_envs > agent.replay_capacity:
            rule = f"agent.replay_capacity of at least {made.drawn * num_envs}, a sequence of each environment"
            raise checks.invalid(rule, replay_capacity=agent.replay_capacity, **received)
        if made.first_steps(num_envs) >= config.total_steps:
            rule = f"total_steps above {made.first_steps(num_envs)}, after which the first sequences are learned from"
            hint = "Shorten agent.sequence_length, or take fewer environments."
            raise checks.invalid(rule, total_steps=config.total_steps, **received, hint=hint)
        return made

    def rows(self, drawn: Mapping[str, Any], discount: float) -> dict[str, Any]:
        """The rows of the steps after the burn-in, each with its rewards and the end of them: `[N, ...]`.

        Args:
            drawn: trees of tensors `[B, W, ...]` by name, of steps that follow on each other: `observation`, `reward`,
                `next_observation`, `terminated`, `starts` and others; and `memory` `[B, M]`, before the first of them.
            discount: of rewards, per step.

        Returns:
            Trees `[N, ...]` by the same names, and `discount`, of the value after them; `observation` is `Steps`,
            `next_observation` `Following`. N is (length - burn_in) * B, the B rows of a step one after another.
        """
        steps = {name: tf.nest.map_structure(swap_axes, part) for name, part in drawn.items() if name != "memory"}
        starts, observation = steps.pop("starts"), steps.pop("observation")

        def seen(first: int, last: int) -> Seen:
            return Seen(*tf.nest.map_structure(lambda part: part[first:last], (observation, starts)))

        burnt = seen(0, self.burn_in) if self.burn_in else None
        batch = starts.shape[1]
        later = {name: tf.nest.map_structure(lambda part: part[self.burn_in :], part) for name, part in steps.items()}
        row = tf.reshape(tf.range((self.drawn - self.burn_in) * batch), [-1, batch])
        # Where the next step begins an episode this one was its last, whether or not it was known by then.
        ended = tf.concat([starts[self.burn_in + 1 :], tf.zeros_like(starts[:1])], 0)
        later |= {"truncated": ended, "next_observation": (later["next_observation"], row)}
        joined = join_steps(later, self.num_steps, discount)
        flat = tf.nest.map_structure(lambda part: tf.reshape(part, [-1, *part.shape[2:]]), joined)
        following, after = flat["next_observation"]
        return flat | {
            "observation": Steps(drawn["memory"], burnt, seen(self.burn_in, self.length)),
            "next_observation": Following(
                Steps(drawn["memory"], burnt, seen(self.burn_in, self.drawn)), following, after
            ),
        }
