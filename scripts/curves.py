"""Curves of a metric over seeds: the interquartile mean and its interval at the steps that all runs have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .statistics import interquartile_mean, interval

COLOURS = ("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#bf3989", "#4d5561", "#9a6700", "#0550ae")

Series = Mapping[float, float]
"""Environment step -> value."""


class Curve(NamedTuple):
    """Environment steps, interquartile mean, ends of its 95 % bootstrap interval, each `[n]`."""

    step: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray


def series_of(records: Sequence[Mapping[str, float]], metric: str) -> dict[float, float]:
    """The finite values of a metric in the records of a run."""
    return {row["global_step"]: row[metric] for row in records if metric in row and np.isfinite(row[metric])}


def common_steps(runs: Sequence[Series]) -> list[float]:
    """The steps at which all runs have a value, in order."""
    return sorted(set.intersection(*map(set, runs))) if runs else []


def curve_of(*tasks: Sequence[Series]) -> Curve:
    """The curve over all runs of all tasks, each of which holds a series for each seed; `[0]` without common steps."""
    steps = common_steps([run for task in tasks for run in task])
    samples = [[np.array([run[step] for run in task]) for task in tasks] for step in steps]
    ends = np.array([interval(*each) for each in samples]).reshape(-1, 2)
    return Curve(np.array(steps), np.array([interquartile_mean(*each) for each in samples]), *ends.T)


def draw_curve(axes: Any, curve: Curve, colour: str, label: str) -> None:
    """Draws a curve and its band."""
    marker = "o" if len(curve.step) == 1 else None
    axes.plot(curve.step, curve.middle, color=colour, marker=marker, label=label)
    axes.fill_between(curve.step, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)


def tidy_axes(axes: Any) -> None:
    """Environment steps as 10k and 1M, no frame, a light grid behind."""
    from matplotlib.ticker import EngFormatter

    axes.set_xlabel("environment steps")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#d0d7de", linewidth=0.6)
    axes.set_axisbelow(True)
