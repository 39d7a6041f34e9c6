"""The picture of a sweep: the best return so far, and the return against each searched key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..curves import COLOURS
from .ranges import Between, Range, Sweep
from .search import Search, complete

if TYPE_CHECKING:
    import optuna

PANEL_SIZE = (3.6, 3.0)
"""Inches."""

COLUMNS = 3


def draw(search: Search, sweep: Sweep, path: Path) -> None:
    """Draws the trials that came to their end, in one colour for each group."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    count = 1 + len(sweep.ranges)
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    width, height = PANEL_SIZE
    figure, panels = pyplot.subplots(
        rows, columns, figsize=(width * columns, height * rows), layout="constrained", squeeze=False, sharey=True
    )
    for axes in panels.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_visible(False)
    for index, group in enumerate(sweep.groups()):
        trials, colour = complete(search.trials(group)), COLOURS[index % len(COLOURS)]
        _draw_progress(panels.flat[0], trials, colour, group.name)
        for axes, (key, each) in zip(panels.flat[1:], sweep.ranges.items(), strict=False):
            _draw_range(axes, trials, key, each, colour)
    for axes in panels[:, 0]:
        axes.set_ylabel("mean return")
    if sweep.each:
        panels.flat[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _draw_progress(axes: Any, trials: list[optuna.trial.FrozenTrial], colour: str, label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    numbers, values = [trial.number for trial in trials], [trial.values[0] for trial in trials]
    axes.set(visible=True, xlabel="trial", title="best so far")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.scatter(numbers, values, color=colour, s=12, alpha=0.5)
    if values:
        axes.step(numbers, np.maximum.accumulate(values), where="post", color=colour, label=label)


def _draw_range(axes: Any, trials: list[optuna.trial.FrozenTrial], key: str, each: Range, colour: str) -> None:
    axes.set(visible=True, xlabel=key)
    if isinstance(each, Between):
        axes.set(xscale="log" if each.log else "linear", xlim=(each.low, each.high))
        places = [trial.params[key] for trial in trials]
    else:
        axes.set_xticks(range(len(each.ends)), each.ends, fontsize=8)
        axes.set_xlim(-0.5, len(each.ends) - 0.5)
        places = [each.ends.index(trial.params[key]) for trial in trials]
    axes.scatter(places, [trial.values[0] for trial in trials], color=colour, s=12)
