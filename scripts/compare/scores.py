"""The scores of a comparison as JSON, in the form that rliable takes.

data = json.load(open("scores.json"))
scores = {name: np.array(values) for name, values in data["scores"].items()}    # [runs, tasks]
rliable.library.get_interval_estimates(scores, lambda x: np.array([rliable.metrics.aggregate_iqm(x)]))
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..curves import common_steps
from .outcomes import Results


def scores_of(results: Results) -> dict[str, Any]:
    """The scores as plain data.

    Returns:
        `tasks`, their names; `normalised`, whether scores are; `scores`, variant -> `[runs, tasks]`; `frames`, the
        environment steps at which all runs were evaluated, and `curves`, variant -> `[runs, tasks, frames]`.
    """
    tasks = range(len(results.tasks))
    frames = common_steps([run for runs in results.curves.values() for run in runs])
    curves = {
        variant: np.stack(
            [
                results.score(
                    task,
                    np.array([[run[step] for step in frames] for run in results.curves[task, variant]]),
                )
                for task in tasks
            ],
            axis=1,
        ).tolist()
        for variant in results.variants
    }
    return {
        "tasks": [results.environment(task) for task in tasks],
        "normalised": results.normalised,
        "scores": {variant: np.stack(results.scores(variant), axis=1).tolist() for variant in results.variants},
        "frames": [int(step) for step in frames],
        "curves": curves,
    }
