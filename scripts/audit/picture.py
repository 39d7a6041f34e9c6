"""The bias-variance plane of an audit: one panel per objective, one path per sampler, temperature along it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlsample import lab, samplers

from .problem import OBJECTIVES, Cell

INK, MUTED, BAND = "#24292f", "#6e7781", "#f3f5f7"
LEFT, BAND_RIGHT, LARGEST_BIAS = -0.42, -0.05, 2.4
# A logarithm has no place for no noise: that has a band of its own, as has no bias, where samplers would hide another.
LOWEST, NO_NOISE, BAND_TOP, SMALLEST_NOISE, LARGEST_NOISE = 0.035, 0.05, 0.07, 0.08, 16.0

COLORS = {
    "score function": "#0969da",
    "straight-through": "#1a7f37",
    "second order": "#cf222e",
    "Gumbel-softmax": "#8250df",
    "no sampling": "#9a6700",
}
MARKERS = "os^Dv*Pp<>X"
# By default, or for a single categorical, the same estimates as score_function, exact and rebar.
TWINS = ("categorical", "indecater", "relax")


def draw(cells: Sequence[Cell], path: Path) -> None:
    """Draws the plane into a file; its ending says which format."""
    # Not through pyplot, which keeps figures alive and looks for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = {cell.sampler.name for cell in cells}
    cells = [cell for cell in cells if cell.sampler.name not in TWINS or names <= set(TWINS)]
    objectives = list(dict.fromkeys(cell.objective for cell in cells))
    columns = min(3, len(objectives) + 1)
    rows = -(-(len(objectives) + 1) // columns)
    figure = Figure(figsize=(4.6 * columns, 4.1 * rows), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    styles = _styles(cells)
    for axes, objective in zip(panels, objectives, strict=False):
        _frame(axes, objective)
        _draw_paths(axes, [cell for cell in cells if cell.objective == objective], styles)
    for axes in panels[len(objectives) :]:
        axes.set_axis_off()
    _legend(panels[len(objectives)], styles)
    figure.supxlabel("bias of the mean gradient, relative to the exact gradient", fontsize=10, color=INK)
    figure.supylabel("noise of one estimate (root of its variance), relative", fontsize=10, color=INK)
    figure.savefig(path)


def _frame(axes: Any, objective: str) -> None:
    axes.set(yscale="log", xlim=(LEFT, LARGEST_BIAS), ylim=(LOWEST, LARGEST_NOISE))
    axes.axvspan(LEFT, BAND_RIGHT, color=BAND, zorder=0, linewidth=0)
    axes.axhspan(LOWEST, BAND_TOP, color=BAND, zorder=0, linewidth=0)
    axes.set_xticks([(LEFT + BAND_RIGHT) / 2, 0, 0.5, 1, 1.5, 2], ["none\nseen", "0", "0.5", "1", "1.5", "2"])
    axes.set_yticks([NO_NOISE, 0.1, 0.3, 1, 3, 10], ["none", "0.1", "0.3", "1", "3", "10"])
    axes.minorticks_off()
    axes.tick_params(labelsize=8, colors=INK, length=2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{objective}: {OBJECTIVES[objective].formula}", loc="left", fontsize=10, color=INK)
    # Root mean square error as large as the gradient itself.
    bias = np.linspace(0, 1, 1000)
    axes.plot([LEFT, *bias], [1, *np.sqrt(1 - bias**2)], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)


def _draw_paths(axes: Any, cells: Sequence[Cell], styles: dict[str, tuple[str, str, str]]) -> None:
    by_sampler: dict[samplers.Sampler, list[Cell]] = {}
    for cell in cells:
        by_sampler.setdefault(cell.sampler, []).append(cell)
    places = np.linspace(LEFT + 0.05, BAND_RIGHT - 0.05, max(2, len(by_sampler)))
    for place, (sampler, path) in zip(places, by_sampler.items(), strict=False):
        _, color, marker = styles[sampler.name]
        points = np.array([_point(cell.report, place) for cell in sorted(path, key=lambda cell: cell.temperature)])
        axes.plot(*points.T, color=color, linewidth=0.9, alpha=0.55, zorder=2)
        temperatures = sorted(cell.temperature for cell in path)
        for point, temperature in zip(points, temperatures, strict=True):
            main = temperature == 1 or len(path) == 1
            size = (70 if marker == "*" else 34) if main else 5 + 4 * np.log2(1 + temperature)
            style = {"edgecolors": "white", "linewidths": 0.5} if main else {"linewidths": 0}
            axes.scatter(*point, s=size, marker=marker if main else "o", color=color, zorder=4 if main else 3, **style)


def _point(report: lab.Audit, place: float) -> tuple[float, float]:
    """Where a report stands in the plane; without visible bias it stands at its sampler's place in the band."""
    noise = np.sqrt(report.relative_variance)
    visible = report.relative_bias > max(3 * report.relative_bias_standard_error, 1e-5)
    bias = min(report.relative_bias, LARGEST_BIAS) if visible else place
    return bias, float(np.clip(noise, SMALLEST_NOISE, LARGEST_NOISE)) if noise > 1e-6 else NO_NOISE


def _styles(cells: Sequence[Cell]) -> dict[str, tuple[str, str, str]]:
    """Family, colour and marker of each sampler by name; families in the order of `COLORS`, others last."""
    members: dict[str, list[str]] = {family: [] for family in COLORS}
    for sampler in dict.fromkeys(cell.sampler for cell in cells):
        names = members.setdefault(sampler.family, [])
        if sampler.name not in names:
            names.append(sampler.name)
    return {
        name: (family, COLORS.get(family, MUTED), MARKERS[index % len(MARKERS)])
        for family, names in members.items()
        for index, name in enumerate(names)
    }


def _legend(axes: Any, styles: dict[str, tuple[str, str, str]]) -> None:
    from matplotlib.lines import Line2D

    handles, before = [], None
    for name, (family, color, marker) in styles.items():
        if family != before:
            handles.append(Line2D([], [], linestyle="", label=f"$\\bf{{{family.replace(' ', '~')}}}$"))
        size = 8 if marker == "*" else 5.5
        handles.append(Line2D([], [], linestyle="", marker=marker, markersize=size, color=color, label=name))
        before = family
    handles.append(
        Line2D([], [], color=MUTED, linewidth=0.9, marker="o", markersize=2.5, label="temperatures, growing;")
    )
    handles.append(Line2D([], [], linestyle="", label="the large mark is at 1"))
    handles.append(
        Line2D([], [], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), label="error as large as the gradient")
    )
    axes.legend(handles=handles, loc="center left", frameon=False, fontsize=8, labelspacing=0.25, labelcolor=INK)
