"""Compares variants of a run over seeds: final return (IQM, 95% interval), steps and seconds to a threshold.

    python -m scripts.compare agents/configs/cartpole.yaml sampler=straight_through_gumbel_softmax,exact --seeds 10

A word `key=a,b,c` makes one variant for each value (of each such word: their product); other words go to every run.
Each run is a process of its own, `python -m scripts.train`, and its folder stays: a finished run that is there, of the
same configuration, is not run again.
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
from rich import markup
from rich.console import Console
from rich.table import Column, Table

from rlsample.runs import ConfigError, RunConfig, config_to_dict, load_config, read_metrics
from rlsample.runs.agents import import_modules
from rlsample.runs.loading import check_config, differences
from rlsample.runs.numbers import shown
from rlsample.runs.run_folder import CONFIG, EVALUATION, METRICS
from scripts.arguments import add_import_option, import_words, move_modules, whole_number
from scripts.catalogue import known_agents
from scripts.statistics import interquartile_mean, interval

FEW_SEEDS, TOO_FEW_SEEDS = 5, 3
"""Below the first, an interval says little; below the second it would say nothing, and is not shown."""


class Variant(NamedTuple):
    """One of the things that are compared: what tells it from the others, and all its words."""

    name: str
    words: list[str]


class Outcome(NamedTuple):
    """What one run came to.

    Attributes:
        variant: its name.
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
    choices = []
    for word in options.overrides:
        values, options.imports = move_modules(split(word), options.imports)
        choices.append(values)
    jobs = [(variant, seed) for variant in expand(choices) for seed in range(1, options.seeds + 1)]
    try:
        import_modules(options.imports)
        for variant, seed in jobs:  # First what takes no TensorFlow to know.
            check_config(options.config, [*variant.words, f"seed={seed}"], agents=known_agents())
        for variant, seed in jobs:
            asked = load_config(options.config, [*variant.words, f"seed={seed}"], agents=known_agents())
            check_folder(_folder(options, variant, seed), asked)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        with ThreadPoolExecutor(options.jobs) as pool:
            outcomes = list(pool.map(lambda job: _run(options, *job), jobs))
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    _write_csv(options.folder / "outcomes.csv", outcomes)
    shared = [values[0] for values in choices if len(values) == 1]
    _show(outcomes, options.threshold, shared)
    return 0


def split(word: str) -> list[str]:
    """The words that `key=a,b` stands for, split at commas outside of brackets."""
    key, _, text = word.partition("=")
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [f"{key}={part.strip()}" for part in parts]


def expand(choices: Sequence[Sequence[str]]) -> Iterator[Variant]:
    """Yields the product of the choices; what is no choice is in no name."""
    for words in itertools.product(*choices):
        differing = [word for word, values in zip(words, choices, strict=True) if len(values) > 1]
        yield Variant(" ".join(differing) or "as configured", list(words))


def check_folder(folder: Path, asked: RunConfig) -> None:
    """Makes sure that what is in a folder can stand for the run that is asked for, or that nothing is.

    Raises:
        ConfigError: there is a run of another configuration.
    """
    if not (folder / CONFIG).exists():
        return
    there = load_config(folder / CONFIG, agents=known_agents(), inherit=False)
    found = differences(config_to_dict(there), config_to_dict(asked))
    if found:
        lines = [f"  {name}: {here!r} there, {wanted!r} asked for" for name, (here, wanted) in found.items()]
        rule = f"Expected the run in {folder} to be of this configuration. Received another one:"
        raise ConfigError("\n".join([rule, *lines, "Choose another --folder, or remove this one."]))


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


def _folder(options: argparse.Namespace, variant: Variant, seed: int) -> Path:
    name = variant.name.replace(" ", "+").replace("/", "-")
    return options.folder / options.config.stem / name / f"seed{seed}"


def _run(options: argparse.Namespace, variant: Variant, seed: int) -> Outcome:
    folder = _folder(options, variant, seed)
    if not (folder / EVALUATION).exists():
        new = [str(options.config), *variant.words, f"seed={seed}"]
        begun = (folder / CONFIG).exists()
        command = [sys.executable, "-m", "scripts.train", *([] if begun else new), *import_words(options.imports)]
        command += ["--resume" if begun else "--run-dir", str(folder)]
        log = folder.with_suffix(".log")
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as out:
            code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT).returncode
        if code:
            raise RuntimeError(f"Expected every run to end well. Received: exit code {code}; its output is in {log}.")
    outcome = read(folder, variant.name, seed, options.threshold)
    threshold = f"{options.threshold:g}"
    reached = f"never reached {threshold}" if outcome.steps is None else f"{threshold} at {outcome.steps:,} steps"
    print(f"{variant.name} seed {seed}: {shown(outcome.final_return)}, {reached}", flush=True)
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


def _show(outcomes: list[Outcome], threshold: float, shared: list[str]) -> None:
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
        low, high = map(shown, interval(returns))
        between = f"{low}, {high}" if len(runs) >= TOO_FEW_SEEDS else "-"
        steps = [np.inf if run.steps is None else run.steps for run in runs]
        first = np.median(steps)
        table.add_row(
            markup.escape(variant),
            str(len(runs)),
            f"{shown(interquartile_mean(returns))} [{between}]",
            f"{int((returns >= threshold).sum())}/{len(runs)}",
            f"{first:,.0f}" if np.isfinite(first) else "-",
            f"{np.median([run.seconds for run in runs]):.0f}",
        )
    if shared:
        print("All with", *shared)
    Console(width=max(Console().width, 120)).print(table)
    if len(runs) < FEW_SEEDS:
        print(f"From fewer than {FEW_SEEDS} seeds an interval says little: --seeds {FEW_SEEDS} or more.")


if __name__ == "__main__":
    sys.exit(main())
