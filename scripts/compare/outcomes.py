"""What the runs of a comparison came to."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import gymnasium
import numpy as np

from rlsample.runs.metrics import MEAN_RETURN

from ..curves import Series, series_of
from ..processes import Job
from ..runs_on_disk import RunOnDisk, read
from ..variants import Variant
from .study import Task


@dataclasses.dataclass(eq=False, kw_only=True)
class ComparedRun(Job):
    """One run of a comparison."""

    task: Task
    variant: Variant
    seed: int


class Outcome(NamedTuple):
    """What one run came to.

    Attributes:
        environment: the id.
        variant: its name.
        seed: its seed.
        final_return: mean return of the evaluation after training.
        threshold: return that counts as solved; None if nobody says one.
        steps: environment steps until an evaluation first reached it; None if none did.
        seconds: of training.
    """

    environment: str
    variant: str
    seed: int
    final_return: float
    threshold: float | None
    steps: int | None
    seconds: float


@dataclasses.dataclass(frozen=True)
class Results:
    """All outcomes.

    Attributes:
        tasks: the environments.
        outcomes: (index of the task, variant) -> outcome of each seed, in order of the seeds.
        curves: likewise -> evaluations of each seed.
    """

    tasks: list[Task]
    outcomes: Mapping[tuple[int, str], list[Outcome]]
    curves: Mapping[tuple[int, str], list[Series]]

    @property
    def variants(self) -> list[str]:
        """Their names."""
        return list(dict.fromkeys(variant for _, variant in self.outcomes))

    @property
    def normalised(self) -> bool:
        """Whether every environment says which return scores 0 and which 1."""
        return all(task.settings.low is not None for task in self.tasks)

    def environment(self, task: int) -> str:
        """The id, or ids where variants change it."""
        ids = (each.environment for (index, _), group in self.outcomes.items() if index == task for each in group)
        return ", ".join(dict.fromkeys(ids))

    def returns(self, variant: str) -> list[np.ndarray]:
        """The final returns in each task, `[seeds]` each."""
        return [
            np.array([outcome.final_return for outcome in self.outcomes[task, variant]])
            for task in range(len(self.tasks))
        ]

    def scores(self, variant: str) -> list[np.ndarray]:
        """The final returns, normalised where all environments say how."""
        return [self.score(task, returns) for task, returns in enumerate(self.returns(variant))]

    def score(self, task: int, returns: np.ndarray) -> np.ndarray:
        """(return - low) / (high - low); the return itself unless all environments say `low` and `high`."""
        settings = self.tasks[task].settings
        if not self.normalised or settings.low is None or settings.high is None:
            return returns
        return (returns - settings.low) / (settings.high - settings.low)


def outcome_of(job: ComparedRun, run: RunOnDisk, default_threshold: float | None) -> Outcome:
    """Reads the outcome of a finished run; the environment's own `reward_threshold` counts where nobody says one."""
    if run.evaluation is None:
        raise RuntimeError(f"The run in {run.folder} is not finished.")
    environment, threshold = run.config["env"]["id"], job.task.settings.threshold
    threshold = default_threshold if threshold is None else threshold
    if threshold is None and environment in gymnasium.registry:
        threshold = gymnasium.spec(environment).reward_threshold
    evaluations = series_of(run.records, MEAN_RETURN).items()
    solved = [int(step) for step, value in evaluations if threshold is not None and value >= threshold]
    final = run.evaluation["mean_return"], run.evaluation["seconds"]
    return Outcome(environment, job.variant.name, job.seed, final[0], threshold, min(solved, default=None), final[1])


def gather(tasks: list[Task], jobs: Iterable[ComparedRun], default_threshold: float | None) -> Results:
    """Reads what finished runs left."""
    outcomes: dict[tuple[int, str], list[Outcome]] = {}
    curves: dict[tuple[int, str], list[Series]] = {}
    for job in jobs:
        run, place = read(job.folder), (tasks.index(job.task), job.variant.name)
        outcomes.setdefault(place, []).append(outcome_of(job, run, default_threshold))
        curves.setdefault(place, []).append(series_of(run.records, MEAN_RETURN))
    return Results(tasks, outcomes, curves)


def write_csv(path: Path, results: Results) -> None:
    """Writes one line for each run."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Outcome._fields)
        for group in results.outcomes.values():
            writer.writerows(group)
