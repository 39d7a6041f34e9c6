"""The tables of a comparison: each environment, all of them together, each pair of variants."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from rlsample.runs.numbers import shown

from ..statistics import improvement_interval, interquartile_mean, interval, probability_of_improvement
from ..tables import Table
from .outcomes import Outcome, Results

FEW_SEEDS, TOO_FEW_SEEDS = 5, 3
"""Below the first, an interval says little; below the second it would say nothing, and is not shown."""


def tables_of(results: Results) -> Iterator[Table]:
    """Yields the tables that the results are enough for."""
    yield _by_environment(results)
    if len(results.tasks) > 1 and results.normalised:
        yield _over_environments(results)
    if len(results.variants) > 1:
        yield _improvements(results)


def _by_environment(results: Results) -> Table:
    head = ["variant", "seeds", "final return: IQM [95%]", "solved at the end", "first solved at, median", "s"]
    several = len(results.tasks) > 1
    rows = []
    for task in range(len(results.tasks)):
        name = results.environment(task)
        for variant in results.variants:
            rows.append([*([name] if several else []), variant, *_row(results.outcomes[task, variant])])
    title = "" if several else results.environment(0)
    return Table(title, [*(["environment"] if several else []), *head], rows)


def _row(outcomes: Sequence[Outcome]) -> list[str]:
    returns = np.array([outcome.final_return for outcome in outcomes])
    thresholds = {outcome.threshold for outcome in outcomes}
    solved = first = "-"
    if len(thresholds) == 1 and None not in thresholds:
        (threshold,) = thresholds
        solved = f"{int((returns >= threshold).sum())}/{len(returns)} (>= {threshold:g})"
        median = np.median([np.inf if outcome.steps is None else outcome.steps for outcome in outcomes])
        first = f"{median:,.0f}" if np.isfinite(median) else "-"
    seconds = f"{np.median([outcome.seconds for outcome in outcomes]):.0f}"
    return [str(len(outcomes)), _with_interval([returns]), solved, first, seconds]


def _over_environments(results: Results) -> Table:
    rows = [[variant, _with_interval(results.scores(variant))] for variant in results.variants]
    title = "Over all environments, returns normalised to 0 at `low` and 1 at `high`"
    return Table(title, ["variant", "score: IQM [95%]"], rows)


def _improvements(results: Results) -> Table:
    rows = []
    for one, other in itertools.combinations(results.variants, 2):
        ones, others = results.returns(one), results.returns(other)
        value = probability_of_improvement(ones, others)
        ends = _ends(improvement_interval(ones, others), [*ones, *others], "{:.2f}".format)
        rows.append([one, other, f"{value:.2f} {ends}"])
    title = "How probable a run of X ends higher than one of Y, mean over environments"
    return Table(title, ["X", "Y", "P(X > Y) [95%]"], rows)


def _with_interval(samples: Sequence[np.ndarray]) -> str:
    return f"{shown(interquartile_mean(*samples))} {_ends(interval(*samples), samples)}"


def _ends(ends: tuple[float, float], samples: Sequence[np.ndarray], text: Callable[[float], str] = shown) -> str:
    enough = min(map(len, samples)) >= TOO_FEW_SEEDS
    return f"[{text(ends[0])}, {text(ends[1])}]" if enough else "[-]"
