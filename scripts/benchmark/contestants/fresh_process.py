"""A script run from nothing: imports and compilation count."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def prepare(script: str) -> Callable[[], dict[str, Any]]:
    """One call runs the script, beside this file, in a process of its own, with the next seed.

    The script's last line of output is JSON: what it came to.
    """
    seed = 0

    def run() -> dict[str, Any]:
        nonlocal seed
        seed += 1
        command = [sys.executable, str(Path(__file__).with_name(script)), str(seed)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{script} failed: {done.stderr.strip()[-200:]}")
        return json.loads(done.stdout.strip().splitlines()[-1])

    return run
