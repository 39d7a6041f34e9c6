"""Draws the return against environment steps of runs that `scripts.compare` left: interquartile mean and 95% band.

    python -m scripts.learning_curves "PPO=runs/compare/ppo_cartpole_fast/as+configured" --output curves.png

Each word is LABEL=FOLDER, the folder holding one run a seed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rlsample import checks
from rlsample.runs import read_metrics
from rlsample.runs.run_folder import METRICS
from scripts.statistics import interquartile_mean, interval


class Curve(NamedTuple):
    """Evaluations of several seeds: environment steps, interquartile mean, ends of its interval, each `[n]`."""

    step: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.learning_curves", description="Draws return against environment steps."
    )
    parser.add_argument("folders", nargs="+", metavar="LABEL=FOLDER", help="a variant's folder, one run a seed in it")
    parser.add_argument("--output", type=Path, required=True, help="the picture")
    parser.add_argument("--title", default="", help="above the picture")
    options = parser.parse_args(arguments)
    try:
        curves = {label: read(Path(folder)) for label, _, folder in (word.partition("=") for word in options.folders)}
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    draw(curves, options.output, options.title)
    return 0


def read(folder: Path) -> Curve:
    """Reads the evaluations of all runs in a folder, at the steps that they have in common.

    Raises:
        ValueError: no runs there, or none with evaluations at common steps.
    """
    runs = []
    for path in sorted(folder.glob(f"*/{METRICS}")):
        records = [record for record in read_metrics(path) if "evaluation/mean_return" in record]
        runs.append({int(record["global_step"]): record["evaluation/mean_return"] for record in records})
    steps = sorted(set.intersection(*map(set, runs))) if runs else []
    if not steps:
        hint = "Make it by scripts.compare with evaluation.every."
        raise checks.invalid("a folder of runs evaluated at the same steps", hint=hint, folder=str(folder))
    returns = np.array([[run[step] for run in runs] for step in steps])
    low, high = np.array([interval(row) for row in returns]).T
    return Curve(np.array(steps), np.array([interquartile_mean(row) for row in returns]), low, high, len(runs))


def draw(curves: dict[str, Curve], path: Path, title: str = "") -> None:
    """Draws each curve with its band into a picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 4), layout="constrained")
    for label, curve in curves.items():
        (line,) = axes.plot(curve.step, curve.middle, label=f"{label}, {curve.seeds} seeds")
        axes.fill_between(curve.step, curve.low, curve.high, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set(xlabel="environment steps", ylabel="mean return of 20 episodes without noise", title=title)
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
