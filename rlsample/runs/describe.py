"""The fields of a configuration in words: key, default, choices and sentence, for `--help` and the documentation."""

from __future__ import annotations

import textwrap
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pydantic
from pydantic.fields import FieldInfo

from rlsample.runs.block import Block

WIDTH = 100

REQUIRED = "required"
"""What stands in place of a default where there is none."""

BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}

_KINDS = {bool: "true or false", int: "whole number", float: "number", str: "text", Any: "name or mapping"}


class FieldText(NamedTuple):
    """A field in words."""

    key: str
    default: str
    choices: str
    sentence: str


def describe_fields(model: type[Block], prefix: str = "") -> Iterator[FieldText]:
    """Yields every field by its dotted key, those of blocks inside of it too; `name` is left out."""
    for name, field in model.model_fields.items():
        default = REQUIRED if field.is_required() else value_text(field.default)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Block):
            yield from describe_fields(field.annotation, f"{prefix}{name}.")
        elif name != "name":
            choices = choices_text(field.annotation, _bounds(field))
            yield FieldText(prefix + name, default, choices, field.description or "")


def help_text(fields: Iterable[FieldText]) -> str:
    """The fields as lines to print: `key (default): choices`, and below it the sentence."""
    lines = []
    for key, default, choices, sentence in fields:
        lines.append(f"  {key} ({default}): {choices}")
        lines += textwrap.wrap(sentence, WIDTH - 6, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


def choices_text(annotation: Any, bounds: Mapping[str, Any]) -> str:
    """What a field takes, in words, such as "one, two or null" and "whole number >= 1".

    Args:
        annotation: its type.
        bounds: those that pydantic's `Field` has, by their names there.
    """
    kind = _kind(annotation)
    plain = kind.removesuffix(" or null")
    limits = " and ".join(f"{sign} {value_text(bounds[name])}" for name, sign in BOUNDS.items() if name in bounds)
    return f"{plain} {limits}".strip() + kind.removeprefix(plain)


def value_text(value: Any) -> str:
    """A value as YAML has it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(value_text, value))}]"
    return str(value.model_dump(mode="json") if isinstance(value, pydantic.BaseModel) else value)


def _bounds(field: FieldInfo) -> dict[str, Any]:
    found = [(name, getattr(part, name, None)) for part in field.metadata for name in BOUNDS]
    return {name: bound for name, bound in found if bound is not None}


def _kind(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is type(None):
        return "null"
    if isinstance(annotation, typing.TypeVar):  # The agent of a configuration.
        return _KINDS[Any]
    if origin is typing.Literal:
        return ", ".join(map(value_text, arguments))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_kind, arguments))
    if origin is tuple:
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return "mapping"
    return _KINDS.get(annotation, "value")
