"""Where the metrics of a run go: a file of JSON lines always, other trackers as the configuration says.

A record is one flat dictionary, `{"global_step": 8, "update": 1, "charts/episodic_return": 21.0, ...}`. NaN and the
infinities are kept, as Python's `json` writes them (`NaN`, `Infinity`): a loss that became NaN has to show.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from rlsample import checks
from rlsample.runs.block import ConfigError
from rlsample.runs.config import TrackingConfig

Record = Mapping[str, float]


class Tracker(Protocol):
    """Something that takes the metrics of a run as they come."""

    def log(self, record: Record) -> None:
        """Takes the metrics of one moment, `global_step` among them."""

    def close(self, failed: bool) -> None:
        """Ends it: no more metrics will come; `failed` says whether because of an error."""


class JsonLines:
    """Writes each record as one line, flushed at once, so that a killed run leaves what it had logged."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def log(self, record: Record) -> None:
        """Appends one line."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def close(self, failed: bool = False) -> None:
        """Closes the file."""
        self._file.close()


def as_scalar(name: str, value: Any) -> float:
    """The value of a metric as a number; raises ValueError if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise checks.invalid(f"the metric {name!r} to be a scalar", value=value) from None


def read_metrics(path: str | Path) -> list[dict[str, float]]:
    """Returns the records of a `metrics.jsonl`; a last line that a kill cut short is left out.

    Raises:
        ConfigError: a line is no record; names it.

    Examples:
        >>> with open("metrics.jsonl", "w") as file:
        ...     print('{"global_step": 8, "losses/policy": 0.5}', file=file)
        ...     print('{"global_step": 16, "loss', end="", file=file)  # killed here
        >>> runs.read_metrics("metrics.jsonl")
        [{'global_step': 8, 'losses/policy': 0.5}]
    """
    records = []
    for number, line in enumerate(Path(path).read_bytes().splitlines(keepends=True), start=1):
        if not line.endswith(b"\n"):
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or "global_step" not in record:
            hint = "Remove the line to go without it."
            rule = "a record with its global_step in every line"
            raise ConfigError(str(checks.invalid(rule, path=str(path), line=number, hint=hint)))
        records.append(record)
    return records


def read_evaluation(path: str | Path) -> dict[str, float] | None:
    """Returns what an `evaluation.json` says; None where there is none.

    Raises:
        ConfigError: it holds something else.

    Examples:
        >>> with open("evaluation.json", "w") as file:
        ...     print('{"mean_return": 500.0, "episodes": 20}', file=file)
        >>> runs.tracking.read_evaluation("evaluation.json")
        {'mean_return': 500.0, 'episodes': 20}
    """
    if not Path(path).exists():
        return None
    try:
        evaluation = json.loads(Path(path).read_bytes())
    except ValueError:
        evaluation = None
    if not isinstance(evaluation, dict) or "mean_return" not in evaluation:
        hint = "Remove the file, and resume the run, which then evaluates once more."
        raise ConfigError(str(checks.invalid("an evaluation with its mean_return", path=str(path), hint=hint)))
    return evaluation


def check_packages(tracking: TrackingConfig) -> None:
    """Checks that what a run is to be tracked by is installed; takes no TensorFlow.

    Raises:
        ConfigError: it is not; says how to install it.
    """
    if tracking.tensorboard and importlib.util.find_spec("tensorboard") is None:
        hint = "pip install 'rlsample[tensorboard]', or tracking.tensorboard=false."
        raise ConfigError(f"tracking.tensorboard: Expected TensorBoard to be installed. Received: none. {hint}")
