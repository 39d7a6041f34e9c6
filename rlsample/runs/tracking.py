"""Where the metrics of a run go: a file of JSON lines always, Weights & Biases unless it is turned off.

A record is one flat dictionary, `{"global_step": 8, "update": 1, "charts/episodic_return": 21.0, ...}`. NaN and the
infinities are kept, as Python's `json` writes them (`NaN`, `Infinity`): a loss that became NaN has to show.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from rlsample.runs.config import RunConfig
from rlsample.runs.loading import config_to_dict

Record = Mapping[str, float]

CONNECT_SECONDS = 4.0
"""How long an unreachable server may hold up the start of a run, twice: once to connect, once to start."""

FINISH_SECONDS = 60.0
"""How long uploading may hold up its end; what is not sent by then stays in the run folder."""


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


def read_metrics(path: str | Path) -> list[dict[str, float]]:
    """Returns the records of a `metrics.jsonl`; a last line that a kill cut short is left out."""
    lines = Path(path).read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


class Wandb:
    """Gives each record to a Weights & Biases run, whose horizontal axis is `global_step`.

    Args:
        run: what `wandb.init` returned.
        warn: called once if its process breaks down, after which records go nowhere: training is worth more.
    """

    def __init__(self, run: Any, warn: Callable[[str], None]) -> None:
        self._run = run
        self._warn = warn
        run.define_metric("global_step")
        run.define_metric("*", step_metric="global_step")

    def log(self, record: Record) -> None:
        """Logs the record whole; wandb's own step is left to count, for it drops what comes out of order."""
        if self._run is not None:
            self._attempt(lambda: self._run.log(dict(record)))

    def close(self, failed: bool = False) -> None:
        """Finishes the run."""
        if self._run is not None:
            self._attempt(lambda: self._run.finish(exit_code=int(failed)))

    def _attempt(self, call: Callable[[], Any]) -> None:
        try:
            call()
        except Exception as error:  # Whatever broke over there, the run goes on.
            self._run = None
            self._warn(f"Weights & Biases broke down ({_reason(error)}); the run goes on without it.")


def open_wandb(config: RunConfig[Any], folder: Path, warn: Callable[[str], None]) -> Wandb | None:
    """Starts a Weights & Biases run whose files live in `folder`.

    What describes the machine, the code or the console is not recorded, and nothing is sent unless
    `tracking.wandb` is `online`. When going online fails, the run is recorded offline instead.

    Args:
        config: the run's configuration; recorded whole.
        folder: the run folder.
        warn: called once, with a sentence, when something else happens than was asked for.

    Returns:
        The tracker, or None when it is disabled or wandb is not installed.
    """
    mode = config.tracking.wandb
    if mode == "disabled":
        return None
    # Read by wandb when it is imported. Without the first, wandb-core looks up the address of its error reporter.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        import wandb
    except ImportError:
        warn("Weights & Biases is not installed, so the run is not tracked there: pip install wandb")
        return None
    if mode == "online":
        try:
            _check_online(wandb)
            return Wandb(_start(wandb, config, folder, "online"), warn)
        except (wandb.Error, OSError) as error:
            warn(
                f"Weights & Biases is not available ({_reason(error)}); recording offline. "
                "Send it later with `wandb sync`."
            )
    try:
        return Wandb(_start(wandb, config, folder, "offline"), warn)
    except (wandb.Error, OSError) as error:
        warn(f"Weights & Biases could not be started ({_reason(error)}); the run goes on without it.")
        return None


def _reason(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _check_online(wandb: Any) -> None:
    """Raises quickly where `wandb.init` would wait long or ask questions: no key, or nobody at the other end."""
    import urllib.error
    import urllib.request

    address = wandb.setup().settings.base_url
    try:
        urllib.request.urlopen(address, timeout=CONNECT_SECONDS).close()
    except urllib.error.HTTPError:
        pass  # It answered.
    except OSError as error:
        raise ConnectionError(f"{address} cannot be reached: {getattr(error, 'reason', error)}") from None
    if not wandb.login(prompt=False):
        raise PermissionError("no API key; run `wandb login` or set WANDB_API_KEY")


def _start(wandb: Any, config: RunConfig[Any], folder: Path, mode: str) -> Any:
    tracking = config.tracking
    settings = wandb.Settings(
        console="off",
        init_timeout=CONNECT_SECONDS,
        finish_timeout=FINISH_SECONDS,
        disable_git=True,
        disable_code=True,
        save_code=False,
        disable_job_creation=True,
        host="",
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )
    return wandb.init(
        mode=mode,
        dir=str(folder),
        project=tracking.project,
        entity=tracking.entity,
        group=tracking.group or f"{config.env.id}-{config.agent.name}",
        tags=tracking.tags,
        name=folder.name,
        config=config_to_dict(config),
        settings=settings,
    )
