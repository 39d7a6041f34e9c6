"""Where the runs of a comparison or a search are processes: on this machine, or on those of a Ray cluster."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pydantic

from rlsample.runs import ConfigError
from rlsample.runs.scale_config import ScaleConfig, check_scale

if TYPE_CHECKING:
    from rlsample.scale.ray_cluster import RayCluster

LOST = -9
"""The exit code of a run whose machine is gone: as of a process that was killed."""

ANSWER_SECONDS = 30.0
"""How long a machine may take to tell of a process, before it counts as lost."""


PR_SET_PDEATHSIG = 1
"""Of Linux's prctl."""


class Process(Protocol):
    """What is asked of a run's process, wherever it is; as of `subprocess.Popen`."""

    def poll(self) -> int | None:
        """The exit code; None while it goes on."""

    def send_signal(self, number: int) -> None:
        """Sends it a signal."""


class Launch(Protocol):
    """Starts a process."""

    def __call__(self, command: list[str], log: Path) -> Process:
        """Starts a command, whose output is added to a file."""


def launch_here(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Starts a process on this machine, which is asked to end if this one does; see `Launch`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        # In a session of its own: a terminal's Ctrl-C comes from here, once, and not from there as well.
        return subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=_end_with_the_parent
        )


class RemoteProcess:
    """A process on a machine of the cluster: the actor's side.

    Args:
        command: what is run, with the program that Ray runs there.
        log: where its output goes.
        folder: the working directory.
        path: where modules are looked for.
    """

    def __init__(self, command: list[str], log: str, folder: str, path: str) -> None:
        os.chdir(folder)
        os.environ["PYTHONPATH"] = path
        self._process = launch_here([sys.executable, *command], Path(log))

    def poll(self) -> int | None:
        """See `Process`."""
        return self._process.poll()

    def send_signal(self, number: int) -> None:
        """See `Process`."""
        self._process.send_signal(number)


def _end_with_the_parent() -> None:
    """Asks a process for a clean end when who began it is gone: left over, it would stay in the way of the next one."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class RayProcess:
    """A process on a machine of the cluster: this side; see `Process`.

    Args:
        ray: the module.
        actor: of a `RemoteProcess`.
    """

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._actor = ray, actor
        self._asked: Any = actor.poll.remote()
        self._code: int | None = None

    def poll(self) -> int | None:
        """See `Process`. A machine that is not there yet, or is busy, tells later."""
        if self._code is None and self._ray.wait([self._asked], timeout=0)[0]:
            try:
                self._code = self._ray.get(self._asked, timeout=ANSWER_SECONDS)
            except self._ray.exceptions.RayError:
                self._code = LOST
            if self._code is None:
                self._asked = self._actor.poll.remote()
            else:
                self._ray.kill(self._actor)  # Its CPUs are free for the next.
        return self._code

    def send_signal(self, number: int) -> None:
        """See `Process`."""
        self._actor.send_signal.remote(number)


@contextlib.contextmanager
def launcher(options: argparse.Namespace) -> Iterator[Launch]:
    """What starts the processes that a command line asks for with `add_engine_options`.

    Raises:
        ConfigError: as of `scale_of`.
        RunnerFault: there is no cluster.
    """
    if options.engine == "local":
        yield launch_here
        return
    scale = scale_of(options)
    from rlsample.scale.ray_cluster import RayCluster

    cluster = RayCluster(scale.address, scale.connect_seconds, cpus=options.jobs)
    try:
        yield _on(cluster)
    finally:
        cluster.close()


def _on(cluster: RayCluster) -> Launch:
    actor = cluster.ray.remote(RemoteProcess).options(num_cpus=1, max_restarts=0)
    here = str(Path.cwd())
    path = os.pathsep.join(entry or here for entry in sys.path)

    def launch(command: list[str], log: Path) -> RayProcess:
        return RayProcess(cluster.ray, actor.remote(command[1:], str(log.absolute()), here, path))

    return launch


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--engine` and `--address`."""
    parser.add_argument(
        "--engine",
        choices=["local", "ray"],
        default="local",
        help="where the runs are processes: on this machine, or tasks of a Ray cluster that shares its file system",
    )
    parser.add_argument("--address", help="HOST:PORT of that cluster, or auto; by default one is started here")


def scale_of(options: argparse.Namespace) -> ScaleConfig:
    """What a command line asks for with those.

    Raises:
        ConfigError: it makes no sense, Ray is not installed, or nobody answers at the address.
    """
    try:
        scale = ScaleConfig(engine=options.engine, address=options.address)
    except pydantic.ValidationError as error:
        raise ConfigError(str(error.errors()[0]["ctx"]["error"])) from None
    check_scale(scale)
    return scale


def lost(code: int) -> bool:
    """Whether a process was ended by a signal, and not by what it did: its machine is gone, or its memory was short."""
    return code < 0
