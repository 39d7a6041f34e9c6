"""Times the library beside its peers: samplers, eager calls, convolutions, training, games. Prints tables of ratios.

    python -m scripts.benchmark
    python -m scripts.benchmark samplers --only reinmax zgr --rounds 30
    python -m scripts.benchmark --peer-python /path/to/peers/bin/python --write docs/performance.md

Every contestant is a process of its own, and they take turns, so that whatever else the machine does meets them all.
Peers (the extra `peers`) may live in another environment; those that are not installed are marked absent.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from rlsample import checks
from scripts.benchmark import games, pieces, replay, samplers, scaling, tables, torso, training
from scripts.benchmark.options import Options

SUITES = {
    "samplers": samplers.run,
    "pieces": pieces.run,
    "torso": torso.run,
    "training": training.run,
    "replay": replay.run,
    "games": games.run,
    "scaling": scaling.run,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    for name in options.suites:
        if name not in SUITES:
            parser.error(str(checks.unknown("suite", name, SUITES)))
    console = Console(highlight=False, width=max(Console().width, 120))
    chosen = Options(
        peer_python=options.peer_python,
        purejaxrl=options.purejaxrl,
        cleanrl=options.cleanrl,
        only=tuple(options.only),
        rounds=options.rounds or (1 if options.tiny else 15),
        tiny=options.tiny,
    )
    for name in options.suites or SUITES:
        for table in SUITES[name](chosen):
            tables.show(table, console)
            if options.write and not tables.write(table, options.write):
                console.print(f"{options.write} has no place for the table {table.name}.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.benchmark", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of: {', '.join(SUITES)}; default: all")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="samplers, pieces or parts of a suite")
    parser.add_argument("--rounds", type=int, help="turns of each contestant; default 15")
    parser.add_argument("--peer-python", default=sys.executable, help="the interpreter that has the peers installed")
    parser.add_argument("--purejaxrl", type=Path, help="a clone of PureJaxRL, to be timed as well")
    parser.add_argument("--cleanrl", type=Path, help="a clone of CleanRL, to be timed as well")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables into this page of the documentation")
    parser.add_argument("--tiny", action="store_true", help="the smallest sizes once, to see that everything runs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
