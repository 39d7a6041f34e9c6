"""Kills a run with SIGKILL at random moments, again and again, and lets it go on: is it the run that nobody killed?

    python -m tests.reliability.kills --kills 100

Every second update is a checkpoint, so that kills meet saving as well as training; one in four comes while the process
starts. The processes are forks of this one, which has loaded TensorFlow and not begun to use it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlsample import runs
from rlsample.runs import checkpoint
from scripts import train

STEPS_PER_TURN = 64
INTERVAL = 2 * STEPS_PER_TURN
WORDS = (
    "agents/configs/ppo_cartpole.yaml",
    "agent.jit_compile=false",
    "agent.num_steps=16",
    "network.hidden_sizes=[8]",
    "agent.num_minibatches=2",
    "agent.num_epochs=1",
    "agent.anneal_learning_rate=false",
    "evaluation.episodes=2",
    "tracking.wandb=disabled",
    f"checkpoint.every={INTERVAL}",
)
STARTING, TRAINING = 3.0, 1.0
"""Seconds within which a kill comes: of the start of the process, or of its first record."""


def begin(words: Sequence[str], log: Path) -> int:
    """Trains in a new process; returns its number."""
    process = os.fork()
    if process:
        return process
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    code = 70
    try:
        code = train.main(words)
    finally:
        os._exit(code)


def end(process: int) -> int:
    """Waits for a process; returns its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def last_step(folder: Path) -> int:
    """The last step in the records of a run, 0 if there is none."""
    path = folder / "metrics.jsonl"
    return max([record["global_step"] for record in runs.read_metrics(path)], default=0) if path.exists() else 0


def saved_step(folder: Path) -> int:
    """The step of its checkpoint, 0 if there is none."""
    if not (folder / "checkpoint" / checkpoint.MANIFEST).exists():
        return 0
    return checkpoint.load_snapshot(folder / "checkpoint")[0]


def kill_and_resume(folder: Path, reference: Path, kills: int, seed: int) -> dict[str, Any]:
    """Runs in `folder` under kills and in `reference` without; what came of it.

    Raises:
        RuntimeError: a process ended by itself, or a checkpoint was lost.
    """
    generator, log = np.random.default_rng(seed), folder.with_suffix(".log")
    first, again = [*WORDS, "total_steps=1000000000", "--run-dir", str(folder)], ["--resume", str(folder)]
    lost, saving, starting = [], 0, 0
    for _ in range(kills):
        before, reached = saved_step(folder), last_step(folder)
        process = begin(again if (folder / "config.yaml").exists() else first, log)
        if generator.random() < 0.25:
            starting += 1
            time.sleep(STARTING * generator.random())
        else:
            while last_step(folder) <= reached and is_alive(process):
                time.sleep(0.01)
            time.sleep(TRAINING * generator.random())
        os.kill(process, signal.SIGKILL)
        if end(process) != -signal.SIGKILL:
            raise RuntimeError(log.read_text()[-2000:])
        after = saved_step(folder)
        if after < before:
            raise RuntimeError(f"The checkpoint went back from {before} to {after}.")
        lost.append(last_step(folder) - after)
        saving += is_half_saved(folder)
    process, reached = begin(again, log), last_step(folder)
    while last_step(folder) <= reached and is_alive(process):
        time.sleep(0.01)
    os.kill(process, signal.SIGTERM)
    codes = [end(process)]
    steps = saved_step(folder)
    codes.append(end(begin([*WORDS, f"total_steps={steps}", "--run-dir", str(reference)], log)))
    if codes != [128 + signal.SIGTERM, 0]:
        raise RuntimeError(log.read_text()[-2000:])
    ends = {"evaluation.json"}  # Of the one that was not stopped.
    names = [{path.name for path in each.rglob("*")} for each in (folder, reference)]
    (_, one), (_, two) = (checkpoint.load_snapshot(each / "checkpoint") for each in (folder, reference))
    return {
        "kills": kills,
        "steps": steps,
        "while starting": starting,
        "while saving": saving,
        "checkpoint interval": INTERVAL,
        "most steps lost": max(lost),
        "left over": sorted(_plain(names[0]) ^ _plain(names[1] - ends)),
        "the same to the bit": one.arrays.keys() == two.arrays.keys()
        and all(np.array_equal(one.arrays[key], two.arrays[key]) for key in one.arrays)
        and _records(folder) == _records(reference),
    }


def is_alive(process: int) -> bool:
    """Whether a process has not ended; leaves its exit code to `end`."""
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def is_half_saved(folder: Path) -> bool:
    """Whether there are files of a checkpoint that is not whole."""
    manifest = folder / "checkpoint" / checkpoint.MANIFEST
    if not manifest.parent.exists():
        return False
    whole = set(json.loads(manifest.read_text())["content"]["files"]) if manifest.exists() else set()
    newest = max(whole, default="weights-000000").split("-")[1][:6]
    numbers = [path.name.split("-")[1][:6] for path in manifest.parent.iterdir() if "-0" in path.name]
    return any(number > newest for number in numbers) or bool(list(manifest.parent.glob("*.new")))


def _plain(names: set[str]) -> set[str]:
    """Names of files without the numbers of checkpoints."""
    return {"".join(letter for letter in name if not letter.isdigit()) for name in names}


def _records(folder: Path) -> list[dict[str, float]]:
    records = runs.read_metrics(folder / "metrics.jsonl")
    training = [record for record in records if "evaluation/mean_return" not in record]
    return [{key: value for key, value in record.items() if "per_second" not in key} for record in training]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what came of it."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.reliability.kills", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    import agents.ppo  # noqa: F401 (loads TensorFlow once for all)
    import rlsample.runs.training  # noqa: F401

    with tempfile.TemporaryDirectory() as place:
        folders = Path(place) / "killed", Path(place) / "reference"
        print(json.dumps(kill_and_resume(*folders, options.kills, options.seed)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
