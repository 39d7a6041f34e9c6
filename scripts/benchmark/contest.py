"""Contestants in processes of their own, timed in turns."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

WORKERS = Path(__file__).parent / "contestants"
ROOT = Path(__file__).parents[2]


class Contestant:
    """A process that prepares cases and runs them when told to.

    Args:
        module: the file in `contestants`, without its ending, that has `prepare`.
        python: the interpreter, one that has what the module imports.
        environment: variables to set for it.
    """

    def __init__(self, module: str, python: str = sys.executable, environment: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [python, str(WORKERS / "worker.py"), module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"} | (environment or {}),
            cwd=ROOT,
        )

    def ask(self, **command: Any) -> dict[str, Any]:
        """The worker's answer; one with the key "error" if it has none to give."""
        writer, reader = self._process.stdin, self._process.stdout
        if writer is None or reader is None:
            return {"error": "no pipe"}
        try:
            print(json.dumps(command), file=writer, flush=True)
            return json.loads(reader.readline())
        except (OSError, json.JSONDecodeError):
            return {"error": "its process ended"}

    def __enter__(self) -> Contestant:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.communicate()


class Entry:
    """One case of a contestant, and what was measured of it.

    Attributes:
        label: what the tables call it.
        absent: why it takes no part; empty if it does.
        seconds: of each timed run.
        facts: what the last run said about itself.
        peak_mb: the most memory its process has had so far, in MiB.
    """

    def __init__(self, label: str, contestant: Contestant, **case: Any) -> None:
        self.label, self.absent = label, ""
        self.seconds: list[float] = []
        self.facts: dict[str, Any] = {}
        self.peak_mb = float("nan")
        self._contestant = contestant
        self._ask(case=case)

    def run(self, calls: int) -> list[float]:
        """Does the work `calls` times; returns the seconds of each."""
        answer = {} if self.absent else self._ask(calls=calls)
        self.facts = answer.get("facts", self.facts)
        return answer.get("seconds", [])

    @property
    def median(self) -> float:
        """Median seconds of a run; NaN for one that took no part."""
        return statistics.median(self.seconds) if self.seconds else float("nan")

    def forget(self) -> None:
        """Lets the contestant free what it prepared."""
        self._ask()

    def _ask(self, **command: Any) -> dict[str, Any]:
        answer = self._contestant.ask(name=self.label, **command)
        self.absent = answer.get("error", self.absent)
        self.peak_mb = answer.get("peak_mb", self.peak_mb)
        return answer


def take_turns(entries: Sequence[Entry], rounds: int, calls: int = 1, warm: bool = True) -> None:
    """Lets each run `calls` times a round, one after the other: whatever else the machine does meets them all.

    Args:
        entries: who takes part.
        rounds: turns of each.
        calls: timed runs a turn.
        warm: run once before, uncounted, since the others have cooled the caches.
    """
    for _ in range(rounds):
        for entry in entries:
            if warm:
                entry.run(1)
            entry.seconds += entry.run(calls)
