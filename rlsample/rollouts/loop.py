"""The training loop: turns of collecting and learning, logged and evaluated, until the run ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from rlsample import checks
from rlsample.rollouts.environments.faults import EnvironmentFault
from rlsample.rollouts.snapshot import Snapshot

MAX_STEPS_PER_CALL = 65536
"""About so many steps are taken between two looks at whether to log, evaluate or stop."""


class Watcher(Protocol):
    """What a training loop tells how it goes, and asks whether to go on; `rlsample.runs.Run` is one.

    Attributes:
        stopping: whether to come to an end.
        resumed: what to go on from; None to begin.
        due_every: environment steps after which something may be due: how often to ask; None if it does not matter.

    Examples:
        >>> class Printing:
        ...     stopping, resumed, due_every = False, None, None
        ...     def plan(self, total_steps): print("there will be", total_steps, "steps")
        ...     def say(self, text): print(text)
        ...     def log(self, step, metrics, update=None): print(step, metrics)
        ...     def evaluation_due(self, step): return False
        ...     def evaluate_when_due(self, policy, step): pass
        ...     def save_due(self): return False
        ...     def save(self, policy, snapshot=None, step=None): print("saved")
        >>> Printing().log(128, {"charts/episodic_return": 21.5})
        128 {'charts/episodic_return': 21.5}
    """

    stopping: bool
    resumed: Snapshot | None
    due_every: int | None

    def plan(self, total_steps: int) -> None:
        """Takes the environment steps that there will be, once, before the first."""

    def say(self, text: str) -> None:
        """Takes a line for the person who watches."""

    def log(self, step: int, metrics: Mapping[str, Any], update: int | None = None) -> None:
        """Takes the metrics of one moment."""

    def evaluation_due(self, step: int) -> bool:
        """Whether `evaluate_when_due` would evaluate."""

    def evaluate_when_due(self, policy: Any, step: int) -> None:
        """Evaluates the policy if it is time to."""

    def save_due(self) -> bool:
        """Whether it is time to `save`."""

    def save(self, policy: Any, snapshot: Snapshot | None = None, step: int | None = None) -> None:
        """Keeps what was learned by a step, by default that of the last `log`; a snapshot lets training go on there."""


class Loop(Protocol):
    """What `train_in_turns` drives.

    Attributes:
        max_turns_per_call: how many turns one call may take.

    Examples:
        >>> from rlsample.rollouts.snapshot import Snapshot
        >>> class Counting:
        ...     max_turns_per_call = 4
        ...     def __init__(self): self.done = 0
        ...     def advance(self, num_turns):
        ...         self.done += num_turns
        ...         return {"charts/turns": float(self.done)}
        ...     def snapshot(self): return Snapshot({}, {"done": self.done})
        ...     def restore(self, snapshot):
        ...         self.done = snapshot.numbers["done"]
        ...         return self.done
        >>> Counting().restore(Snapshot({}, {"done": 7}))
        7
    """

    max_turns_per_call: int

    def advance(self, num_turns: int) -> dict[str, float]:
        """Takes so many turns; returns their metrics."""

    def snapshot(self) -> Snapshot:
        """What `restore` needs to go on from here."""

    def restore(self, snapshot: Snapshot) -> int:
        """Goes on from a snapshot; returns the turns taken before."""


def train_in_turns(
    loop: Loop,
    run: Watcher,
    *,
    num_turns: int,
    steps_per_turn: int,
    updates: Callable[[int], int],
    policy: Callable[[], Any],
) -> None:
    """Takes turns until all are done or the run is to stop; logs after each call, evaluates and saves when that is due.

    A run that is resumed goes on where its last checkpoint was saved. Where an environment fails, what was learned
    until then is saved.

    Args:
        loop: what takes the turns.
        run: what is told of it.
        num_turns: how many there are in all.
        steps_per_turn: environment steps of one.
        updates: turns -> the optimizer steps that were made by then.
        policy: gives the policy as it is now; called when an evaluation is due.

    Examples:
        >>> from types import SimpleNamespace
        >>> from rlsample.rollouts.loop import train_in_turns
        >>> def nothing(*arguments): return None
        >>> run = SimpleNamespace(stopping=False, resumed=None, due_every=None, plan=nothing, save=nothing)
        >>> run.evaluation_due, run.save_due = (lambda step: False), (lambda: False)
        >>> run.log = lambda step, metrics, update: print(step, metrics, update)
        >>> loop = SimpleNamespace(max_turns_per_call=4, advance=lambda count: {"turns": count}, snapshot=nothing)
        >>> train_in_turns(loop, run, num_turns=6, steps_per_turn=100, updates=lambda turns: 10 * turns, policy=nothing)
        400 {'turns': 4} 40
        600 {'turns': 2} 60
    """
    steps_per_call = min(MAX_STEPS_PER_CALL, run.due_every or MAX_STEPS_PER_CALL)
    turns_per_call = max(1, min(loop.max_turns_per_call, steps_per_call // steps_per_turn))
    run.plan(num_turns * steps_per_turn)
    done = 0 if run.resumed is None else loop.restore(run.resumed)
    if done and run.evaluation_due(done * steps_per_turn):  # A stop has interrupted it.
        run.evaluate_when_due(policy(), done * steps_per_turn)
    while done < num_turns and not run.stopping:
        count = min(turns_per_call, num_turns - done)
        try:
            metrics = loop.advance(count)
        except EnvironmentFault:
            run.save(policy(), loop.snapshot())  # As it was before this turn.
            raise
        done += count
        run.log(done * steps_per_turn, metrics, updates(done))
        if run.evaluation_due(done * steps_per_turn):
            run.evaluate_when_due(policy(), done * steps_per_turn)
        if run.save_due():
            run.save(policy(), loop.snapshot())
    run.save(policy(), loop.snapshot())


def raise_for_not_finite(finite: tf.Tensor) -> None:
    """Raises ValueError for the first environment that was not, by the flag that a turn returned.

    Examples:
        >>> from rlsample.rollouts.loop import raise_for_not_finite
        >>> raise_for_not_finite(tf.constant([True, True]))
        >>> raise_for_not_finite(tf.constant([True, False]))
        Traceback (most recent call last):
            ...
        ValueError: Expected finite rewards, observations and values. Received: environment=1. ...
    """
    flags = finite.numpy()
    if not flags.all():
        hint = "Rewards beyond 1e19 count as infinite too: losses square them."
        environment = int(np.argmin(flags))
        raise checks.invalid("finite rewards, observations and values", environment=environment, hint=hint)


def all_finite(tree: Any) -> tf.Tensor:
    """Whether every float in a tree of tensors is finite: a bool scalar, for the host to check.

    Examples:
        >>> from rlsample.rollouts.loop import all_finite
        >>> bool(all_finite({"kernel": tf.ones([2, 2]), "count": tf.constant(3)}))
        True
        >>> bool(all_finite({"kernel": tf.constant([1.0, np.nan])}))
        False
    """
    leaves = [leaf for leaf in tf.nest.flatten(tree) if leaf is not None and leaf.dtype.is_floating]
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(leaf)) for leaf in leaves])


def raise_for_divergence(sound: tf.Tensor, hint: str = "") -> None:
    """Raises ValueError if what was learned is not finite, by `all_finite` of it: before it takes the place of before.

    Losses tell earlier, but not of the last update.

    Examples:
        >>> from rlsample.rollouts.loop import all_finite, raise_for_divergence
        >>> raise_for_divergence(all_finite({"kernel": tf.constant([1.0, np.inf])}), "Lower the learning rate.")
        Traceback (most recent call last):
            ...
        ValueError: Expected finite weights. Received: after='an update'. Training diverged. Lower the learning rate.
    """
    if not bool(sound):
        raise checks.invalid("finite weights", after="an update", hint=f"Training diverged. {hint}".strip())


def finite_metrics(metrics: dict[str, float], hint: str = "") -> dict[str, float]:
    """Returns the metrics.

    Raises:
        ValueError: a loss (`losses/*`) or the norm of a gradient is not finite: training has diverged. Other metrics
            may be infinite while it goes well.

    Examples:
        >>> from rlsample.rollouts.loop import finite_metrics
        >>> finite_metrics({"losses/policy": 0.5, "charts/best_return": -np.inf})
        {'losses/policy': 0.5, 'charts/best_return': -inf}
        >>> finite_metrics({"losses/policy": np.nan})
        Traceback (most recent call last):
            ...
        ValueError: Expected finite losses and gradients. Received: losses/policy=nan. Training diverged.
    """
    vital = {name: value for name, value in metrics.items() if name.startswith("losses/") or name.endswith("_norm")}
    if not np.isfinite(list(vital.values())).all():
        raise checks.invalid("finite losses and gradients", hint=f"Training diverged. {hint}".strip(), **vital)
    return metrics
