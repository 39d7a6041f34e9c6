"""The fields of a configuration in words: key, default and sentence, for `--help` and the documentation."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import pydantic
from pydantic_core import PydanticUndefined

from rlsample.runs.block import Block

WIDTH = 100

REQUIRED = "required"
"""What stands in place of a default where there is none."""


class FieldText(NamedTuple):
    """A field in words."""

    key: str
    default: str
    sentence: str


def describe_fields(model: type[Block], prefix: str = "") -> Iterator[FieldText]:
    """Yields every field by its dotted key, those of blocks inside of it too; `name` is left out."""
    for name, field in model.model_fields.items():
        default = REQUIRED if field.default is PydanticUndefined else value_text(field.default)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Block):
            yield from describe_fields(field.annotation, f"{prefix}{name}.")
        elif name != "name":
            yield FieldText(prefix + name, default, field.description or "")


def help_text(fields: Iterable[FieldText]) -> str:
    """The fields as lines to print: `key (default)`, and below it the sentence."""
    lines = []
    for key, default, sentence in fields:
        lines.append(f"  {key} ({default})")
        lines += textwrap.wrap(sentence, WIDTH - 6, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


def value_text(value: Any) -> str:
    """A value as YAML has it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(value_text, value))}]"
    return str(value.model_dump(mode="json") if isinstance(value, pydantic.BaseModel) else value)
