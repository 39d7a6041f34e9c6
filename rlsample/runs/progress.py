"""What a person watches while a run goes on: a progress bar in a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import datetime
import math
import time
from typing import Any

from rlsample.runs.numbers import shown
from rlsample.runs.tracking import Record

SHOWN = {"return": "charts/episodic_return", "temperature": "sampler/temperature", "entropy": "policy/entropy"}
"""Label and metric of what is shown besides steps, speed and the time that is left."""

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Shows progress on the screen.

    Args:
        total_steps: environment steps that the run was asked for.
        console: a `rich.console.Console`; by default the standard output.
    """

    def __init__(self, total_steps: int, console: Any = None) -> None:
        from rich.console import Console

        self.console = console or Console()
        self._total_steps = total_steps
        self._latest: dict[str, float] = {}
        self._printed_at = -math.inf
        self._printed_step = -1
        self._bar = self._open_bar() if self.console.is_terminal else None

    def plan(self, total_steps: int) -> None:
        """Counts to the steps that there will really be, and says so where others were asked for."""
        if total_steps == self._total_steps:
            return
        rounded = f"{self._total_steps:,}, rounded up to whole rounds of all environments"
        self.say(f"Training for {total_steps:,} environment steps: {rounded}.")
        self._total_steps = total_steps
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], total=total_steps)

    def say(self, text: str) -> None:
        """Prints a line, above the bar if there is one."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def log(self, record: Record) -> None:
        """Shows the newest metrics; those that a record lacks stay as they were."""
        self._latest |= record
        step = int(record["global_step"])
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=step, metrics=self._labelled())
        elif time.monotonic() - self._printed_at >= SECONDS_BETWEEN_LINES:
            self._print(step)

    def close(self, failed: bool = False) -> None:
        """Leaves the last state on the screen."""
        step = int(self._latest.get("global_step", -1))
        if self._bar is not None:
            self._bar.stop()
        elif step > self._printed_step:
            self._print(step)

    def _print(self, step: int) -> None:
        self._printed_at, self._printed_step = time.monotonic(), step
        line = f"{step:,}/{self._total_steps:,} steps  {self._labelled()}{self._left()}"
        self.console.print(line, highlight=False, soft_wrap=True)

    def _labelled(self) -> str:
        rate = self._latest.get("charts/steps_per_second", 0.0)
        known = {label: self._latest.get(name, math.nan) for label, name in SHOWN.items()}
        parts = [f"{label} {shown(value)}" for label, value in known.items() if not math.isnan(value)]
        return "  ".join([f"{rate:,.0f} steps/s", *parts])

    def _left(self) -> str:
        rate = self._latest.get("charts/steps_per_second", 0.0)
        seconds = (self._total_steps - self._latest["global_step"]) / rate if rate > 0 else 0.0
        return f"  {datetime.timedelta(seconds=round(seconds))} left" if seconds >= 1 else ""

    def _open_bar(self) -> Any:
        from rich import progress

        bar = progress.Progress(
            progress.BarColumn(bar_width=12),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[metrics]}"),
            progress.TimeRemainingColumn(),
            console=self.console,
        )
        bar.add_task("", total=self._total_steps, metrics="")
        bar.start()
        return bar
