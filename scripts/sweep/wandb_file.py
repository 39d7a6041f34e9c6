"""The same search for Weights & Biases: a sweep file, whose agents run `scripts.train` with the same words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlsample.runs import TrackingConfig, yaml_files

from ..arguments import import_words, module_of
from ..variants import Variant
from .ranges import Between, Range, Sweep
from .trials import METRIC

METHODS = {"tpe": "bayes", "random": "random"}
"""Ours -> theirs: both of the first learn from earlier trials."""


def wandb_sweep(sweep: Sweep, group: Variant, config: Path, words: Sequence[str], imports: Sequence[str]) -> str:
    """The sweep file of one group, as YAML.

    Args:
        sweep: the ranges.
        group: what it is for.
        config: the configuration that is varied.
        words: laid over it in every trial.
        imports: modules for each run to import first.
    """
    command = ["${env}", "${interpreter}", "-m", module_of("train"), str(config), *words, *group.words]
    command += ["tracking.wandb=online", *import_words(list(imports)), "${args_no_hyphens}"]
    tracking = yaml_files.override(yaml_files.read(config), words).get("tracking", {})
    data: dict[str, Any] = {
        "project": tracking.get("project", TrackingConfig().project),
        "program": module_of("train"),
        "name": group.name,
        "method": METHODS[sweep.method],
        "metric": {"name": METRIC, "goal": "maximize"},
        "run_cap": sweep.trials,
        "parameters": {key: _parameter(each) for key, each in sweep.ranges.items()},
        "command": command,
    }
    if sweep.pruning != "none":
        data["early_terminate"] = {"type": "hyperband", "min_iter": 1}
    return yaml_files.dump(data)


def _parameter(each: Range) -> dict[str, Any]:
    if not isinstance(each, Between):
        # What is no plain value stands as it does in a word.
        plain = [isinstance(choice, (str, int, float)) and not isinstance(choice, bool) for choice in each.choices]
        return {"values": list(each.choices) if all(plain) else each.ends}
    whole = "q_" if each.step is not None or (each.whole and each.log) else "int_" if each.whole else ""
    distribution = f"{whole}log_uniform_values" if each.log else f"{whole}uniform"
    parameter = {"distribution": distribution, "min": each.low, "max": each.high}
    return parameter if each.step is None else parameter | {"q": each.step}
