"""Arguments that several commands take."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def whole_number(minimum: int) -> Callable[[str], int]:
    """Makes an argparse `type` for whole numbers of at least `minimum`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = minimum - 1
        if number < minimum:
            raise argparse.ArgumentTypeError(f"Expected a whole number >= {minimum}. Received: {text!r}.")
        return number

    return parse


def add_import_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--import MODULE`, whose values arrive as the list `imports`."""
    parser.add_argument(
        "--import",
        dest="imports",
        metavar="MODULE",
        action="append",
        default=[],
        help="a module to import first, for the environments, samplers or agents that it brings; may be repeated",
    )


def import_words(modules: list[str]) -> list[str]:
    """The words that say the same on another command line."""
    return [word for module in modules for word in ("--import", module)]
