"""The folder of a run: claimed by one run, locked while it goes on, opened again to resume it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlsample import checks
from rlsample.runs.block import ConfigError
from rlsample.runs.config import RunConfig
from rlsample.runs.loading import config_to_yaml
from rlsample.runs.metrics import MEAN_RETURN
from rlsample.runs.tracking import read_metrics

if TYPE_CHECKING:
    from rlsample.rollouts.snapshot import Snapshot

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

CONFIG, METRICS, CHECKPOINT, BEST = "config.yaml", "metrics.jsonl", "checkpoint", "best"
EVALUATION, PICTURE, TRACEBACK = "evaluation.json", "learning_curve.png", "traceback.txt"
TENSORBOARD = "tensorboard"


class RunFolderError(ValueError):
    """A folder that a run cannot be written to; the message says why and what to do.

    Examples:
        >>> from rlsample.runs.shipped import known_agents
        >>> config = runs.load_config("cartpole", ["tracking.wandb=disabled"], agents=known_agents())
        >>> with runs.Run("runs/mine", config, progress=False):
        ...     pass
        >>> try:
        ...     runs.train(config, "runs/mine", progress=False)
        ... except runs.RunFolderError as error:
        ...     print(str(error).partition(".")[0])
        Expected a run folder without a run in it
    """


def claim(folder: Path, config: RunConfig[Any]) -> int:
    """Makes the folder and writes the configuration; of two runs that try, exactly one gets it.

    Returns:
        The lock, as of `lock`.

    Raises:
        RunFolderError: it holds a run, is a file, or cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / CONFIG).open("x", encoding="utf-8") as file:
            file.write(config_to_yaml(config))
    except FileExistsError:
        raise _taken(folder) from None
    except OSError as cause:
        error = checks.invalid(f"a folder that can be written to ({cause.strerror})", run_dir=str(folder))
        raise RunFolderError(str(error)) from None
    return lock(folder)


def check_free(folder: Path) -> None:
    """Raises RunFolderError if a folder holds a run, or is a file: before anything is computed for another one."""
    if (folder / CONFIG).exists() or (folder.exists() and not folder.is_dir()):
        raise _taken(folder)


def _taken(folder: Path) -> RunFolderError:
    rule = "a run folder without a run in it" if folder.is_dir() else "a folder for the run"
    hint = f"Choose another --run-dir, remove this one, or go on with it: --resume {folder}."
    return RunFolderError(str(checks.invalid(rule, run_dir=str(folder), hint=hint)))


def reopen(folder: Path, config: RunConfig[Any]) -> tuple[int, int, Snapshot | None]:
    """Opens the folder of a run that is to go on, and undoes what it did after its last checkpoint.

    Returns:
        (the lock, the environment steps taken, what training goes on from). Without a checkpoint: 0 and None.

    Raises:
        RunFolderError: it holds no run, a finished one, one that is going on, or one without a usable checkpoint.
    """
    from rlsample.runs import checkpoint

    if not (folder / CONFIG).is_file():
        raise RunFolderError(str(checks.invalid("the folder of a run to resume", run_dir=str(folder))))
    held = lock(folder)
    step, snapshot = 0, None
    if checkpoint.exists(folder / CHECKPOINT):
        try:
            step, snapshot = checkpoint.load_snapshot(folder / CHECKPOINT)
        except checkpoint.CheckpointError as error:
            os.close(held)
            hint = "No other one in the folder is whole: begin another run, from its config.yaml."
            raise RunFolderError(f"{error} {hint}") from None
    if (folder / EVALUATION).exists() and step >= config.total_steps:
        hint = f"Raise it to go on: total_steps={2 * max(step, config.total_steps)}."
        received = {"run_dir": str(folder), "total_steps": config.total_steps}
        os.close(held)
        raise RunFolderError(str(checks.invalid("a run that is not finished", **received, hint=hint)))
    try:
        records = read_metrics(folder / METRICS) if (folder / METRICS).exists() else None
    except ConfigError as error:  # Before anything of the run is changed.
        os.close(held)
        raise RunFolderError(str(error)) from None
    (folder / EVALUATION).unlink(missing_ok=True)
    replace(folder / CONFIG, config_to_yaml(config))
    if records is not None:
        # An evaluation that a stop has interrupted is made again.
        again = snapshot is not None and config.evaluation.due(step, snapshot.numbers["run"]["evaluations"])
        last = step - 1 if again else step
        kept = [each for each in records if each["global_step"] <= (last if MEAN_RETURN in each else step)]
        replace(folder / METRICS, "".join(json.dumps(record) + "\n" for record in kept))
    return held, step, snapshot


def lock(folder: Path) -> int:
    """Holds the folder until the descriptor that is returned is closed, or the process ends, however it ends.

    Raises:
        RunFolderError: another run holds it.
    """
    if fcntl is None:  # On Windows two runs are told apart by the configuration alone.
        return os.open(os.devnull, os.O_RDONLY)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        error = checks.invalid("a run that is not going on elsewhere", run_dir=str(folder))
        raise RunFolderError(str(error)) from None
    return descriptor


def replace(path: Path, text: str) -> None:
    """Replaces a file's text in one step."""
    temporary = path.with_suffix(".new")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
