"""One run and its folder: claimed before anything is computed, given every metric, left with what was learned.

    runs/mine/
        config.yaml          the resolved configuration; `load` gives it back
        metrics.jsonl        one record a line
        checkpoint/          what a run resumes from, and the policy's weights; best/ in it: those that did best
        evaluation.json      how good the policy is; written at the end, so that only a finished run has it
        learning_curve.png   return and temperature against environment steps
        wandb/               Weights & Biases files, unless it is disabled
        tensorboard/         TensorBoard's files, if they are asked for

A folder with a `config.yaml` holds a run, finished or not; another run never writes over it, it can only be resumed.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlsample import checks
from rlsample.rollouts.evaluation import Evaluation, EvaluationStopped, SupportsAct
from rlsample.rollouts.snapshot import Snapshot
from rlsample.runs import checkpoint, tracking
from rlsample.runs.config import PopulationConfig, RunConfig
from rlsample.runs.evaluating import evaluate
from rlsample.runs.metrics import MEAN_RETURN
from rlsample.runs.picture import draw_learning_curve
from rlsample.runs.progress import Progress
from rlsample.runs.run_folder import BEST, CHECKPOINT, EVALUATION, METRICS, PICTURE, TENSORBOARD, claim, reopen, replace
from rlsample.runs.scale_config import check_scale
from rlsample.runs.stopping import StopSignals
from rlsample.runs.tensorboard_tracker import TensorBoard
from rlsample.runs.wandb_tracker import Wandb, open_wandb

SECONDS_BETWEEN_CHECKPOINTS = 60.0
"""Where the configuration names no number of steps."""


class Run:
    """A training run, open between `with Run(...) as run:` and the end of that block.

    The agent's loop gives it metrics with `log`, asks `stopping` after every update, and returns its policy as
    soon as that is true. The first Ctrl-C or SIGTERM asks for a clean stop; the second one stops at once.

    Args:
        folder: the run folder; must not hold a run yet, unless it is resumed.
        config: the configuration; written to the folder first of all.
        progress: whether to show progress on the standard output.
        resume: whether to go on with the run in the folder, from its last checkpoint; from the beginning if it has
            none. What it logged after that checkpoint is taken out of `metrics.jsonl`.

    Attributes:
        folder: as given.
        config: the configuration.
        stopping: whether the loop should come to an end.
        step: environment steps so far, as last logged.
        update: optimizer steps so far, as last logged.
        resumed: what the training loop has to go on from; None in a run that begins.
        due_every: environment steps after which an evaluation or a checkpoint may be due; None for no matter.

    Raises:
        ConfigError: on entering, if what it is to be tracked by is not installed.
        RunFolderError: on entering, if the folder holds a run, is a file, or cannot be written to; if it is resumed and
            holds none, a finished one, a damaged one, or one that is still going on.

    Examples:
        >>> from pathlib import Path
        >>> from rlsample.runs.shipped import known_agents
        >>> words = ["tracking.wandb=disabled", "total_steps=100"]
        >>> config = runs.load_config("cartpole", words, agents=known_agents())
        >>> with runs.Run("runs/mine", config, progress=False) as run:  # a loop of one's own
        ...     for step in range(10, 110, 10):
        ...         run.log(step, {"charts/episodic_return": 20.0 + step})
        ...         if run.stopping:
        ...             break
        >>> sorted(path.name for path in Path("runs/mine").iterdir())
        ['config.yaml', 'metrics.jsonl']
    """

    def __init__(
        self, folder: str | Path, config: RunConfig[Any], *, progress: bool = True, resume: bool = False
    ) -> None:
        self.folder = Path(folder)
        self.config = config
        self.stopping = False
        self.step = 0
        self.update = 0
        self._show = progress
        self._progress: Progress | None = None
        self._signal = 0
        self._signals = StopSignals(self._stop)
        self._trackers: list[tracking.Tracker] = []
        self._wandb: Wandb | None = None
        self._start = self._saved_at = time.monotonic()
        self._saved_step, self._saved_whole = -1, False
        self._earlier_seconds, self._earlier_step = 0.0, 0
        self._evaluations, self._best = 0, -math.inf
        self._logged_temperature: float | None = None
        self._lock: int | None = None
        self.resumed: Snapshot | None = None
        self._resume = resume
        intervals = config.evaluation.every, config.checkpoint.every
        self.due_every = min((every for every in intervals if every is not None), default=None)

    def __enter__(self) -> Run:
        """Claims the folder, opens the trackers and starts to listen to signals."""
        tracking.check_packages(self.config.tracking)
        check_scale(self.config.scale)
        if self._resume:
            self._lock, self.step, self.resumed = reopen(self.folder, self.config)
            self._restore(self.resumed)
        else:
            self._lock = claim(self.folder, self.config)
        self._trackers.append(tracking.JsonLines(self.folder / METRICS))
        if self._show:
            self._progress = Progress(self.config.total_steps)
            self._trackers.append(self._progress)
        if self.config.tracking.tensorboard:
            self._trackers.append(TensorBoard(self.folder / TENSORBOARD, self.step))
        self._wandb = open_wandb(self.config, self.folder, _warn, step=self.step)
        if self._wandb is not None:
            self._trackers.append(self._wandb)
        self._signals.open()
        self._start = self._saved_at = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        """Closes the trackers and gives the signals back."""
        self._signals.close()
        for tracker in self._trackers:
            tracker.close(failed=kind is not None)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def seconds(self) -> float:
        """Wall-clock time that the run took so far, before it was resumed too."""
        return self._earlier_seconds + time.monotonic() - self._start

    @property
    def saved_step(self) -> int | None:
        """Environment steps of the latest checkpoint that the run can be resumed from; None without one."""
        return self._saved_step if self._saved_whole else None

    @property
    def exit_code(self) -> int:
        """What the program should exit with: 0, or 128 + the signal that stopped the run."""
        return 128 + self._signal if self._signal else 0

    def plan(self, total_steps: int) -> None:
        """Takes the environment steps that the loop will take, for the progress shown; more than asked for are said.

        For a loop to call once, before its first step, where it takes whole rollouts.
        """
        if self._progress is not None:
            self._progress.plan(total_steps)

    def say(self, text: str) -> None:
        """Shows a line to the person who watches, if progress is shown."""
        if self._progress is not None:
            self._progress.say(text)

    def log(self, step: int, metrics: Mapping[str, Any], update: int | None = None) -> None:
        """Records the metrics of one moment, everywhere the run is tracked.

        Args:
            step: environment steps so far.
            metrics: scalars by name: `charts/episodic_return`, `charts/episodic_length`, `losses/*`, `policy/entropy`.
                NaN is recorded as such. `sampler/temperature` (the schedule's value at `step`; one that adapts is
                for the loop to log) and `charts/steps_per_second` are added where missing.
            update: optimizer steps so far.
        """
        self.step = int(step)
        record: dict[str, float] = {"global_step": self.step}
        if update is not None:
            self.update = int(update)
            record["update"] = self.update
        if "sampler/temperature" not in metrics:
            record["sampler/temperature"] = self._temperature()
        if "charts/steps_per_second" not in metrics:
            elapsed = time.monotonic() - self._start
            record["charts/steps_per_second"] = (self.step - self._earlier_step) / max(elapsed, 1e-9)
        record |= {name: tracking.as_scalar(name, value) for name, value in metrics.items()}
        self._logged_temperature = record["sampler/temperature"]
        self._track(record)

    def save_due(self) -> bool:
        """Whether `checkpoint.every` steps, or else a minute, have passed since the last checkpoint."""
        every = self.config.checkpoint.every
        if every is None:
            return time.monotonic() - self._saved_at >= SECONDS_BETWEEN_CHECKPOINTS
        return self.step // every > max(self._saved_step, 0) // every

    def save(self, policy: SupportsAct, snapshot: Snapshot | None = None, step: int | None = None) -> None:
        """Writes a checkpoint to the run folder; the latest `checkpoint.keep` of them stay.

        Args:
            policy: its weights are saved.
            snapshot: what the training loop needs to go on from here; without one the run cannot be resumed.
            step: environment steps so far; by default as last logged.

        Raises:
            FileNotFoundError: somebody removed the run folder.
            OSError, tf.errors.OpError: the disk is full or not writable; the checkpoints before are as they were.
        """
        self.step = self.step if step is None else int(step)
        if self._saved_step == self.step and (snapshot is None or self._saved_whole):
            return
        if not self.folder.is_dir():
            hint = "Leave it there until the run has ended."
            raise FileNotFoundError(str(checks.invalid("the run folder to stay", removed=str(self.folder), hint=hint)))
        if snapshot is not None:
            own = {
                "update": self.update,
                "seconds": self.seconds,
                "evaluations": self._evaluations,
                "best": self._best if math.isfinite(self._best) else None,
            }
            snapshot = snapshot._replace(numbers={**snapshot.numbers, "run": own})
        folder, keep = self.folder / CHECKPOINT, self.config.checkpoint.keep
        files = checkpoint.save(folder, self.step, model=policy.model, snapshot=snapshot, keep=keep)
        if self._wandb is not None and self.config.tracking.artifacts:
            self._wandb.keep("checkpoint", self.step, files)
        self._saved_step, self._saved_whole, self._saved_at = self.step, snapshot is not None, time.monotonic()

    def _restore(self, snapshot: Snapshot | None) -> None:
        if snapshot is None:
            return
        own = snapshot.numbers["run"]
        self.update, self._evaluations = own["update"], own["evaluations"]
        self._best = -math.inf if own["best"] is None else own["best"]
        self._earlier_seconds, self._earlier_step = own["seconds"], self.step
        self._saved_step, self._saved_whole = self.step, True

    def evaluate(self, policy: SupportsAct) -> Evaluation | None:
        """Evaluates a policy as the configuration asks, logs the outcome and writes it to `evaluation.json`.

        None if the run was asked to stop meanwhile; an evaluation that begins then is finished.
        """
        seconds, outcome = self.seconds, self._judge(policy)
        if outcome is not None:
            summary = {name: value for name, value in dataclasses.asdict(outcome).items() if name != "returns"}
            summary |= {"global_step": self.step, "seconds": round(seconds, 3)}
            replace(self.folder / EVALUATION, json.dumps(summary) + "\n")
        return outcome

    def finish(self, policy: SupportsAct) -> Evaluation | None:
        """Leaves a trained policy in the folder: saves it, evaluates it unless the run was stopped, draws the picture.

        Returns:
            The evaluation; None if the run was asked to stop.
        """
        self.save(policy)
        outcome = None if self.stopping else self.evaluate(policy)
        agent = self.config.agent
        title = f"{self.config.env.id}, {agent.name}, {self.config.sampler.name}, seed {self.config.seed}"
        num_envs = self.config.env.num_envs * (agent.population if isinstance(agent, PopulationConfig) else 1)
        draw_learning_curve(self.folder / METRICS, self.folder / PICTURE, title, num_envs)
        return outcome

    def evaluation_due(self, step: int) -> bool:
        """Whether `evaluation.every` steps have passed since the last evaluation."""
        return self.config.evaluation.due(step, self._evaluations)

    def evaluate_when_due(self, policy: SupportsAct, step: int) -> None:
        """Evaluates the policy if `evaluation.every` steps have passed since it last did, and keeps the best one."""
        every = self.config.evaluation.every
        if every is None or not self.evaluation_due(step):
            return
        self.step = int(step)
        outcome = self._judge(policy)
        if outcome is None:  # It is still due, when the run goes on.
            return
        self._evaluations = step // every
        if outcome.mean_return > self._best:
            self._best = outcome.mean_return
            checkpoint.save(self.folder / CHECKPOINT / BEST, self.step, model=policy.model)

    def _judge(self, policy: SupportsAct) -> Evaluation | None:
        """Evaluates a policy and logs the outcome; None if the run was asked to stop meanwhile."""
        stopping = self.stopping
        try:
            outcome = evaluate(policy, self.config, should_stop=lambda: self.stopping and not stopping)
        except EvaluationStopped:
            return None
        record = {"global_step": self.step, "sampler/temperature": self._temperature()}
        self._track(record | {MEAN_RETURN: outcome.mean_return, "evaluation/std_return": outcome.std_return})
        return outcome

    def _temperature(self) -> float:
        """By the schedule; as last logged if it adapts."""
        temperature = self.config.temperature
        if temperature.metric is not None and self._logged_temperature is not None:
            return self._logged_temperature
        return float(temperature.at(temperature.initial(), self.step))

    def _track(self, record: dict[str, float]) -> None:
        for tracker in self._trackers:
            tracker.log(record)

    def _stop(self, number: int) -> None:
        self.stopping, self._signal = True, number


def _warn(message: str) -> None:
    print(f"Warning: {message}", flush=True)
