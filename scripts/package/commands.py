"""Commands that have to end well."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

DROPPED = ("PYTHONHOME", "PYTHONPATH", "TF_CPP_MIN_LOG_LEVEL", "VIRTUAL_ENV")
"""Environment variables that would bring the clone in, or change what is said."""


class Failed(Exception):  # noqa: N818 (it says what happened)
    """Something that has to be done was not done; says what, and what was printed."""


def run(command: Sequence[str], folder: Path) -> str:
    """Runs a command in a folder, without the clone's environment variables; returns all that it prints.

    Raises:
        Failed: it does not end with 0.
    """
    environment = {name: value for name, value in os.environ.items() if name not in DROPPED}
    out, errors = subprocess.PIPE, subprocess.STDOUT
    done = subprocess.run(command, cwd=folder, env=environment, stdout=out, stderr=errors, text=True, check=False)
    if done.returncode:
        raise Failed(f"`{shlex.join(command)}` ended with {done.returncode}:\n{done.stdout}")
    return done.stdout
