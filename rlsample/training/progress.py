"""What a person watches while a run goes on: a progress bar in a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from typing import Any

from rlsample.training.tracking import Record

SHOWN = {"return": "charts/episodic_return", "temperature": "sampler/temperature", "entropy": "policy/entropy"}
"""Label and metric of the numbers shown besides steps and speed."""

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Tracks steps, steps per second, return, temperature, entropy and the time that is left.

    Args:
        total_steps: environment steps the run will take.
        console: a `rich.console.Console`; by default the standard output.
    """

    def __init__(self, total_steps: int, console: Any = None) -> None:
        from rich.console import Console

        self.console = console or Console()
        self._total_steps = total_steps
        self._shown = {label: float("nan") for label in SHOWN}
        self._start = time.monotonic()
        self._last_line = self._start - SECONDS_BETWEEN_LINES
        self._bar: Any = None
        if self.console.is_terminal:
            self._open_bar()

    def log(self, record: Record) -> None:
        """Shows the newest numbers; those that a record lacks stay as they were."""
        self._shown |= {label: record[name] for label, name in SHOWN.items() if name in record}
        step = int(record["global_step"])
        if self._bar is not None:
            self._bar.update(self._task, completed=step, numbers=self._numbers(step))
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES or step >= self._total_steps:
            self._last_line = time.monotonic()
            self.console.print(f"{step:,}/{self._total_steps:,} steps  {self._numbers(step)}", highlight=False)

    def close(self) -> None:
        """Leaves the last state of the bar on the screen."""
        if self._bar is not None:
            self._bar.stop()

    def _numbers(self, step: int) -> str:
        rate = step / max(time.monotonic() - self._start, 1e-9)
        known = (f"{label} {value:.4g}" for label, value in self._shown.items() if value == value)
        return "  ".join([f"{rate:,.0f} steps/s", *known])

    def _open_bar(self) -> None:
        from rich import progress

        self._bar = progress.Progress(
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[numbers]}"),
            progress.TimeRemainingColumn(),
            console=self.console,
        )
        self._task = self._bar.add_task("", total=self._total_steps, numbers="")
        self._bar.start()
