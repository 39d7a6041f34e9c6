"""Runs that differ by their seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rlsample.runs.loading import differences

from ..runs_on_disk import RunOnDisk


class Group(NamedTuple):
    """Runs of one configuration, with different seeds; `name` says what tells it from the other groups."""

    name: str
    runs: list[RunOnDisk]


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
