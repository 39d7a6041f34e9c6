"""Tables for the terminal and for the documentation."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table as RichTable


class Table(NamedTuple):
    """A table of text.

    Attributes:
        name: one word, by which the documentation marks its place.
        title: what it shows, one line.
        columns: headings.
        rows: as many cells each.
    """

    name: str
    title: str
    columns: list[str]
    rows: list[list[str]]


def milliseconds(seconds: float) -> str:
    """Seconds as milliseconds with three digits; a dash for NaN."""
    return "-" if math.isnan(seconds) else f"{seconds * 1e3:.3g}"


def ratio(ours: float, theirs: float) -> str:
    """How many times theirs ours is; a dash where one of them is missing."""
    value = ours / theirs if theirs else float("nan")
    return "-" if math.isnan(value) else f"{value:.2f}"


def show(table: Table, console: Console) -> None:
    """Prints a table."""
    shown = RichTable(*table.columns, title=table.title, box=box.SIMPLE_HEAD, title_justify="left")
    for row in table.rows:
        shown.add_row(*row)
    console.print(shown)


def markdown(table: Table) -> str:
    """The table in Markdown."""
    lines = [table.columns, ["---"] + ["---:"] * (len(table.columns) - 1), *table.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write(table: Table, page: Path) -> bool:
    """Puts the table between the marks `<!-- begin NAME -->` and `<!-- end NAME -->` of a page.

    Returns:
        Whether the page has the marks.
    """
    text = page.read_text(encoding="utf-8")
    begin, end = f"<!-- begin {table.name} -->", f"<!-- end {table.name} -->"
    place = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    block = f"{begin}\n{table.title}\n\n{markdown(table)}\n{end}"
    replaced, count = place.subn(lambda _: block, text)
    page.write_text(replaced, encoding="utf-8")
    return count > 0
