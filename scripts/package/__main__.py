"""Builds wheel and source distribution, and checks them.

    python -m scripts.package
    python -m scripts.package --pythons 3.12

The wheel is built from the source distribution. What it holds is compared with the clone; then it is installed, for
each Python that is there, in a fresh environment outside of the clone, and trains an agent in an empty folder. Ends
with 0, or with 1 when something is not as it should be.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .commands import Failed, run
from .contents import problems
from .fresh import Fresh

CLONE = Path(__file__).parents[2]
PYTHONS = ("3.11", "3.12", "3.13")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        wheel = build(options.output)
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    wrong = problems(wheel, CLONE)
    if wrong:
        print(f"{wheel.name}: {'; '.join(wrong)}", file=sys.stderr)
        return 1
    found = {version: python for version in options.pythons if (python := find_python(version))}
    for version in options.pythons:
        if version not in found:
            print(f"Python {version} was not found: the wheel has not been tried with it.")
    if not found:
        print("Expected at least one Python to try the wheel with. Received: none.", file=sys.stderr)
        return 1
    return max(_try_out(wheel, version, python) for version, python in found.items())


def build(output: Path) -> Path:
    """Builds both in place of what was in the folder; returns the wheel."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "build", "--outdir", folder, str(CLONE)]
        run(command, CLONE)
        output.mkdir(parents=True, exist_ok=True)
        for old in output.glob("rlsample-*"):
            old.unlink()
        built = [Path(shutil.copy(path, output)) for path in sorted(Path(folder).iterdir())]
    for path in built:
        print(f"{path}: {path.stat().st_size:,} bytes")
    return next(path for path in built if path.suffix == ".whl").resolve()


def find_python(version: str) -> str | None:
    """The interpreter of a version such as "3.12"; None where there is none, or none that starts."""
    python = shutil.which(f"python{version}")
    if python is None:
        return None
    # A version manager may have put something of that name there which only says how to install it.
    done = subprocess.run([python, "--version"], capture_output=True, text=True, check=False)
    return python if done.returncode == 0 and f" {version}." in done.stdout else None


def _try_out(wheel: Path, version: str, python: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        try:
            for line in Fresh(Path(folder), python, wheel, CLONE / "constraints.txt").try_out():
                print(f"Python {version}: {line}", flush=True)
        except Failed as failure:
            print(f"Python {version}: {failure}", file=sys.stderr)
            return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.package", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("dist"), help="where they go; by default dist")
    parser.add_argument(
        "--pythons", nargs="+", default=PYTHONS, metavar="VERSION", help=f"to try; by default {' '.join(PYTHONS)}"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
