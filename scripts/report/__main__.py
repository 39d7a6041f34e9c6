"""Writes a page about runs: curves with intervals over seeds, temperature, sampler diagnostics, what differs, results.

    python -m scripts.report runs/compare/cartpole/*/* --output report.html

The page holds everything it shows. It opens without network and without JavaScript.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rlsample import checks
from rlsample.runs import ConfigError

from ..arguments import spoken
from ..runs_on_disk import read
from .groups import group
from .page import page


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog=spoken("report"), description="Writes a page about runs.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder")
    parser.add_argument("--output", type=Path, default=Path("report.html"), help="the page; by default report.html")
    options = parser.parse_args(arguments)
    try:
        if options.output.is_dir() or not options.output.parent.is_dir():
            raise ConfigError(str(checks.invalid("a file in a folder that is there", output=str(options.output))))
        runs = [read(folder) for folder in options.runs]
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    options.output.write_text(page(*group(runs)), encoding="utf-8")
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
