"""All commands in one: `rlsample COMMAND` where the wheel is installed, `python -m scripts COMMAND` in a clone."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from rlsample import __version__, checks

from .arguments import module_of, spoken
from .console import end_at_once_by_signal, protect_output


class Command(NamedTuple):
    """A command: the module whose `main` it is, and what it does."""

    module: str
    sentence: str


COMMANDS = {
    "train": Command("train", "train an agent from a configuration, or go on with a run"),
    "evaluate": Command("evaluate", "play what a run has learned"),
    "compare": Command("compare.__main__", "compare variants of a run over seeds and environments"),
    "sweep": Command("sweep.__main__", "search for good values of a configuration's keys"),
    "report": Command("report.__main__", "write a page about runs"),
    "audit": Command("audit.__main__", "hold every sampler's gradient against its claims"),
    "doctor": Command("doctor", "say what is installed, and what is not as it should be"),
}


def main() -> int:
    """The program: runs the command that `sys.argv` names; returns the exit code."""
    end_at_once_by_signal()
    # Where `python -m` finds modules to `--import`; last, so that a file here takes no name from a package.
    sys.path.append(os.getcwd())
    if "_ARGCOMPLETE" in os.environ:  # The shell asks what it can offer.
        importlib.import_module(module_of("completion")).answer(COMMANDS)
    protect_output()
    return dispatch(sys.argv[1:])


def dispatch(words: Sequence[str]) -> int:
    """Runs the command that the first word names with the others; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(words)
    if options.command is None:
        parser.print_help()
        return 2
    if options.command not in COMMANDS:
        parser.error(str(checks.unknown("command", options.command, COMMANDS)))
    return importlib.import_module(module_of(COMMANDS[options.command].module)).main(options.words)


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {command.sentence}" for name, command in COMMANDS.items()]
    parser = argparse.ArgumentParser(
        prog=spoken(),
        description="Reinforcement learning through differentiable discrete actions.",
        epilog="\n".join(["commands:", *lines, "", f"`{spoken('COMMAND')} --help` says more about each."]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rlsample {__version__}")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="what to do")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="...", help="what the command takes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
