"""Metrics, checkpoints and videos for Weights & Biases, whose files live in the run folder."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from rlsample.runs.config import RunConfig
from rlsample.runs.loading import config_to_dict
from rlsample.runs.tracking import Record

CONNECT_SECONDS = 4.0
"""How long a server that does not answer may hold up the start of a run, twice: until it answers at all, and then
until it takes the run. With what wandb itself needs to give up that makes less than 15 s."""

FINISH_SECONDS = 60.0
"""How long uploading may hold up its end; what is not sent by then stays in the run folder."""


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
        self._attempt(lambda run: run.log(dict(record)))

    def keep(self, kind: str, step: int, paths: Iterable[Path]) -> None:
        """Keeps copies of files as the next version of an artifact; offline they wait in the run folder to be sent.

        Args:
            kind: the artifact's type, "checkpoint" or "video"; it is named after the run and this.
            step: environment steps that they are of.
            paths: the files.
        """

        def keep(run: Any) -> None:
            import wandb

            name = re.sub(r"[^\w.-]", "-", f"{run.name}-{kind}")
            artifact = wandb.Artifact(name, type=kind, metadata={"global_step": step})
            with _environment(WANDB_DATA_DIR=str(Path(run.settings.wandb_dir).absolute())):
                for path in paths:
                    artifact.add_file(str(path), skip_cache=True)
            run.log_artifact(artifact)

        self._attempt(keep)

    def close(self, failed: bool = False) -> None:
        """Finishes the run."""
        self._attempt(lambda run: run.finish(exit_code=int(failed)))

    def _attempt(self, call: Callable[[Any], Any]) -> None:
        if self._run is None:
            return
        try:
            call(self._run)
        except Exception as error:  # Whatever broke over there, the run goes on.
            self._run = None
            self._warn(f"Weights & Biases broke down ({_reason(error)}); the run goes on without it.")


def open_wandb(
    config: RunConfig[Any], folder: Path, warn: Callable[[str], None], *, step: int = 0, job_type: str = "training"
) -> Wandb | None:
    """Starts a Weights & Biases run whose files live in `folder`.

    What describes the machine, the code or the console is not recorded, and nothing is sent unless
    `tracking.wandb` is `online`. When going online fails, the run is recorded offline instead.

    Args:
        config: the run's configuration; recorded whole.
        folder: the run folder.
        warn: called once, with a sentence, when something else happens than was asked for.
        step: environment steps already taken. wandb cannot append to a run that was recorded offline, so one that is
            resumed is another run of the same group, named after the step.
        job_type: as in wandb.init.

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
    options = {"name": f"{folder.name}-from-{step}" if step else folder.name, "job_type": job_type}
    # Where there is no home, wandb-core would write its own log to the screen.
    with _environment(WANDB_CACHE_DIR=str((folder / "wandb" / "cache").absolute())):
        if mode == "online":
            try:
                _check_online(wandb)
                return Wandb(_start(wandb, config, folder, mode="online", **options), warn)
            except (wandb.Error, OSError, ValueError) as error:
                warn(
                    f"Weights & Biases is not available ({_reason(error)}); recording offline. "
                    "Send it later with `wandb sync`."
                )
        try:
            return Wandb(_start(wandb, config, folder, mode="offline", **options), warn)
        except (wandb.Error, OSError) as error:
            warn(f"Weights & Biases could not be started ({_reason(error)}); the run goes on without it.")
            return None


def _reason(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Environment variables that hold inside of the block, those apart that are set already."""
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _check_online(wandb: Any) -> None:
    """Raises quickly where `wandb.init` would wait long or ask questions: no key, or nobody at the other end."""
    address = wandb.setup().settings.base_url
    found: list[str] = []
    # In a thread, because looking up a name has no time limit.
    thread = threading.Thread(target=lambda: found.append(_problem_with(address)), daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if problem := (found or ["timed out"])[0]:
        raise ConnectionError(f"{address} cannot be reached: {problem}")
    # The key is verified when the run starts, which has a time limit of its own.
    if not wandb.login(prompt=False, verify=False):
        raise PermissionError("no API key; run `wandb login` or set WANDB_API_KEY")


def _problem_with(address: str) -> str:
    """Why an address does not answer; empty if it does."""
    import urllib.error
    import urllib.request

    try:
        urllib.request.urlopen(address, timeout=CONNECT_SECONDS).close()
    except urllib.error.HTTPError:
        pass  # It answered.
    except OSError as error:
        return str(getattr(error, "reason", error))
    return ""


def _start(wandb: Any, config: RunConfig[Any], folder: Path, **options: Any) -> Any:
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
        dir=str(folder),
        project=tracking.project,
        entity=tracking.entity,
        group=tracking.group or f"{config.env.id}-{config.agent.name}",
        tags=tracking.tags,
        config=config_to_dict(config),
        settings=settings,
        **options,
    )
