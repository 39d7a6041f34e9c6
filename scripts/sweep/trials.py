"""The trials of a sweep as runs: begun, watched, ended early, told, tried once more when they fail."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rlsample.runs import read_metrics
from rlsample.runs.metrics import MEAN_RETURN
from rlsample.runs.numbers import shown
from rlsample.runs.run_folder import EVALUATION, METRICS

from ..curves import series_of
from ..processes import Job
from ..variants import Variant
from .ranges import Sweep
from .search import Search, words_for

if TYPE_CHECKING:
    import optuna

METRIC = MEAN_RETURN
"""What is searched for: the highest mean return of the evaluation after training."""

REFUSED = 2
"""The exit code of a run whose configuration, or folder, cannot be used."""


@dataclasses.dataclass(eq=False, kw_only=True)
class TrialRun(Job):
    """The run of one trial.

    Attributes:
        trial: what Optuna knows of it.
        group: what it is a trial of.
        title: what it is called.
        pruned: whether it was asked to end because others did better.
        seen: bytes of its metrics that were read.
    """

    trial: optuna.trial.Trial
    group: Variant
    title: str
    pruned: bool = False
    seen: int = 0


def trial_folder(folder: Path, sweep: Sweep, group: Variant, number: int) -> Path:
    """The run folder of a trial."""
    return (folder / group.folder if sweep.each else folder) / f"trial{number:03}"


class Trials:
    """All trials of a sweep, for `scripts.processes.carry_out`.

    Args:
        folder: of the sweep.
        config: the configuration that is varied.
        words: laid over it in every trial.
        sweep: the ranges.
        search: chooses the values.
        every: environment steps between the evaluations of a run; None if there is one, at the end.
    """

    def __init__(
        self, folder: Path, config: Path, words: list[str], sweep: Sweep, search: Search, every: int | None
    ) -> None:
        self._folder, self._config, self._words = folder, config, words
        self._sweep, self._search, self._every = sweep, search, every

    def jobs(self) -> Iterator[TrialRun]:
        """Yields the trials that an earlier call left without an end, then new ones, the groups in turn."""
        groups = self._sweep.groups()
        for group in groups:
            for trial in self._search.trials(group):
                if not trial.state.is_finished():
                    yield self._job(group, self._search.reopen(group, trial.number))
        while short := [group for group in groups if len(self._search.trials(group)) < self._sweep.trials]:
            group = min(short, key=lambda each: len(self._search.trials(each)))
            yield self._job(group, self._search.ask(group))

    def watch(self, job: TrialRun) -> None:
        """Reports the evaluations of a trial under way; ends it if it does worse than the others did."""
        path = job.folder / METRICS
        size = path.stat().st_size if path.exists() else 0
        if job.pruned or self._every is None or size == job.seen:
            return
        job.seen = size
        known = self._search.trials(job.group)[job.trial.number].intermediate_values
        for step, value in series_of(read_metrics(path), METRIC).items():
            # Numbered, since trials with other rollouts are not evaluated at the same steps.
            number = int(step // self._every)
            if number not in known:
                job.trial.report(value, number)
        if job.trial.should_prune():
            job.pruned = True
            job.stop()

    def ended(self, job: TrialRun, code: int) -> TrialRun | None:
        """Tells the search what a trial came to; returns one that failed for the first time, to be run again."""
        if job.finished:
            self._tell(job, json.loads((job.folder / EVALUATION).read_text(encoding="utf-8"))["mean_return"])
        elif job.pruned:
            print(f"{job.title}: ended early, {self._text(job)}", flush=True)
            self._search.tell(job.group, job.trial.number, None, pruned=True)
        elif job.told_to_stop:
            pass  # It goes on at the next call.
        elif code == REFUSED and job.resumed:
            print(f"{job.title}: left for another call, its folder cannot be used now: {job.log}", flush=True)
        elif code == REFUSED or job.trial.user_attrs.get("failed"):
            print(f"{job.title}: failed (exit code {code}), its output is in {job.log}; {self._text(job)}", flush=True)
            self._search.tell(job.group, job.trial.number, None)
        else:
            print(f"{job.title}: failed (exit code {code}), its output is in {job.log}; once more", flush=True)
            job.trial.set_user_attr("failed", True)
            return job
        return None

    def _job(self, group: Variant, trial: optuna.trial.Trial) -> TrialRun:
        words = [*self._words, *group.words, *words_for(self._sweep.ranges, trial.params)]
        folder = trial_folder(self._folder, self._sweep, group, trial.number)
        title = f"{group.name} trial {trial.number}" if self._sweep.each else f"trial {trial.number}"
        return TrialRun(config=self._config, words=words, folder=folder, trial=trial, group=group, title=title)

    def _tell(self, job: TrialRun, value: float) -> None:
        usable = math.isfinite(value)
        self._search.tell(job.group, job.trial.number, value if usable else None)
        print(f"{job.title}: {shown(value)}, {self._text(job)}", flush=True)

    def _text(self, job: TrialRun) -> str:
        return " ".join(words_for(self._sweep.ranges, job.trial.params))
