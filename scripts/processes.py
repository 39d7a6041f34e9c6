"""Runs of `scripts.train`, each in a process of its own, several at a time, for as long as there are more to start.

Ctrl-C and SIGTERM are passed on once to every run, which saves what it has learned; then nothing more is started.
"""

from __future__ import annotations

import dataclasses
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from rlsample.runs.run_folder import CONFIG, EVALUATION
from rlsample.runs.stopping import StopSignals

from .arguments import import_words, module_of
from .engines import Launch, Process, launch_here

SECONDS_BETWEEN_LOOKS = 0.2


@dataclasses.dataclass(eq=False, kw_only=True)
class Job:
    """A run to be made, or to be gone on with where its folder holds one.

    Attributes:
        config: a YAML file.
        words: laid over it.
        folder: the run folder. What the process writes goes to a file beside it, `log`.
        resumed: whether there was a run when it was last started.
        told_to_stop: whether it was asked to end early since.
    """

    config: Path
    words: list[str]
    folder: Path
    resumed: bool = False
    told_to_stop: bool = False
    _process: Process | None = None

    @property
    def log(self) -> Path:
        """What the process writes."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return (self.folder / EVALUATION).exists()

    def start(self, imports: Sequence[str], launch: Launch) -> None:
        """Starts the process, which imports these modules first."""
        self.resumed, self.told_to_stop = (self.folder / CONFIG).exists(), False
        command = [sys.executable, "-m", module_of("train"), *([] if self.resumed else [str(self.config), *self.words])]
        command += [*import_words(list(imports)), "--resume" if self.resumed else "--run-dir", str(self.folder)]
        self._process = launch(command, self.log)

    def poll(self) -> int | None:
        """The exit code; None while it goes on."""
        return None if self._process is None else self._process.poll()

    def stop(self) -> None:
        """Asks the run for a clean end; a second time would end it at once, and is not passed on."""
        if self._process is not None and not self.told_to_stop:
            self.told_to_stop = True
            self._process.send_signal(signal.SIGTERM)


AnyJob = TypeVar("AnyJob", bound=Job)


def carry_out(
    jobs: Iterator[AnyJob],
    number: int,
    *,
    ended: Callable[[AnyJob, int], AnyJob | None],
    watch: Callable[[AnyJob], None] = lambda job: None,
    imports: Sequence[str] = (),
    launch: Launch = launch_here,
) -> int:
    """Runs jobs until there are none left.

    Args:
        jobs: the next one is asked for when there is a place for it. One that is finished already is not run.
        number: how many run at a time.
        ended: told each job and its exit code; returns a job to be run again, or None.
        watch: shown every job that is under way, again and again.
        imports: modules for each run to import first.
        launch: starts each one's process.

    Returns:
        0, or 128 + the signal that ended it early.
    """
    running: list[AnyJob] = []
    again: list[AnyJob] = []
    caught: list[int] = []

    def stop(signal_number: int) -> None:
        caught.append(signal_number)
        for job in running:
            job.stop()

    signals = StopSignals(stop)
    signals.open()
    try:
        while True:
            while len(running) < number and not caught:
                job = again.pop(0) if again else next(jobs, None)
                if job is None:
                    break
                if job.finished:
                    ended(job, 0)
                    continue
                running.append(job)
                job.start(imports, launch)
                if caught:  # While it was being started.
                    job.stop()
            if not running:
                return 128 + caught[0] if caught else 0
            codes = [(job, job.poll()) for job in running]
            for job, code in codes:
                if code is None:
                    watch(job)
                    continue
                running.remove(job)
                another = ended(job, code)
                again += [] if another is None else [another]
            if all(code is None for _, code in codes):
                time.sleep(SECONDS_BETWEEN_LOOKS)
    finally:
        signals.close()
        for job in running:
            job.stop()
