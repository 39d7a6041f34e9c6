"""Curves of groups of runs, as SVG for a page."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from scripts.report.groups import Group
from scripts.statistics import interquartile_mean, interval

COLOURS = ("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#bf3989", "#4d5561", "#9a6700", "#0550ae")


def draw(groups: Sequence[Group], metric: str, label: str) -> str | None:
    """Draws a metric of every group against environment steps, as `<svg>`; None if no run has it, or it never changes.

    Of several runs it is their interquartile mean and its 95 % bootstrap interval at the steps that all have; without
    such steps each run is a line of its own.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    values = {value for each in groups for run in each.runs for value in _series(run.records, metric).values()}
    if len(values) < 2:
        return None
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    for index, group in enumerate(groups):
        _draw(axes, group, metric, COLOURS[index % len(COLOURS)])
    axes.set(xlabel="environment steps", ylabel=label)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#d0d7de", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    # Without the XML declaration, whose document type names an address.
    return re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)


def _draw(axes: Any, group: Group, metric: str, colour: str) -> None:
    series = [_series(run.records, metric) for run in group.runs]
    series = [each for each in series if each]
    if not series:
        return
    common = sorted(set.intersection(*map(set, series)))
    label = f"{group.name} ({len(series)} seeds)" if len(series) > 1 else group.name
    if len(series) > 1 and len(common) > 1:
        values = np.array([[each[step] for each in series] for step in common])
        low, high = np.array([interval(row) for row in values]).T
        axes.plot(common, [interquartile_mean(row) for row in values], color=colour, label=label)
        axes.fill_between(common, low, high, color=colour, alpha=0.18, linewidth=0)
        return
    for index, each in enumerate(series):
        style = {"color": colour, "linewidth": 1, "marker": "o" if len(each) == 1 else None}
        axes.plot(list(each), list(each.values()), label=None if index else label, **style)


def _series(records: Sequence[dict[str, float]], metric: str) -> dict[float, float]:
    return {row["global_step"]: row[metric] for row in records if metric in row and np.isfinite(row[metric])}
