"""Curves of groups of runs, as SVG for a page."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

from ..curves import COLOURS, common_steps, curve_of, draw_curve, series_of, tidy_axes
from .groups import Group


def draw(groups: Sequence[Group], metric: str, label: str) -> str | None:
    """Draws a metric of every group against environment steps, as `<svg>`; None if no run has it, or it never changes.

    Of several runs it is their interquartile mean and its 95 % bootstrap interval at the steps that all have; without
    such steps each run is a line of its own.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    values = {value for each in groups for run in each.runs for value in series_of(run.records, metric).values()}
    if len(values) < 2:
        return None
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    for index, group in enumerate(groups):
        _draw(axes, group, metric, COLOURS[index % len(COLOURS)])
    axes.set_ylabel(label)
    tidy_axes(axes)
    axes.legend(frameon=False, fontsize=8)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    # Without the XML declaration, whose document type names an address.
    return re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)


def _draw(axes: Any, group: Group, metric: str, colour: str) -> None:
    series = [series_of(run.records, metric) for run in group.runs]
    series = [each for each in series if each]
    if len(series) > 1 and len(common_steps(series)) > 1:
        draw_curve(axes, curve_of(series), colour, f"{group.name} ({len(series)} seeds)")
        return
    for index, each in enumerate(series):
        label = group.name if len(series) == 1 else f"{group.name} ({len(series)} seeds)"
        style = {"color": colour, "linewidth": 1, "marker": "o" if len(each) == 1 else None}
        axes.plot(list(each), list(each.values()), label=None if index else label, **style)
