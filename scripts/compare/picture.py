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
    """Draws one panel for each environment, and one over all where returns are normalised."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tasks = range(len(results.tasks))
    together = results.normalised and len(results.tasks) > 1
    count = len(results.tasks) + together
    width, height = PANEL_SIZE
    figure, panels = pyplot.subplots(1, count, figsize=(width * count, height), layout="constrained", squeeze=False)
    for task, axes in zip(tasks, panels[0], strict=False):
        _draw(axes, {variant: [results.curves[task, variant]] for variant in results.variants})
        axes.set(title=results.environment(task), ylabel="return of evaluations")
    if together:
        scores = {variant: [_scores(results, task, variant) for task in tasks] for variant in results.variants}
        _draw(panels[0][-1], scores)
        panels[0][-1].set(title="over all environments", ylabel="normalised score")
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


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
