"""The fields of a configuration in words: key, default and sentence, for `--help` and the documentation."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import pydantic
from pydantic_core import PydanticUndefined

from rlsample.runs.block import Block

WIDTH = 100


def describe_fields(model: type[Block], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yields (dotted key, default, sentence) of every field, those of blocks inside of it too; `name` is left out."""
    for name, field in model.model_fields.items():
        default = "required" if field.default is PydanticUndefined else _plain(field.default)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Block):
            yield from describe_fields(field.annotation, f"{prefix}{name}.")
        elif name != "name":
            yield prefix + name, default, field.description or ""


def help_text(model: type[Block], prefix: str = "") -> str:
    """The fields as lines to print: `key (default)`, and below it the sentence."""
    lines = []
    for key, default, sentence in describe_fields(model, prefix):
        lines.append(f"  {key} ({default})")
        lines += textwrap.wrap(sentence, WIDTH - 6, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_plain, value))}]"
    return str(value.model_dump(mode="json") if isinstance(value, pydantic.BaseModel) else value)
