"""Sample efficiency: the curves of all variants, in each environment and over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..curves import COLOURS, Series, curve_of, draw_curve, tidy_axes
from .outcomes import Results

PANEL_SIZE = (6.0, 3.6)
"""Inches."""


def draw(results: Results, path: Path, title: str = "") -> None:
    """Draws one panel for each environment, and one over all where returns are normalised.

    More variants than there are colours are drawn in rows, by what their names have before the comma.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tasks = range(len(results.tasks))
    together = results.normalised and len(results.tasks) > 1
    count, rows = len(results.tasks) + together, _rows(results.variants)
    size = PANEL_SIZE[0] * count, PANEL_SIZE[1] * len(rows)
    figure, panels = pyplot.subplots(len(rows), count, figsize=size, layout="constrained", squeeze=False, sharey="col")
    for variants, row in zip(rows, panels, strict=True):
        for task, axes in zip(tasks, row, strict=False):
            _draw(axes, {variant: [results.curves[task, variant]] for variant in variants})
            axes.set(title=results.environment(task), ylabel="return of evaluations")
        if together:
            _draw(row[-1], {variant: [_scores(results, task, variant) for task in tasks] for variant in variants})
            row[-1].set(title="over all environments", ylabel="normalised score")
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _rows(variants: Sequence[str]) -> list[list[str]]:
    """The variants of each row of panels."""
    if len(variants) <= len(COLOURS):
        return [list(variants)]
    rows: dict[str, list[str]] = {}
    for variant in variants:
        rows.setdefault(variant.partition(",")[0], []).append(variant)
    return list(rows.values())


def _draw(axes: Any, curves: Mapping[str, Sequence[Sequence[Series]]]) -> None:
    """Draws the curve of each variant over all runs of its tasks."""
    for index, (variant, samples) in enumerate(curves.items()):
        draw_curve(axes, curve_of(*samples), COLOURS[index % len(COLOURS)], f"{variant}, {len(samples[0])} seeds")
    tidy_axes(axes)
    axes.set_xlim(left=0)
    axes.legend(frameon=False, fontsize=8)


def _scores(results: Results, task: int, variant: str) -> list[Series]:
    return [
        {step: float(results.score(task, np.array(value))) for step, value in run.items()}
        for run in results.curves[task, variant]
    ]
