"""Runs on disk, and those of them that differ by their seed alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from rlsample import checks
from rlsample.runs import ConfigError, read_metrics
from rlsample.runs.loading import differences
from rlsample.runs.run_folder import CONFIG, EVALUATION, METRICS


class RunOnDisk(NamedTuple):
    """What a run left; read without its agent or environment, which may not be there.

    Attributes:
        folder: where it is.
        config: as plain data.
        records: of its metrics.
        evaluation: what `evaluation.json` says; None if it is not finished.
        video: a recording, if there is one.
    """

    folder: Path
    config: dict[str, Any]
    records: list[dict[str, float]]
    evaluation: dict[str, float] | None
    video: Path | None


class Group(NamedTuple):
    """Runs of one configuration, with different seeds; `name` says what tells it from the other groups."""

    name: str
    runs: list[RunOnDisk]


def read(folder: Path) -> RunOnDisk:
    """Reads a run folder.

    Raises:
        ConfigError: there is no run in it.
    """
    if not (folder / CONFIG).is_file() or not (folder / METRICS).is_file():
        raise ConfigError(str(checks.invalid("the folder of a run", folder=str(folder))))
    config = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
    evaluation = json.loads((folder / EVALUATION).read_text("utf-8")) if (folder / EVALUATION).exists() else None
    return RunOnDisk(folder, config, read_metrics(folder / METRICS), evaluation, next(folder.glob("video/*.mp4"), None))


def group(runs: Sequence[RunOnDisk]) -> tuple[list[Group], dict[str, list[Any]]]:
    """Puts runs together that differ by their seed alone.

    Returns:
        (groups in the order of their first runs; dotted name of each field in which they differ -> value in each)
    """
    found: list[list[RunOnDisk]] = []
    for run in runs:
        for others in found:
            if not _different(run, others[0]):
                others.append(run)
                break
        else:
            found.append([run])
    names = dict.fromkeys(name for others in found[1:] for name in _different(others[0], found[0][0]))
    table = {name: [_value(others[0].config, name) for others in found] for name in names}
    titles = [_title(table, index) or _usual_title(others[0]) for index, others in enumerate(found)]
    return [Group(title, others) for title, others in zip(titles, found, strict=True)], table


def _different(one: RunOnDisk, other: RunOnDisk) -> dict[str, tuple[Any, Any]]:
    found = differences(one.config, other.config)
    found.pop("seed", None)
    return found


def _value(config: Any, name: str) -> Any:
    for part in name.split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return config


def _title(table: dict[str, list[Any]], index: int) -> str:
    return ", ".join(f"{name}={values[index]}" for name, values in table.items() if values[index] is not None)


def _usual_title(run: RunOnDisk) -> str:
    return f"{run.config['agent']['name']}, {run.config['sampler']['name']}"
