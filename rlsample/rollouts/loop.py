"""The training loop: turns of collecting and learning, logged and evaluated, until the run ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from rlsample import checks

MAX_STEPS_PER_CALL = 65536
"""About so many steps are taken between two looks at whether to log, evaluate or stop."""


class Watcher(Protocol):
    """What a training loop tells how it goes, and asks whether to go on; `rlsample.runs.Run` is one."""

    stopping: bool

    def plan(self, total_steps: int) -> None:
        """Takes the environment steps that there will be, once, before the first."""

    def log(self, step: int, metrics: Mapping[str, Any], update: int | None = None) -> None:
        """Takes the metrics of one moment."""

    def evaluation_due(self, step: int) -> bool:
        """Whether `evaluate_when_due` would evaluate."""

    def evaluate_when_due(self, policy: Any, step: int) -> None:
        """Evaluates the policy if it is time to."""


class Loop(Protocol):
    """What `train_in_turns` drives.

    Attributes:
        max_turns_per_call: how many turns one call may take.
    """

    max_turns_per_call: int

    def advance(self, num_turns: int) -> dict[str, float]:
        """Takes so many turns; returns their metrics."""


def train_in_turns(
    loop: Loop,
    run: Watcher,
    *,
    num_turns: int,
    steps_per_turn: int,
    updates_per_turn: int,
    policy: Callable[[], Any],
    evaluate_every: int | None = None,
) -> None:
    """Takes turns until all are done or the run is to stop; logs after each call, and evaluates when that is due.

    Args:
        loop: what takes the turns.
        run: what is told of it.
        num_turns: how many there are in all.
        steps_per_turn: environment steps of one.
        updates_per_turn: optimizer steps of one.
        policy: gives the policy as it is now; called when an evaluation is due.
        evaluate_every: environment steps between evaluations; a call takes no more turns than that.
    """
    steps_per_call = min(MAX_STEPS_PER_CALL, evaluate_every or MAX_STEPS_PER_CALL)
    turns_per_call = max(1, min(loop.max_turns_per_call, steps_per_call // steps_per_turn))
    run.plan(num_turns * steps_per_turn)
    done = 0
    while done < num_turns and not run.stopping:
        count = min(turns_per_call, num_turns - done)
        metrics = loop.advance(count)
        done += count
        run.log(done * steps_per_turn, metrics, done * updates_per_turn)
        if run.evaluation_due(done * steps_per_turn):
            run.evaluate_when_due(policy(), done * steps_per_turn)


def raise_for_not_finite(finite: tf.Tensor) -> None:
    """Raises ValueError for the first environment that was not, by the flag that a turn returned."""
    flags = finite.numpy()
    if not flags.all():
        hint = "Rewards beyond 1e19 count as infinite too: losses square them."
        environment = int(np.argmin(flags))
        raise checks.invalid("finite rewards, observations and values", environment=environment, hint=hint)


def finite_metrics(metrics: dict[str, float], hint: str = "") -> dict[str, float]:
    """Returns the metrics.

    Raises:
        ValueError: a loss (`losses/*`) or the norm of a gradient is not finite: training has diverged. Other metrics
            may be infinite while it goes well.
    """
    vital = {name: value for name, value in metrics.items() if name.startswith("losses/") or name.endswith("_norm")}
    if not np.isfinite(list(vital.values())).all():
        raise checks.invalid("finite losses and gradients", hint=f"Training diverged. {hint}".strip(), **vital)
    return metrics
