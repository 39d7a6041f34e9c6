"""What runs left in their folders; read without their agents or environments, which may not be there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rlsample import checks
from rlsample.runs import ConfigError, read_metrics, yaml_files
from rlsample.runs.loading import differences
from rlsample.runs.run_folder import CONFIG, EVALUATION, METRICS
from rlsample.runs.tracking import read_evaluation


class RunOnDisk(NamedTuple):
    """What a run left.

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


def read(folder: Path) -> RunOnDisk:
    """Reads a run folder.

    Raises:
        ConfigError: there is no run in it.
    """
    if not (folder / CONFIG).is_file() or not (folder / METRICS).is_file():
        raise ConfigError(str(checks.invalid("the folder of a run", folder=str(folder))))
    try:
        config = yaml_files.read(folder / CONFIG)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    evaluation = read_evaluation(folder / EVALUATION)
    return RunOnDisk(folder, config, read_metrics(folder / METRICS), evaluation, next(folder.glob("video/*.mp4"), None))


def check_same(what: str, folder: Path, there: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Makes sure that what is in a folder can stand for what is asked for.

    Args:
        what: it is, such as "run".
        folder: where it is.
        there: its configuration, as plain data.
        asked: the one that is asked for.

    Raises:
        ConfigError: they differ; says where.
    """
    found = differences(there, asked)
    if found:
        lines = [f"  {name}: {here!r} there, {wanted!r} asked for" for name, (here, wanted) in found.items()]
        rule = f"Expected the {what} in {folder} to be of this configuration. Received another one:"
        raise ConfigError("\n".join([rule, *lines, "Choose another --folder, or remove this one."]))
