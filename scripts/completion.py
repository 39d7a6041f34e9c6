"""What a shell offers behind `rlsample` when Tab is pressed: commands, options, names of configurations, keys, values.

    eval "$(register-python-argcomplete rlsample)"

in the shell's start file turns it on; it needs the extra `completion`, and does not load TensorFlow.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gymnasium

from rlsample.runs.shipped import RUNS, STUDIES, SWEEPS, config_files

from .arguments import module_of
from .catalogue import known_agents
from .fields import fields_of

MODULES = {"train": "train", "evaluate": "evaluate", "compare": "compare.__main__", "sweep": "sweep.__main__"}
"""Commands with options to offer, and their modules, which have a function `command_line`."""

KINDS = {"train": [RUNS], "compare": [STUDIES, RUNS], "sweep": [SWEEPS]}
"""Commands that take the name of a configuration first, and then `key=value` words."""


def answer(commands: Iterable[str]) -> None:
    """Answers the shell function of argcomplete, and ends the process."""
    import argcomplete

    argcomplete.autocomplete(_parser(commands))


def offers(command: str, words: Sequence[str], beginning: str) -> list[str]:
    """What may stand at the end of a command line, options aside.

    Args:
        command: one of KINDS.
        words: those between the command and the end.
        beginning: the last word, as far as it has been typed.
    """
    agents = known_agents()
    key = beginning.partition("=")[0]
    if not words:
        found: Iterable[str] = config_files(*KINDS[command])
    elif "=" in beginning:
        ids = gymnasium.registry if key in ("env", "env.id") else agents if key == "agent" else ()
        found = (f"{key}={value}" for value in ids)
    else:
        found = (f"{field.key}=" for fields in fields_of(words, agents).values() for field in fields)
    return [word for word in found if word.startswith(beginning)]


def _parser(commands: Iterable[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    known = parser.add_subparsers()
    for name in commands:
        options = [importlib.import_module(module_of(MODULES[name])).command_line()] if name in MODULES else []
        command = known.add_parser(name, parents=options, add_help=False)
        for action in command._actions if name in KINDS else []:
            if not action.option_strings:
                action.completer = _completer(name)  # type: ignore[attr-defined]
    return parser


def _completer(command: str) -> Callable[..., list[str]]:
    def complete(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
        file = getattr(parsed_args, "file", None)
        return offers(command, [*([] if file is None else [str(file)]), *(parsed_args.words or [])], prefix)

    return complete
