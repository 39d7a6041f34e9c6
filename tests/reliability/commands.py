"""The command that users type, in a process of its own, and how it ended.

Timeouts are for what never ends: a busy machine takes minutes for what takes seconds.
"""

from __future__ import annotations

import enum
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SMALL = ["agent.jit_compile=false", "agent.num_steps=16", "network.hidden_sizes=[8]", "agent.num_minibatches=2"]
PLAIN = [*SMALL, "agent.num_epochs=1", "evaluation.episodes=2", "tracking.wandb=disabled", "checkpoint.every=64"]
FAULTY = ["--import", "tests.reliability.faulty", "env.id=Faulty-v1", "env.num_envs=4", "total_steps=4000"]


class Outcome(enum.StrEnum):
    """What a fault does to a run."""

    SURVIVES = "survives"  # it goes on as if nothing had happened
    CLEAR = "clear"  # it ends, and says what happened, what is kept and how to go on
    UNCLEAR = "unclear"  # it ends, or never ends, and does not say so
    SILENT = "silent"  # it goes on, wrong, without a word


class Ended:
    """A command that ended, with what it wrote."""

    def __init__(self, process: subprocess.Popen, folder: Path, timeout: float = 600) -> None:
        self.folder = folder
        self.output, self.errors = process.communicate(timeout=timeout)
        self.code = process.returncode

    def outcome(self, code: int, *says: str) -> Outcome:
        """How it ended, if `code` is how it should have, and `says` what it has to say, in either stream.

        An ending after training began has to say what is kept and how to go on, if there is anything.
        """
        text = self.output + self.errors
        if self.code == 0:
            finished = (self.folder / "evaluation.json").exists()
            return Outcome.SURVIVES if code == 0 and finished and all(map(text.count, says)) else Outcome.SILENT
        if (self.folder / "checkpoint" / "manifest.json").exists():
            says = (*says, f"--resume {self.folder}")
        # What comes after an empty line is the environment's own traceback.
        bare = "Traceback" not in self.errors.split("\n\n")[0]
        return Outcome.CLEAR if self.code == code and bare and all(map(text.count, says)) else Outcome.UNCLEAR


def start(folder: Path, *words: str, **options: Any) -> subprocess.Popen:
    """Trains PPO with small settings in a new process."""
    command = [sys.executable, "-m", "scripts.train", "agents/configs/ppo_cartpole.yaml", *PLAIN, *words]
    return _opened([*command, "--run-dir", str(folder)], options)


def resume(folder: Path, *words: str, **options: Any) -> subprocess.Popen:
    """Lets a run go on in a new process."""
    return _opened([sys.executable, "-m", "scripts.train", "--resume", str(folder), *words], options)


def wait_until(condition: Any, process: subprocess.Popen, seconds: float = 600) -> None:
    """Waits for something to become true while a process goes on."""
    until = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    assert condition(), process.communicate(timeout=10)


def has_checkpoint(folder: Path) -> Any:
    """A condition: there is a checkpoint in a run folder."""
    return (folder / "checkpoint" / "manifest.json").exists


def _opened(command: list[str], options: dict[str, Any]) -> subprocess.Popen:
    settings = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **(settings | options))
