"""The fields of a `class Config`, read from its source: an agent's module loads TensorFlow, which takes seconds.

What is read is what `describe_fields` says of the class. Where the source leaves room for doubt, nothing is read.
"""

from __future__ import annotations

import ast
import operator
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from rlsample.runs import config
from rlsample.runs.block import Block
from rlsample.runs.describe import BOUNDS, REQUIRED, FieldText, choices_text, describe_fields, value_text


class _Doubt(Exception):  # noqa: N818 (nothing went wrong)
    """The source does not say it plainly."""


def read_fields(path: Path, prefix: str = "") -> list[FieldText] | None:
    """The fields of the `Config` that a Python file defines, those of its base first; None where they are not plain.

    Plain is a class at the top of the file, whose one base is of `rlsample.runs` or the `Config` of a file beside it
    (`from . import ppo`, `class Config(ppo.Config)`), and whose fields have literal defaults, alone or in
    `Field(default=..., description="...")`.
    """
    try:
        module = ast.parse(path.read_text(encoding="utf-8"))
        (definition,) = (node for node in module.body if isinstance(node, ast.ClassDef) and node.name == "Config")
        (base,) = definition.bases
        beside = _file_beside(path, module, base)
        bases = _base_fields(definition, base) if beside is None else read_fields(beside)
        if bases is None:
            return None
        fields = {field.key: field for field in bases}
        fields |= {field.key: field for field in _own_fields(definition)}
    except (OSError, SyntaxError, ValueError, _Doubt):
        return None
    return [field._replace(key=prefix + field.key) for field in fields.values() if field.key != "name"]


def _file_beside(path: Path, module: ast.Module, base: ast.expr) -> Path | None:
    """The file of a base `sibling.Config`, where `sibling` comes from the same folder; else None."""
    if not (isinstance(base, ast.Attribute) and base.attr == "Config" and isinstance(base.value, ast.Name)):
        return None
    beside = [node for node in module.body if isinstance(node, ast.ImportFrom) and node.level == 1 and not node.module]
    names = {alias.name for node in beside for alias in node.names if alias.asname is None}
    return path.with_name(f"{base.value.id}.py") if base.value.id in names else None


def _base_fields(definition: ast.ClassDef, base: ast.expr) -> Iterator[FieldText]:
    name = base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""
    block = getattr(config, name, None)
    if not (isinstance(block, type) and issubclass(block, Block)) or definition.keywords:
        raise _Doubt
    return describe_fields(block)


def _own_fields(definition: ast.ClassDef) -> Iterator[FieldText]:
    for node in definition.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        if "ClassVar" in _names(node.annotation) or node.target.id.startswith("_"):
            continue
        if "Field" in _names(node.annotation):
            raise _Doubt
        default, bounds, sentence = _value(node.value)
        yield FieldText(node.target.id, default, choices_text(_type(node.annotation), bounds), sentence)


def _value(value: ast.expr | None) -> tuple[str, dict[str, Any], str]:
    """The default, the bounds and the sentence that stand behind a field's `=`."""
    if value is None:
        return REQUIRED, {}, ""
    if not isinstance(value, ast.Call):
        return value_text(ast.literal_eval(value)), {}, ""
    options = {keyword.arg: keyword.value for keyword in value.keywords}
    if _names(value.func)[:1] != ["Field"] or value.args or not options.keys().isdisjoint(_RENAMING):
        raise _Doubt
    sentence = ast.literal_eval(options["description"]) if "description" in options else ""
    bounds = {name: ast.literal_eval(options[name]) for name in BOUNDS if name in options}
    default = value_text(ast.literal_eval(options["default"])) if "default" in options else REQUIRED
    return default, bounds, sentence


def _type(node: ast.expr) -> Any:
    """The type that an annotation says."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return operator.or_(_type(node.left), _type(node.right))
    if isinstance(node, ast.Subscript):
        name = _names(node.value)[:1]
        if name == ["Literal"]:
            return Literal[ast.literal_eval(node.slice)]
        if name in (["tuple"], ["dict"]) and isinstance(node.slice, ast.Tuple):
            return types.GenericAlias(tuple if name == ["tuple"] else dict, tuple(map(_type, node.slice.elts)))
    if isinstance(node, ast.Constant) and node.value in (None, ...):
        return node.value
    name = _names(node)[:1]
    if name and name[0] in _TYPES:
        return _TYPES[name[0]]
    raise _Doubt


_RENAMING = {None, "alias", "validation_alias", "default_factory"}
"""Arguments of `Field` after which a field's name or default is not what stands there; None is `**options`."""

_TYPES = {"Any": Any, "PerMember": config.PerMember, "bool": bool, "float": float, "int": int, "str": str}


def _names(node: ast.AST) -> list[str]:
    """The names in an expression, the last part of dotted ones."""
    found = [each for each in ast.walk(node) if isinstance(each, (ast.Name, ast.Attribute))]
    return [each.attr if isinstance(each, ast.Attribute) else each.id for each in found]
