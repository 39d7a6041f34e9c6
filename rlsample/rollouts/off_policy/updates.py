"""How many updates go with the steps of a run that learns from a replay."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf


@dataclasses.dataclass(frozen=True, kw_only=True)
class Updates:
    """How many updates go with the steps of a run, in rounds between them.

    Attributes:
        warmup_steps: environment steps before the first.
        total_steps: environment steps of the run.
        per_step: updates per environment step after the warm-up.
        steps_per_round: environment steps between rounds.

    Examples:
        >>> from rlsample.rollouts.off_policy.updates import Updates
        >>> updates = Updates(warmup_steps=100, total_steps=1000, per_step=0.5, steps_per_round=50)
        >>> updates.total, updates.per_call, [updates.due(step) for step in (100, 150, 1000)]
        (450, 25, [0, 25, 450])
    """

    warmup_steps: int
    total_steps: int
    per_step: float
    steps_per_round: int

    @classmethod
    def planned(cls, agent: Any, total_steps: int, first_steps: int = 0) -> Updates:
        """By an agent's `updates_per_step`, `steps_per_round` and `warmup_steps`, at most a tenth of the run.

        The warm-up lasts `first_steps` at least, before which there is nothing to learn from.
        """
        return cls(
            warmup_steps=max(first_steps, min(agent.warmup_steps, total_steps // 10)),
            total_steps=total_steps,
            per_step=agent.updates_per_step,
            steps_per_round=agent.steps_per_round,
        )

    @property
    def total(self) -> int:
        """Updates of the whole run, at least 1."""
        return max(1, round((self.total_steps - self.warmup_steps) * self.per_step))

    @property
    def uniform_steps(self) -> int:
        """Environment steps before the first round of updates, during which actions are uniform."""
        return max(self.steps_per_round, self.warmup_steps)

    @property
    def per_call(self) -> int:
        """Updates that one call of a compiled program makes at most: a round's."""
        return max(1, round(self.steps_per_round * self.per_step))

    def due(self, step: int) -> int:
        """Updates that are to be made by an environment step; all of them by the last."""
        due = self.total if step >= self.total_steps else round((step - self.warmup_steps) * self.per_step)
        return min(due, self.total)

    def due_in_graph(self, step: tf.Tensor) -> tf.Tensor:
        """The same of an int32 scalar, in compiled code, and 0 during the warm-up."""
        made = tf.cast(tf.round(tf.cast(step - self.warmup_steps, tf.float64) * self.per_step), tf.int32)
        return tf.clip_by_value(tf.where(step >= self.total_steps, self.total, made), 0, self.total)
