"""The page itself: HTML with everything inside of it."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from rlsample.runs.metrics import meaning_of
from rlsample.runs.numbers import shown

from ..runs_on_disk import RunOnDisk
from ..statistics import interquartile_mean, interval
from .curves import draw
from .groups import Group

LARGEST_VIDEO = 20_000_000
"""Bytes; a larger recording is named, and not put into the page."""

FIRST = {
    "evaluation/mean_return": "return of evaluations",
    "charts/episodic_return": "return while training",
    "sampler/temperature": "temperature",
}
"""The curves that come first; those of the sampler and the policy follow."""

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
td, th { padding: .25rem .75rem; text-align: left; border-bottom: 1px solid #8c959f55; }
figure { margin: 1rem 0; background: #fff; color: #24292f; padding: .5rem; border-radius: 6px; }
figure svg { width: 100%; height: auto; } figcaption { font-size: 13px; } code { font-size: 13px; }
"""


def page(groups: Sequence[Group], different: dict[str, list[Any]]) -> str:
    """The whole page."""
    runs = [run for group in groups for run in group.runs]
    title = ", ".join(dict.fromkeys(str(run.config["env"]["id"]) for run in runs))
    parts = [
        f"<h1>{_text(title)}</h1>",
        "<h2>Results</h2>",
        _results(groups),
        *([] if not different else ["<h2>What differs</h2>", _differences(groups, different)]),
        "<h2>Curves</h2>",
        *_curves(groups, runs),
        "<h2>Runs</h2>",
        _runs(runs),
        *[_video(run) for run in runs if run.video is not None],
    ]
    head = f'<meta charset="utf-8"><title>{_text(title)}</title><style>{STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _results(groups: Sequence[Group]) -> str:
    rows = []
    for group in groups:
        returns = np.array([run.evaluation["mean_return"] for run in group.runs if run.evaluation is not None])
        finished = f"{len(returns)} of {len(group.runs)}"
        if len(returns) > 2:
            low, high = interval(returns)
            result = f"{shown(interquartile_mean(returns))} [{shown(low)}, {shown(high)}]"
        else:
            result = ", ".join(map(shown, returns)) or "-"
        rows.append([group.name, finished, result])
    return _table(["configuration", "finished", "final return (from 3 seeds on: IQM [95 %])"], rows)


def _differences(groups: Sequence[Group], different: dict[str, list[Any]]) -> str:
    rows = [[name, *("-" if value is None else value for value in values)] for name, values in different.items()]
    return _table(["field", *(group.name for group in groups)], rows)


def _curves(groups: Sequence[Group], runs: Sequence[RunOnDisk]) -> list[str]:
    logged = dict.fromkeys(name for run in runs for record in run.records for name in record)
    others = sorted(
        name for name in logged if name.startswith(("sampler/", "policy/", "losses/")) and name not in FIRST
    )
    figures = []
    for name, label in {**FIRST, **{name: name for name in others}}.items():
        svg = draw(groups, name, label)
        if svg is not None:
            meaning = meaning_of(name) or ""
            figures.append(
                f'<figure role="img" aria-label="{_text(label)} against environment steps">{svg}'
                f"<figcaption><code>{_text(name)}</code> {_text(meaning)}</figcaption></figure>"
            )
    return figures


def _runs(runs: Sequence[RunOnDisk]) -> str:
    rows = []
    for run in runs:
        result, config = run.evaluation, run.config
        value = "not finished" if result is None else f"{shown(result['mean_return'])} ± {shown(result['std_return'])}"
        step = int(run.records[-1]["global_step"]) if run.records else 0
        rows.append(
            [str(run.folder), config["agent"]["name"], config["sampler"]["name"], config["seed"], f"{step:,}", value]
        )
    return _table(["run", "agent", "sampler", "seed", "steps", "final return"], rows)


def _video(run: RunOnDisk) -> str:
    assert run.video is not None  # noqa: S101 (the caller chose)
    if run.video.stat().st_size > LARGEST_VIDEO:
        return f"<p>Recording: <code>{_text(run.video)}</code></p>"
    data = base64.b64encode(run.video.read_bytes()).decode()
    caption = f"<figcaption>{_text(run.folder)}</figcaption>"
    return f'<figure><video controls width="480" src="data:video/mp4;base64,{data}"></video>{caption}</figure>'


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    cells = ["".join(f"<th>{_text(cell)}</th>" for cell in head)]
    cells += ["".join(f"<td>{_text(cell)}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"


def _text(value: Any) -> str:
    return html.escape(str(value))
