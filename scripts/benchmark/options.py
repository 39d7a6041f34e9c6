"""What the command line asks of a suite."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Options(NamedTuple):
    """Options of the benchmark.

    Attributes:
        peer_python: the interpreter that has the peers installed.
        purejaxrl: a clone of PureJaxRL; None leaves it out.
        cleanrl: a clone of CleanRL; None leaves it out.
        only: names to keep; empty means all.
        rounds: turns of each contestant.
        tiny: the smallest sizes, to see that everything runs.
    """

    peer_python: str
    purejaxrl: Path | None = None
    cleanrl: Path | None = None
    only: tuple[str, ...] = ()
    rounds: int = 15
    tiny: bool = False
