"""Compares variants of a run over seeds: final return (IQM, 95% interval), steps and seconds to a threshold.

    python -m scripts.compare agents/configs/cartpole.yaml sampler=straight_through_gumbel_softmax,exact --seeds 10

A word `key=a,b,c` makes one variant for each value (of each such word: their product); other words go to every run.
Each run is a process of its own, `python -m scripts.train`, and its folder stays: a comparison that was interrupted
goes on where it stopped.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Column, Table

from rlsample.runs import ConfigError, load_config, read_metrics
from rlsample.runs.agents import import_modules
from rlsample.runs.numbers import shown
from rlsample.runs.run import EVALUATION, METRICS
from scripts.arguments import add_import_option, import_words, move_modules, whole_number
from scripts.catalogue import known_agents
from scripts.statistics import interquartile_mean, interval


class Outcome(NamedTuple):
    """What one run came to.

    Attributes:
        variant: its words, joined.
        seed: its seed.
        final_return: mean return of the evaluation after training.
        steps: environment steps until an evaluation first reached the threshold; None if none did.
        seconds: of training.
    """

    variant: str
    seed: int
    final_return: float
    steps: int | None
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = _parser().parse_intermixed_args(arguments)
    variants = []
    for words in expand(options.overrides):
        plain, options.imports = move_modules(words, options.imports)
        variants.append(plain)
    try:
        import_modules(options.imports)
        for words in variants:
            load_config(options.config, words, agents=known_agents())
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    jobs = [(words, seed) for words in variants for seed in range(1, options.seeds + 1)]
    with ThreadPoolExecutor(options.jobs) as pool:
        try:
            outcomes = list(pool.map(lambda job: _run(options, *job), jobs))
        except RuntimeError as error:
            pool.shutdown(cancel_futures=True)
            print(error, file=sys.stderr)
            return 1
    _write_csv(options.folder / "outcomes.csv", outcomes)
    _show(outcomes, options.threshold)
    return 0


def expand(words: Sequence[str]) -> Iterator[list[str]]:
    """Yields the words of each variant: the product of the values, split at commas outside of brackets."""
    yield from map(list, itertools.product(*[_values(word) for word in words]))


def _values(word: str) -> list[str]:
    key, _, text = word.partition("=")
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [f"{key}={part.strip()}" for part in parts]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.compare", description="Compares variants over seeds.")
    parser.add_argument("config", type=Path, help="a YAML file, such as agents/configs/cartpole.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value[,value]", help="variants, and words for every run")
    parser.add_argument("--seeds", type=whole_number(1), default=10, help="runs of each variant, seeds 1 to this")
    parser.add_argument("--threshold", type=float, default=475.0, help="return that counts as solved")
    parser.add_argument("--jobs", type=whole_number(1), default=1, help="runs at a time")
    parser.add_argument("--folder", type=Path, default=Path("runs/compare"), help="where the runs go")
    add_import_option(parser)
    return parser


def _run(options: argparse.Namespace, words: list[str], seed: int) -> Outcome:
    name = " ".join(words) or "as configured"
    folder = options.folder / options.config.stem / (name.replace(" ", "+").replace("/", "-")) / f"seed{seed}"
    if not (folder / EVALUATION).exists():
        command = [sys.executable, "-m", "scripts.train", str(options.config), *words, f"seed={seed}"]
        command += import_words(options.imports)
        log = folder.with_suffix(".log")
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as out:
            code = subprocess.run([*command, "--run-dir", str(folder)], stdout=out, stderr=subprocess.STDOUT).returncode
        if code:
            raise RuntimeError(f"Expected every run to end well. Received: exit code {code}; its output is in {log}.")
    outcome = read(folder, name, seed, options.threshold)
    threshold = f"{options.threshold:g}"
    reached = f"never reached {threshold}" if outcome.steps is None else f"{threshold} at {outcome.steps:,} steps"
    print(f"{name} seed {seed}: {shown(outcome.final_return)}, {reached}", flush=True)
    return outcome


def read(folder: Path, variant: str, seed: int, threshold: float) -> Outcome:
    """Reads the outcome of a finished run from its folder."""
    final = json.loads((folder / EVALUATION).read_text(encoding="utf-8"))
    evaluations = [row for row in read_metrics(folder / METRICS) if "evaluation/mean_return" in row]
    solved = [int(row["global_step"]) for row in evaluations if row["evaluation/mean_return"] >= threshold]
    return Outcome(variant, seed, final["mean_return"], min(solved, default=None), final["seconds"])


def _write_csv(path: Path, outcomes: list[Outcome]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Outcome._fields)
        writer.writerows(outcomes)


def _show(outcomes: list[Outcome], threshold: float) -> None:
    table = Table(
        Column("variant", overflow="fold"),
        "seeds",
        "final return: IQM [95%]",
        f">= {threshold:g} at the end",
        "first at, median",
        "s",
    )
    for variant, group in itertools.groupby(outcomes, key=lambda outcome: outcome.variant):
        runs = list(group)
        returns = np.array([run.final_return for run in runs])
        low, high = interval(returns)
        steps = [np.inf if run.steps is None else run.steps for run in runs]
        first = np.median(steps)
        table.add_row(
            variant,
            str(len(runs)),
            f"{shown(interquartile_mean(returns))} [{shown(low)}, {shown(high)}]",
            f"{int((returns >= threshold).sum())}/{len(runs)}",
            f"{first:,.0f}" if np.isfinite(first) else "-",
            f"{np.median([run.seconds for run in runs]):.0f}",
        )
    Console(width=max(Console().width, 120)).print(table)


if __name__ == "__main__":
    sys.exit(main())
