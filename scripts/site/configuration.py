"""The page of every configuration key and the page of every metric, from the fields and the table that define them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import agents
from rlsample import networks, samplers, schedules
from rlsample.runs import RunConfig
from rlsample.runs.agents import Agents
from rlsample.runs.describe import REQUIRED, FieldText, describe_fields
from rlsample.runs.metrics import METRICS

INTRODUCTION = """# Configuration

Every key of a configuration file, which is also a word of the command line: `rlsample train CONFIG key=value`.
An unknown key is refused with the nearest one that exists. `agent`, `network`, `sampler` and `temperature` take a bare
name for `{name: ...}`; `base: FILE` inherits from another file.
"""


def write(folder: Path) -> None:
    """Writes both pages."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "configuration.md").write_text(configuration_page())
    (folder / "metrics.md").write_text(metrics_page())


def configuration_page() -> str:
    """The keys of every run, those of each agent, and the names that `network`, `sampler` and `temperature` take."""
    table = Agents(agents)
    every = [each for each in describe_fields(RunConfig) if each.key != "agent"]
    parts = [INTRODUCTION, "## Every run\n", key_table(every)]
    for name in table:
        summary = (table.module(name).__doc__ or "").partition("\n")[0]
        parts += [f"## `agent: {name}`\n\n{summary}\n", key_table(describe_fields(table[name], "agent."))]
    rows = ([f"`{name}`", f"{{py:class}}`rlsample.networks.{networks.get(name).__name__}`"] for name in network_names())
    parts += ["## `network`\n\nTheir options are fields of the classes.\n", markdown_table(["name", "class"], rows)]
    parts.append("## `sampler`\n\nTheir options are fields of the classes.\n")
    rows = ([f"`{name}`", f"{{py:class}}`rlsample.samplers.{cls.__name__}`"] for name, cls in sampler_classes())
    parts += [markdown_table(["name", "class"], rows), "## `temperature`\n\nA number stays as it is; by name:\n"]
    rows = (
        [f"`{name}`", f"{{py:class}}`rlsample.schedules.{cls.__name__}`"] for name, cls in schedules.SCHEDULES.items()
    )
    parts.append(markdown_table(["name", "class"], rows))
    return "\n".join(parts)


def metrics_page() -> str:
    """Every metric with its sentence."""
    text = "# Metrics\n\nWhat `metrics.jsonl` and Weights & Biases hold; not every agent logs all of them.\n\n"
    return text + markdown_table(["metric", "meaning"], ([f"`{name}`", meaning] for name, meaning in METRICS.items()))


def sampler_classes() -> list[tuple[str, type[samplers.Sampler]]]:
    """The library's samplers by name."""
    return sorted(samplers.SAMPLERS.items())


def network_names() -> list[str]:
    """The library's networks."""
    return [name for name in networks.names() if networks.get(name).__module__.startswith("rlsample.")]


def key_table(fields: Iterable[FieldText]) -> str:
    """Key of fields, and their sentence, default and choices."""
    rows = []
    for key, default, choices, sentence in fields:
        beginning = default.capitalize() if default == REQUIRED else f"Default `{default}`"
        rows.append([f"`{key}`", f"{sentence} *{beginning}*; {choices}."])
    return markdown_table(["key", "what it is"], rows)


def markdown_table(head: list[str], rows: Iterable[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"
