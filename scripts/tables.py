"""A table that is shown in a terminal and written as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich import markup
from rich.console import Console
from rich.table import Column
from rich.table import Table as RichTable

LEAST_WIDTH = 120
"""Columns, also of a terminal that does not say how many it has."""


class Table(NamedTuple):
    """What stands in it."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def show(table: Table) -> None:
    """Prints a table, its title above."""
    if table.title:
        print(table.title)
    columns = [Column(markup.escape(head), overflow="fold") for head in table.head]
    shown = RichTable(*columns)
    for row in table.rows:
        shown.add_row(*map(markup.escape, row))
    Console(width=max(Console().width, LEAST_WIDTH)).print(shown)


def markdown(table: Table) -> str:
    """The table as Markdown, its title as a paragraph above."""
    lines = [table.head, ["---"] * len(table.head), *table.rows]
    text = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return f"{table.title}\n\n{text}\n" if table.title else f"{text}\n"
