"""The picture of a run: return and temperature against environment steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlsample.runs.tracking import read_metrics

WINDOW = 0.05
"""Width of the running mean, as a fraction of the points."""

INK, MUTED, ACCENT = "#24292f", "#8c959f", "#0969da"


def draw_learning_curve(metrics: str | Path, path: str | Path, title: str = "") -> None:
    """Draws the returns of a `metrics.jsonl`, their running mean, evaluations, and the temperature below.

    Args:
        metrics: the file.
        path: where the picture goes; its ending says which format.
        title: what stands above it.
    """
    # Not through pyplot, which keeps figures alive and looks for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    records = read_metrics(metrics)
    figure = Figure(figsize=(7.2, 4.8), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    _draw_returns(upper, records)
    steps, temperatures = _series(records, "sampler/temperature")
    lower.plot(steps, temperatures, color=INK, linewidth=1.5)
    lower.set(xlabel="environment steps", ylabel="temperature")
    lower.set_ylim(bottom=0.0)
    lower.xaxis.set_major_formatter(EngFormatter(sep=""))
    upper.set_title(title, loc="left", fontsize=11, color=INK)
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#d0d7de", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlim(left=0.0)
    figure.align_ylabels()
    figure.savefig(path)


def running_mean(values: Sequence[float] | np.ndarray, window: int) -> np.ndarray:
    """Returns the mean of the last `window` values at each place, of fewer at the beginning."""
    sums = np.cumsum(np.concatenate([[0.0], np.asarray(values, dtype=float)]))
    end = np.arange(1, len(sums))
    begin = np.maximum(end - window, 0)
    return (sums[end] - sums[begin]) / (end - begin)


def _draw_returns(axes: Any, records: Sequence[dict[str, float]]) -> None:
    steps, returns = _series(records, "charts/episodic_return")
    window = max(10, round(WINDOW * len(returns)))
    axes.scatter(steps, returns, s=10, color=ACCENT, alpha=0.35, linewidths=0, label="while training")
    if len(returns):
        mean = running_mean(returns, window)
        axes.plot(steps, mean, color=ACCENT, linewidth=2, label=f"mean of the last {window}")
    steps, means = _series(records, "evaluation/mean_return")
    axes.scatter(steps, means, s=40, marker="D", color=INK, zorder=3, clip_on=False, label="evaluation")
    axes.set(ylabel="return")
    axes.legend(frameon=False, fontsize=9, loc="best")


def _series(records: Sequence[dict[str, float]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the finite values of a metric and the steps they belong to."""
    pairs = [(record["global_step"], record[name]) for record in records if name in record]
    steps, values = np.array(pairs, dtype=float).reshape(-1, 2).T
    finite = np.isfinite(values)
    return steps[finite], values[finite]
