"""Audits the samplers' gradients against the exact one: bias, variance and cosine, and whether each keeps its claims.

    python -m scripts.audit --output docs/images/audit
    python -m scripts.audit --samplers reinmax zgr '{name: gumbel_rao, num_samples: 100}' --temperatures 0.1 1
    python -m scripts.audit --suite published
    python -m scripts.audit --suite temperature

Prints a table, writes `audit.csv`, `audit.md` and `bias_variance.png`. Exit code 1 if a sampler leaves its stated
bounds (`scripts/audit/claims.py`), 2 if the command line is wrong. The suite `published` measures the numbers of the
literature anew and sets them beside; the suite `temperature` compares schedules with temperatures that adapt.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich import box
from rich.console import Console
from rich.table import Table

from rlsample import checks, lab, samplers

from ..arguments import spoken, whole_number
from . import adaptation, claims, picture, problem, published

NUMBERS = (
    "bias",
    "bias_standard_error",
    "relative_bias",
    "relative_bias_standard_error",
    "variance",
    "variance_standard_error",
    "relative_variance",
    "relative_variance_standard_error",
    "cosine",
    "cosine_standard_error",
    "mean_squared_error",
    "mean_squared_error_standard_error",
    "relative_mean_squared_error",
    "relative_mean_squared_error_standard_error",
    "num_draws",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.suite == "published":
        return published.main(options.quick, options.seed)
    if options.suite == "temperature":
        return adaptation.main(options.quick, options.seed)
    draws = options.draws or (4000 if options.quick else 100_000)
    temperatures = options.temperatures or ([1.0] if options.quick else [0.1, 0.5, 1.0, 2.0])
    try:
        temperatures = [checks.check_positive("temperature", temperature) for temperature in temperatures]
        chosen = [claims.create(config) for config in options.samplers or samplers.names()]
        cells = [
            cell
            for number, sampler in enumerate(chosen)
            for cell in problem.measure(sampler, temperatures, options.objectives, draws, (options.seed, number))
        ]
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    tested = [check for cell in cells for check in claims.checks_of(*cell)]
    failed = claims.failures(tested)
    # Wider than a narrow terminal rather than folded into stumps.
    console = Console(highlight=False, width=max(Console().width, 140))
    console.print(_table(cells, failed, title="relative bias, relative noise"))
    options.output.mkdir(parents=True, exist_ok=True)
    _write_csv(options.output / "audit.csv", cells)
    _write_markdown(options.output / "audit.md", cells, failed)
    picture.draw(cells, options.output / "bias_variance.png")
    _report(console, tested, failed)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=spoken("audit"), description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samplers", nargs="+", type=_yaml, metavar="SAMPLER", help="names, or YAML mappings")
    parser.add_argument("--temperatures", nargs="+", type=float, metavar="TAU", help="default: 0.1 0.5 1 2")
    objectives = list(problem.OBJECTIVES)
    parser.add_argument("--objectives", nargs="+", choices=objectives, default=objectives, help="default: all")
    parser.add_argument("--draws", type=whole_number(2), help="gradient estimates a cell; default: 100,000")
    parser.add_argument("--seed", type=int, default=0, help="of all draws")
    parser.add_argument("--output", type=Path, default=Path("runs/audit"), help="the folder of table and picture")
    parser.add_argument(
        "--suite", choices=["samplers", "published", "temperature"], default="samplers", help="what to measure"
    )
    parser.add_argument("--quick", action="store_true", help="fewer draws, and temperature 1 alone: seconds")
    return parser


def _yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise argparse.ArgumentTypeError(f"not YAML: {text}") from error


def _name(sampler: samplers.Sampler) -> str:
    default = type(sampler)()
    changed = {key: value for key, value in vars(sampler).items() if value != getattr(default, key)}
    return " ".join([sampler.name, *(f"{key}={value}" for key, value in changed.items())])


def _table(cells: Sequence[problem.Cell], failed: Sequence[claims.Check], **style: Any) -> Table:
    """Relative bias and noise of every cell, one row per sampler and temperature."""
    objectives = list(dict.fromkeys(cell.objective for cell in cells))
    table = Table("sampler", "tau", *objectives, "claims", **style)
    broken = {(check.sampler, check.temperature) for check in failed}
    rows: dict[tuple[str, float], list[problem.Cell]] = {}
    for cell in cells:
        rows.setdefault((_name(cell.sampler), cell.temperature), []).append(cell)
    for (name, temperature), row in rows.items():
        sampler = row[0].sampler
        stated = sampler.unbiased != "never" or claims.claimed(sampler)
        holds = "broken" if (sampler.name, temperature) in broken else "hold" if stated else "none"
        written = f"{temperature:g}" if sampler.uses_temperature else "-"
        table.add_row(name, written, *[_bias_and_noise(cell.report) for cell in row], holds)
    return table


def _bias_and_noise(report: lab.Audit) -> str:
    """Both relative to the exact gradient; a bias within three of its standard errors is written as 0."""
    noise, bias = np.sqrt(report.relative_variance), report.relative_bias
    bias = bias if bias > max(3 * report.relative_bias_standard_error, claims.ROUNDING) else 0.0
    return f"{bias:.2f}, {noise:.2f}" if bias else f"0, {noise:.2f}"


def _write_csv(path: Path, cells: Sequence[problem.Cell]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sampler", "temperature", "objective", *NUMBERS, "exact_norm"])
        for cell in cells:
            numbers = [f"{getattr(cell.report, name):.6g}" for name in NUMBERS]
            size = f"{np.linalg.norm(cell.report.exact):.6g}"
            writer.writerow([_name(cell.sampler), cell.temperature, cell.objective, *numbers, size])


def _write_markdown(path: Path, cells: Sequence[problem.Cell], failed: Sequence[claims.Check]) -> None:
    text = io.StringIO()
    Console(file=text, width=1000).print(_table(cells, failed, box=box.MARKDOWN))
    path.write_text(f"# Relative bias, relative noise\n\n{text.getvalue().strip()}\n", encoding="utf-8")


def _report(console: Console, tested: Sequence[claims.Check], failed: Sequence[claims.Check]) -> None:
    console.print(
        "Noise is the root of the variance of one estimate; a bias of 0 is within three standard errors of it."
    )
    numbers = sum(check.errors.size for check in tested)
    worst = max((float(check.errors.max()) for check in tested), default=0.0)
    console.print(
        f"{len(tested) - len(failed)} of {len(tested)} claims hold: the largest of {numbers} deviations is {worst:.1f} "
        f"standard errors, {claims.bound(numbers):.1f} allowed (by chance once in a million runs)."
    )
    for check in failed:
        found = float(np.max(check.errors))
        console.print(
            f"BROKEN: {check.sampler}, temperature {check.temperature:g}, {check.objective}: "
            f"{check.claim}, off by {found:.1f} standard errors"
        )


if __name__ == "__main__":
    sys.exit(main())
