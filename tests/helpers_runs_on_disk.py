"""Run folders as training leaves them, and processes that leave them at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rlsample.runs import config_to_yaml, load_config
from scripts.catalogue import known_agents


def finish_run(folder: Path, evaluations: Mapping[int, float], final: float | None, config: str = "") -> Path:
    """Writes a run folder with evaluations at steps, finished unless `final` is None."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"global_step": step, "evaluation/mean_return": value} for step, value in evaluations.items()]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [{"global_step": 1}, *rows]))
    if config:
        (folder / "config.yaml").write_text(config)
    if final is not None:
        (folder / "evaluation.json").write_text(json.dumps({"mean_return": final, "std_return": 0.0, "seconds": 2.0}))
    return folder


class Processes:
    """Stands for `subprocess.Popen`: each run ends at the first look, as `outcome` says.

    Args:
        outcome: (folder, words, resumed) -> exit code; leaves what the run would.
    """

    def __init__(self, outcome: Callable[[Path, list[str], bool], int | None]) -> None:
        self.outcome = outcome
        self.commands: list[list[str]] = []
        self.stopped = 0

    def __call__(self, command: list[str], **_: Any) -> Process:
        self.commands.append(command)
        return Process(self, command)


class Process:
    """One of them."""

    def __init__(self, owner: Processes, command: list[str]) -> None:
        self.owner, self.command = owner, command
        self.stopping = False

    def poll(self) -> int | None:
        folder, resumed = Path(self.command[-1]), "--resume" in self.command
        if not resumed and not (folder / "config.yaml").exists():
            words = [word for word in self.command[4:-2] if "=" in word]
            folder.mkdir(parents=True, exist_ok=True)
            config = load_config(self.command[3], words, agents=known_agents())
            (folder / "config.yaml").write_text(config_to_yaml(config))
        words = [word for word in self.command if "=" in word]
        return 143 if self.stopping else self.owner.outcome(folder, words, resumed)

    def send_signal(self, number: int) -> None:
        self.stopping = True
        self.owner.stopped += 1
