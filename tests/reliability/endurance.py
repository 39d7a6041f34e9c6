"""Trains for some time and tells what grew: resident memory, traces of compiled functions, the share of saving.

    python -m tests.reliability.endurance agents/configs/cartpole.yaml agent.replay_capacity=20000 --minutes 60

Memory is that of the training process, sampled once a second; its growth is from the median of the first minute after
the warm-up to that of the last minute. Saving is all between the moment a checkpoint is due and the moment it is on
the disk, taking the snapshot included.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rlsample.runs import Run, load_config

FOREVER = "total_steps=1000000000"
MOST_GROWTH = 0.02
MOST_SAVING = 0.02


class Traces:
    """Counts the traces of every `tf.function` that is made while this is open."""

    def __enter__(self) -> Traces:
        self._made: list[weakref.ref[Any]] = []
        self._gone = 0
        self._original = original = tf.function

        def recorded(*arguments: Any, **options: Any) -> Any:
            made = original(*arguments, **options)
            if hasattr(made, "experimental_get_tracing_count"):
                self._made.append(weakref.ref(made))
            return made

        tf.function = recorded
        return self

    def __exit__(self, *error: object) -> None:
        tf.function = self._original

    def count(self) -> tuple[int, int]:
        """How many functions there have been, and the traces of those that are there."""
        there = [function for function in (made() for made in self._made) if function is not None]
        return len(self._made), sum(function.experimental_get_tracing_count() for function in there)


class Watched(Run):
    """A run that ends after some time, and knows what its checkpoints cost and what its memory and traces were."""

    def __init__(self, folder: Path, config: Any, seconds: float, traces: Traces) -> None:
        super().__init__(folder, config, progress=False)
        self.saving, self.saves, self.samples = 0.0, 0, []
        self._until, self._traces, self._due_at = seconds, traces, 0.0

    def log(self, step: int, metrics: Any, update: int | None = None) -> None:
        super().log(step, metrics, update)
        now = self.seconds
        if not self.samples or now - self.samples[-1][0] >= 1.0:
            self.samples.append((now, resident_bytes(), *self._traces.count()))
        self.stopping = self.stopping or now >= self._until

    def save_due(self) -> bool:
        self._due_at = time.perf_counter()
        return super().save_due()

    def save(self, policy: Any, snapshot: Any = None, step: int | None = None) -> None:
        super().save(policy, snapshot, step)
        if not self.stopping:
            self.saving, self.saves = self.saving + time.perf_counter() - self._due_at, self.saves + 1


def resident_bytes() -> int:
    """Memory of this process that is in use and not swapped out."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def endure(words: Sequence[str], folder: Path, minutes: float, warm_up: float) -> dict[str, Any]:
    """Trains by a file and `key=value` words; what it measured by name."""
    with Traces() as traces:
        from scripts.catalogue import known_agents

        agents = known_agents()
        config = load_config(words[0], [FOREVER, *words[1:]], agents=agents)
        agent = agents.module(config.agent.name)
        with Watched(folder, config, 60 * minutes, traces) as run:
            agent.train(config, run)
    seconds, memory, functions, counts = np.array(run.samples).T
    warm, last = seconds >= 60 * warm_up, seconds >= seconds[-1] - 60
    first = warm & (seconds < 60 * (warm_up + 1))
    before, after = np.median(memory[first]), np.median(memory[last])
    return {
        "steps": float(run.step),
        "seconds": seconds[-1],
        "resident MB after the warm-up": before / 1e6,
        "resident MB at the end": after / 1e6,
        "growth %": 100 * (after / before - 1),
        "resident MB minute by minute": " ".join(f"{each / 1e6:.0f}" for each in _by_minute(seconds, memory)),
        "functions made after the warm-up": functions[-1] - functions[warm][0],
        "traces after the warm-up": counts[-1] - counts[warm][0],
        "checkpoints": float(run.saves),
        "saving %": 100 * run.saving / run.seconds,
    }


def _by_minute(seconds: np.ndarray, memory: np.ndarray) -> list[float]:
    """The median of each minute."""
    minutes = seconds // 60
    return [float(np.median(memory[minutes == minute])) for minute in np.unique(minutes)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what was measured; 1 if something grew or saving took too much."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.endurance", description=__doc__.split("\n")[0])
    parser.add_argument("words", nargs="+", metavar="FILE key=value")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--warm-up", type=float, default=2.0, help="minutes that count for nothing")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        measured = endure(options.words, Path(folder) / "run", options.minutes, options.warm_up)
    for name, value in measured.items():
        print(f"{name:>34}  {value:,.2f}" if isinstance(value, float) else f"{name:>34}  {value}")
    grew = measured["growth %"] >= 100 * MOST_GROWTH or measured["traces after the warm-up"] > 0
    return int(grew or measured["saving %"] >= 100 * MOST_SAVING)


if __name__ == "__main__":
    sys.exit(main())
