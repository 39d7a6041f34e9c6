"""What a sweep found: the best trials with the words to make each again, and a study that compares the best ones."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rlsample.runs import yaml_files
from rlsample.runs.numbers import shown

from ..tables import Table
from ..variants import Variant
from .ranges import Sweep
from .search import Search, best_first, words_for

SHOWN = 5
"""Trials of each group in the table."""

STUDY_SEEDS = 10
"""Of the study that is written."""


class Best(NamedTuple):
    """The best trial of a group: its words, those of the group among them."""

    group: Variant
    number: int
    value: float
    words: list[str]


def best_of_each(search: Search, sweep: Sweep) -> list[Best]:
    """The best trial of each group that has one, the highest return first."""
    found = [
        Best(group, trial.number, trial.values[0], [*group.words, *words_for(sweep.ranges, trial.params)])
        for group in sweep.groups()
        for trial in best_first(search.trials(group))[:1]
    ]
    return sorted(found, key=lambda best: -best.value)


def table_of(search: Search, sweep: Sweep) -> Table:
    """The best trials of each group."""
    rows = [
        [group.name, str(trial.number), shown(trial.values[0]), " ".join(words_for(sweep.ranges, trial.params))]
        for group in sweep.groups()
        for trial in best_first(search.trials(group))[:SHOWN]
    ]
    if not sweep.each:
        return Table("", ["trial", "return", "words"], [row[1:] for row in rows])
    return Table("", ["search", "trial", "return", "words"], rows)


def counts(search: Search, sweep: Sweep) -> Iterator[str]:
    """Yields a line for each group: how many trials came to which end."""
    for group in sweep.groups():
        states = [trial.state.name for trial in search.trials(group)]
        ends = {"COMPLETE": "complete", "PRUNED": "ended early", "FAIL": "failed"}
        parts = [f"{states.count(state)} {word}" for state, word in ends.items() if state in states]
        yield f"{group.name}: {', '.join(parts) or 'no trial ended'}"


def study_of(best: Sequence[Best], config: Path, words: Sequence[str], seed: int, folder: Path) -> str:
    """A study of the best trial of each group, over seeds that the search has not seen.

    Args:
        best: the trials.
        config: the configuration that was varied.
        words: those of every trial.
        seed: that of the search.
        folder: where the study will be.
    """
    data = {
        "config": os.path.relpath(config, folder),
        "variants": {each.group.name: {"words": _settings([*words, *each.words])} for each in best},
        "seeds": list(range(seed + 1, seed + 1 + STUDY_SEEDS)),
    }
    return yaml_files.dump(data)


def _settings(words: Sequence[str]) -> dict[str, object]:
    return {key: yaml_files.parse(text, key) for key, _, text in (word.partition("=") for word in words)}
