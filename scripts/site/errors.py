"""The page of every error that the library words itself, read from its source: the rule, and the way out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LIBRARY = Path(__file__).parents[2] / "rlsample"

INTRODUCTION = """# Every error

What the library asks for and does not get, by where it is told: `Expected RULE. Received: ...`, or `Unknown ...`, which
names the nearest there is. `...` stands for what differs. [Questions and errors](../errors.md) explains those that are
met most often.
"""

_WORDED = re.compile(r"(?P<rule>Expected .+?)\.? Received: (?P<received>.*?)(?:\. (?P<hint>.*)|$)", re.DOTALL)
"""What an error says that is not made by `checks`."""

_DIFFERS = "\N{HORIZONTAL ELLIPSIS}"
"""What stands for what differs until the text has been taken apart; its dots end no sentence."""


class Message(NamedTuple):
    """What an error says.

    Attributes:
        rule: what is expected, or unknown; "..." for what the source does not say plainly.
        hint: the way out; empty where the rule says it all.
    """

    rule: str
    hint: str


def write(folder: Path) -> None:
    """Writes the page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "every_error.md").write_text(page())


def page() -> str:
    """The page: a table for each room."""
    parts = [INTRODUCTION]
    for room in sorted(LIBRARY.iterdir()):
        files = sorted(room.rglob("*.py")) if room.is_dir() else [room]
        found = dict.fromkeys(each for file in files if file.suffix == ".py" for each in messages(file.read_text()))
        if found:
            rows = "\n".join(f"| {_code(each.rule)} | {_plain(each.hint)} |" for each in found)
            name = f"rlsample.{room.stem}".removesuffix(".__init__")
            parts.append(f"## `{name}`\n\n| message | way out |\n|---|---|\n{rows}\n")
    return "\n".join(parts)


def messages(source: str) -> Iterator[Message]:
    """The messages that a file makes with `checks.invalid` and `checks.unknown`, or raises in the same words."""
    tree = ast.parse(source)
    assigned = {
        (target.id, node.lineno): node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    for call in sorted(calls, key=lambda node: node.lineno):
        hints = [keyword.value for keyword in call.keywords if keyword.arg == "hint"]
        found = _worded(_name(call.func), _text(call.args[0], assigned), _text(hints[0], assigned) if hints else "")
        if found:
            hint = found.hint if found.hint.strip(f" .{_DIFFERS}") else ""
            yield Message(found.rule.replace(_DIFFERS, "..."), hint.replace(_DIFFERS, "..."))


def _worded(maker: str, text: str, hint: str) -> Message | None:
    """What the error says that a function, or its own class, makes of a text."""
    if maker == "invalid":
        return Message(f"Expected {text}", hint) if text.strip(f" .{_DIFFERS}") else None
    if maker == "unknown":
        return Message(f"Unknown {text} {_DIFFERS}", hint)
    words = _WORDED.fullmatch(text) if maker.endswith(("Error", "Fault")) else None
    return Message(words["rule"], words["hint"] or "") if words else None


def _text(node: ast.expr, assigned: dict[tuple[str, int], ast.expr]) -> str:
    """The text of an expression, a sign for each part that is not plain."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, assigned) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left, assigned) + _text(node.right, assigned)
    if isinstance(node, ast.FormattedValue) and _name(node.value) in ("rule", "hint"):
        return _text(node.value, assigned)
    before = [line for name, line in assigned if isinstance(node, ast.Name) and name == node.id and line < node.lineno]
    if isinstance(node, ast.Name) and before:
        return _text(assigned[node.id, max(before)], assigned)
    return _DIFFERS


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _code(text: str) -> str:
    """A text as code in a table of Markdown."""
    around = ("`` ", " ``") if "`" in text else ("`", "`")
    return text.replace("|", r"\|").join(around)


def _plain(text: str) -> str:
    """A text in which a table of Markdown sees no markup, but for code in backticks."""
    for sign in "|[]*<":
        text = text.replace(sign, f"\\{sign}")
    return text
