"""A tour of the samplers: the gradient of one policy by every one of them, against the exact gradient.

    python -m agents.bandit
    python -m agents.bandit --temperature 0.5 --draws 100000 --picture bandit.png

The policy is a softmax over five arms; what it is to climb is the mean of a reward that bends between the arms, so that
a gradient through a relaxed arm is not that of the arms themselves. `rlsample.lab` does the work: it draws many
gradient estimates of a sampler and reports bias, variance, cosine and cost. `python -m scripts.audit` does it all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from rich.console import Console
from rich.table import Column, Table

from rlsample import checks, lab, samplers

LOGITS = (0.5, -1.0, 0.25, 1.0, 0.0)
PLACES = (1.0, -2.0, 0.5, 1.5, 0.0)
OPTIONS: dict[str, dict[str, Any]] = {
    "fini": {"values": PLACES},
    "decoupled_straight_through": {"forward_temperature": 2.0},
}
"""Of the samplers whose defaults know nothing of the places, or repeat another sampler."""


def reward(one_hot: tf.Tensor) -> tf.Tensor:
    """What an arm pays, by the place it stands at: `[B, 5]` -> `[B]`. Relaxed arms stand between the others."""
    return tf.sin(tf.linalg.matvec(one_hot, tf.constant(PLACES)))


def measure(temperature: float, draws: int, names: Sequence[str]) -> dict[str, lab.Audit]:
    """Name of a sampler -> how its gradient estimates compare with the exact gradient."""
    configs: dict[str, dict[str, Any]] = {name: {"name": name, **OPTIONS.get(name, {})} for name in names}
    return {name: lab.audit(config, reward, LOGITS, temperature, draws) for name, config in configs.items()}


def draw(reports: dict[str, lab.Audit], path: Path) -> None:
    """A picture: bias to the right, noise upwards; what is unbiased stands at the left, within its error."""
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(9, 6), layout="constrained")).subplots()
    twins: dict[tuple[float, float], list[str]] = {}
    for name, report in reports.items():
        x, y = report.relative_bias, report.relative_variance**0.5
        axes.errorbar(x, y, xerr=report.relative_bias_standard_error, fmt="o", markersize=4)
        twins.setdefault((round(x, 2), round(y, 2)), []).append(name)
    for place, names in twins.items():
        axes.annotate(", ".join(names), place, xytext=(4, 3), textcoords="offset points", fontsize=7)
    axes.set(xlabel="bias over the length of the exact gradient", ylabel="noise of one estimate over the same")
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m agents.bandit", description="A tour of the samplers.")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--draws", type=int, default=20_000, help="gradient estimates of each sampler")
    parser.add_argument("--picture", type=Path, default=Path("bandit.png"))
    options = parser.parse_args(arguments)
    if not options.picture.parent.is_dir():
        parser.error(str(checks.invalid("a picture in a folder that is there", picture=str(options.picture))))
    try:
        checks.check_positive("temperature", options.temperature)
        checks.check_count("draws", options.draws, minimum=2)
    except ValueError as error:
        parser.error(str(error))
    table = Table(Column("sampler", overflow="fold"), "bias", "± error", "noise", "cosine", "microseconds")
    reports = measure(options.temperature, options.draws, samplers.names())
    for name, report in sorted(reports.items(), key=lambda pair: pair[1].relative_mean_squared_error):
        bias = f"{report.relative_bias:.3f}", f"{report.relative_bias_standard_error:.3f}"
        noise, cosine = f"{report.relative_variance**0.5:.2f}", f"{report.cosine:.3f}"
        table.add_row(name, *bias, noise, cosine, f"{1e6 * report.seconds:.1f}")
    Console().print(table)
    draw(reports, options.picture)
    print(f"The picture is in {options.picture}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
