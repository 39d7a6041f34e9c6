"""The picture of a run: return against environment steps, and the temperature below where it changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlsample.runs.metrics import MEAN_RETURN
from rlsample.runs.numbers import shown
from rlsample.runs.tracking import read_metrics

WINDOW = 0.05
"""Width of the running mean, as a fraction of all episodes."""

INK, MUTED, ACCENT = "#24292f", "#8c959f", "#0969da"


def draw_learning_curve(metrics: str | Path, path: str | Path, title: str = "", num_envs: int = 1) -> None:
    """Draws the returns of a `metrics.jsonl`, their running mean, evaluations, and a temperature that changes.

    Args:
        metrics: the file.
        path: where the picture goes; its ending says which format.
        title: what stands above it.
        num_envs: environments that the run trained in. Episodes are drawn once so many have ended: the first to end are
            the short ones, not the usual ones.
    """
    # Not through pyplot, which keeps figures alive and looks for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    records = read_metrics(metrics)
    steps, temperatures = _series(records, "sampler/temperature")
    changes = len(np.unique(temperatures)) > 1
    if len(steps) and not changes:
        title = ", ".join(filter(None, [title, f"temperature {shown(temperatures[0])}"]))
    figure = Figure(figsize=(7.2, 4.8 if changes else 3.9), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1 + changes, 1, sharex=True, height_ratios=[3, 1][: 1 + changes], squeeze=False)[:, 0]
    _draw_returns(panels[0], records, num_envs)
    panels[0].set_title(title, loc="left", fontsize=11, color=INK)
    if changes:
        panels[1].plot(steps, temperatures, color=INK, linewidth=1.5)
        panels[1].set(ylabel="temperature")
        panels[1].set_ylim(bottom=0.0)
    panels[-1].set_xlabel("environment steps")
    panels[-1].xaxis.set_major_formatter(EngFormatter(sep=""))
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#d0d7de", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlim(left=0.0)
    figure.align_ylabels()
    figure.savefig(path)


def running_mean(values: np.ndarray, counts: np.ndarray, window: float) -> np.ndarray:
    """The mean of the last `window` episodes at each record, of fewer at the beginning.

    Args:
        values: `[n]`, a mean over the episodes of each record.
        counts: `[n]`, how many those are, all above 0.
        window: episodes; where the oldest record is partly inside, that part of its episodes counts.
    """
    ends = np.concatenate([[0.0], np.cumsum(counts)])
    sums = np.concatenate([[0.0], np.cumsum(values * counts)])
    begins = np.maximum(ends[1:] - window, 0.0)
    return (sums[1:] - np.interp(begins, ends, sums)) / (ends[1:] - begins)


def _draw_returns(axes: Any, records: Sequence[dict[str, float]], num_envs: int) -> None:
    steps, returns, counts = _episodes(records, num_envs)
    window = max(10, num_envs, round(WINDOW * counts.sum()))
    mean, drawn = running_mean(returns, counts, window), np.cumsum(counts) >= num_envs
    if drawn.any():
        axes.scatter(steps[drawn], returns[drawn], s=10, color=ACCENT, alpha=0.35, linewidths=0, label="while training")
        axes.plot(steps[drawn], mean[drawn], color=ACCENT, linewidth=2, label=f"mean of the last {window:,} episodes")
    steps, means = _series(records, MEAN_RETURN)
    if len(steps):
        axes.scatter(steps, means, s=40, marker="D", color=INK, zorder=3, clip_on=False, label="evaluation")
    axes.set(ylabel="return")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9, loc="best")


def _episodes(records: Sequence[dict[str, float]], num_envs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, mean returns and numbers of episodes; a record that says no number has one from each environment."""
    ended = [record | {"charts/episodes": record.get("charts/episodes", num_envs)} for record in records]
    ended = [record for record in ended if np.isfinite(record.get("charts/episodic_return", np.nan))]
    steps, returns = _series(ended, "charts/episodic_return")
    return steps, returns, _series(ended, "charts/episodes")[1]


def _series(records: Sequence[dict[str, float]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the finite values of a metric and the steps they belong to."""
    pairs = [(record["global_step"], record[name]) for record in records if name in record]
    steps, values = np.array(pairs, dtype=float).reshape(-1, 2).T
    finite = np.isfinite(values)
    return steps[finite], values[finite]
