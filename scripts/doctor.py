"""Says what is installed, what TensorFlow computes on, where metrics go, which names are known, and what is amiss.

    python -m scripts.doctor

Ends with 0, or with 1 when something is not as it should be. It does not load TensorFlow itself, and tells why that
cannot be loaded.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import netrc
import os
import platform
import subprocess
import sys
import urllib.parse
from collections.abc import Iterable, Sequence
from pathlib import Path

from rlsample import __version__
from rlsample.runs import TrackingConfig
from rlsample.runs.shipped import RUNS, STUDIES, SWEEPS, config_files

from .arguments import module_of, spoken
from .catalogue import known_agents
from .requirements import Need, extras, needs

PACKAGE = "rlsample"

SHOWN = 3
"""Packages of an extra that are named."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    argparse.ArgumentParser(prog=spoken("doctor"), description="Says what is installed.").parse_args(arguments)
    print(f"rlsample {__version__} in {Path(__file__).parents[1]}")
    print(f"Python {platform.python_version()} on {platform.platform()}")
    well = [_tell_packages(), _tell_devices()]
    _tell("Weights & Biases", _wandb())
    _tell("Names", _names())
    return 0 if all(well) else 1


def _tell(title: str, lines: Iterable[str]) -> None:
    print("\n".join([f"\n{title}", *(f"  {line}" for line in lines)]), flush=True)


def _tell_packages() -> bool:
    """Prints packages and extras; returns whether all that the package needs by itself is there."""
    try:
        own, names = _once(needs(PACKAGE)), extras(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        _tell("Packages", ["rlsample runs from its source and is not installed: pip install --editable ."])
        return False
    width = max(len(each) for each in [*(need.name for need in own), *names])
    _tell("Packages", (f"{each.name:{width}}  {each.version or ''} {each.problem}".rstrip() for each in own))
    _tell("Extras", (f"{name:{width}}  {_extra(name)}" for name in names))
    return not any(each.problem for each in own)


def _once(found: Iterable[Need]) -> list[Need]:
    """Each package once, however many ask for it."""
    return list({each.name: each for each in found}.values())


def _extra(name: str) -> str:
    added = _once(needs(PACKAGE, name))
    problems = [each.name if each.version is None else f"{each.name} {each.wanted}" for each in added if each.problem]
    if not problems:
        return "installed"
    more = f" and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    return f"pip install '{PACKAGE}[{name}]' for {', '.join(problems[:SHOWN])}{more}"


def _tell_devices() -> bool:
    """Prints what TensorFlow computes on, or why it cannot be loaded; returns whether it can."""
    command = [sys.executable, "-m", module_of("devices")]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        _tell("Devices", done.stdout.splitlines())
        return True
    end = f"was ended by signal {-done.returncode}" if done.returncode < 0 else f"ended with {done.returncode}"
    _tell("Devices", [f"TensorFlow cannot be loaded; the process {end}:", *done.stderr.splitlines()])
    return False


def _wandb() -> list[str]:
    mode = TrackingConfig().wandb
    key = "set" if has_key() else "none; `wandb login` or WANDB_API_KEY sets it"
    return [f"mode: {mode}, unless tracking.wandb says otherwise", f"key: {key}"]


def has_key() -> bool:
    """Whether wandb will find a key: in its environment variable, or where `wandb login` leaves it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    import wandb

    host = urllib.parse.urlparse(wandb.setup().settings.base_url).hostname or ""
    places = [os.environ.get("NETRC"), "~/.netrc", "~/_netrc"]
    for path in (Path(place).expanduser() for place in places if place):
        try:
            if netrc.netrc(path).authenticators(host) is not None:
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


def _names() -> list[str]:
    kinds = {"configurations": RUNS, "studies": STUDIES, "sweeps": SWEEPS}
    lines = [f"agents: {', '.join(known_agents())}"]
    return lines + [f"{title}: {', '.join(config_files(kind))}" for title, kind in kinds.items()]


if __name__ == "__main__":
    sys.exit(main())
