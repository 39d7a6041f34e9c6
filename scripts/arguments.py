"""Arguments that several commands take."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence

_MODULE_IN_ID = re.compile(r"(?P<key>env|env\.id)=(?P<module>[A-Za-z_][\w.]*):(?P<id>[^:\s]+)")


def module_of(command: str) -> str:
    """The module that a command is: `scripts.train` in a clone, `rlsample.scripts.train` in a wheel."""
    return f"{__package__}.{command}"


def spoken(command: str = "") -> str:
    """How a person calls a command: `python -m scripts.train` in a clone, `rlsample train` where a wheel is installed.

    Args:
        command: which one; by default that which has them all.
    """
    if __package__.partition(".")[0] == "rlsample":
        return f"rlsample {command}".strip()
    return f"python -m {module_of(command)}".rstrip(".")


def whole_number(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """Makes an argparse `type` for whole numbers of at least `minimum`, and of at most `maximum` where there is one."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = minimum - 1
        if number < minimum or (maximum is not None and number > maximum):
            rule = f">= {minimum}" if maximum is None else f"from {minimum} to {maximum}"
            raise argparse.ArgumentTypeError(f"Expected a whole number {rule}. Received: {text!r}.")
        return number

    return parse


def finite_number(text: str) -> float:
    """An argparse `type` for numbers that are neither NaN nor infinite."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"Expected a finite number. Received: {text!r}.")
    return number


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


def move_modules(words: Sequence[str], imports: Sequence[str]) -> tuple[list[str], list[str]]:
    """Takes `env.id=MODULE:ID`, Gymnasium's way to name what a module registers, for `--import MODULE env.id=ID`.

    Args:
        words: `key=value` words of a command line. Only there: a configuration file imports nothing.
        imports: modules that are imported anyway.

    Returns:
        The words without modules, and all modules to import.
    """
    plain, modules = [], list(imports)
    for word in words:
        match = _MODULE_IN_ID.fullmatch(word)
        plain.append(f"{match['key']}={match['id']}" if match else word)
        if match and match["module"] not in modules:
            modules.append(match["module"])
    return plain, modules
