"""The page of every configuration key and the page of every metric, from the fields and the table that define them."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

import agents
from rlsample import networks, samplers, schedules
from rlsample.runs import RunConfig
from rlsample.runs.agents import Agents
from rlsample.runs.block import Block
from rlsample.runs.describe import REQUIRED, value_text
from rlsample.runs.metrics import METRICS

BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
INTRODUCTION = """# Configuration

Every key of a configuration file, which is also a word of the command line: `python -m scripts.train FILE key=value`.
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
    parts = [INTRODUCTION, "## Every run\n", key_table(each for each in fields(RunConfig) if each[0] != "agent")]
    for name in table:
        summary = (table.module(name).__doc__ or "").partition("\n")[0]
        parts += [f"## `agent: {name}`\n\n{summary}\n", key_table(fields(table[name], "agent."))]
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


def fields(model: type[Block], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yields every field by its dotted key, those of blocks inside of it in place of the block."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Block):
            yield from fields(field.annotation, f"{prefix}{name}.")
        elif name != "name":
            yield prefix + name, field


def key_table(found: Iterable[tuple[str, FieldInfo]]) -> str:
    """Key of fields, and their sentence, default and choices."""
    rows = []
    for key, field in found:
        default = REQUIRED.capitalize() if field.is_required() else f"Default `{value_text(field.default)}`"
        rows.append([f"`{key}`", f"{field.description} *{default}*; {choices(field)}."])
    return markdown_table(["key", "what it is"], rows)


def choices(field: FieldInfo) -> str:
    """What a field takes, in words: `a`, `b` or null; a whole number >= 1."""
    bounds = [
        f"{sign} {value_text(bound)}"
        for part in field.metadata
        for name, sign in BOUNDS.items()
        if (bound := getattr(part, name, None)) is not None
    ]
    kind = _kind(field.annotation)
    plain = kind.removesuffix(" or null")
    return " ".join([plain, " and ".join(bounds)]).strip() + kind.removeprefix(plain)


def _kind(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is type(None):
        return "null"
    if origin is typing.Literal:
        return ", ".join(f"`{value_text(value)}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_kind(each) for each in arguments)
    if origin is tuple:
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return "mapping"
    words = {bool: "`true`, `false`", int: "whole number", float: "number", str: "text", Any: "name or mapping"}
    return words.get(annotation, "value")


def markdown_table(head: list[str], rows: Iterable[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"
