"""The docstrings of the house as reStructuredText, before napoleon reads their sections.

Formulas are indented blocks, which become literal blocks. Text may hold what reStructuredText would take for markup:
|g|, x * y, c_. What `Returns:` says is a sentence and not a type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

SECTION = re.compile(r"(Args|Attributes|Call arguments|Examples|Raises|Returns|Source|Yields):$")
CODE = re.compile(r"(`[^`]*`)")
NAME = re.compile(r"`[A-Za-z_][\w.]*`$")
MARKUP = re.compile(r"\*|\||(?<=\w)_(?!\w)")
ENTRY = re.compile(r" {4}(\w+): (.*)")
NUMBERED = re.compile(r"^( *(?:[\w*]+: )?\w)\.(?= |$)", re.MULTILINE)
STARRED = re.compile(r"^( *)\\\*\\\*(\w+: )", re.MULTILINE)


def to_restructured_text(lines: list[str]) -> list[str]:
    """The lines of a docstring, without common indentation, as napoleon and docutils should see them."""
    text: list[str] = []
    for section, body in sections(lines):
        if section == "Examples":
            text += [f"{section}:", *body]
        elif section == "Returns":
            words = escaped(body)
            text += [":returns:", *words] if any(words) else []
        elif section == "Attributes":
            text += [".. rubric:: Attributes", "", *definitions(escaped(body))]
        elif section:
            text += [f"{section}:", *escaped(body)]
        elif body:
            text += description(body)
    return text


def sections(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yields (name of the section, its lines); the name of the description, and of text between sections, is empty."""
    name = ""
    body: list[str] = []
    for line in lines:
        header = SECTION.match(line)
        ends = name and line and not line[0].isspace()
        if header or ends:
            yield name, body
            name, body = (header[1], []) if header else ("", [])
        if not header:
            body.append(line)
    yield name, body


def description(lines: list[str]) -> list[str]:
    """Text with its indented blocks, after an empty line, as literal blocks."""
    text: list[str] = []
    prose: list[str] = []
    literal = False
    for line in lines:
        indented = line.startswith("    ")
        if indented and not literal and not (prose and prose[-1].strip()):
            text += [*escaped(prose), "::", ""]
            prose, literal = [], True
        elif line.strip() and not indented:
            literal = False
        (text if literal else prose).append(line)
    return text + escaped(prose)


def definitions(lines: list[str]) -> list[str]:
    """Entries `name: text` as a list of definitions."""
    text: list[str] = []
    for line in lines:
        entry = ENTRY.match(line)
        text += [f"``{entry[1]}``", f"        {entry[2]}"] if entry else [line]
    return text


def escaped(lines: list[str]) -> list[str]:
    """Text in which nothing is markup but what stands in backticks: a name is looked up, all else is code."""
    parts = CODE.split("\n".join(lines))
    text = "".join(_code(part) if CODE.match(part) else MARKUP.sub(r"\\\g<0>", part) for part in parts)
    return NUMBERED.sub(r"\1\\.", STARRED.sub(r"\1**\2", text)).split("\n")


def _code(quoted: str) -> str:
    return quoted if NAME.match(quoted) else f"`{quoted}`"
