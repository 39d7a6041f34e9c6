"""What a wheel has to hold: the library, and below it agents, environments, configurations and commands."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

BELOW = ("agents", "envs", "scripts")
"""Folders of a clone that the wheel has below `rlsample`."""

IN_A_CLONE_ALONE = ("agents/snippets", "scripts/benchmark", "scripts/package", "scripts/site")


def expected(clone: Path) -> set[str]:
    """The paths in the wheel of a clone, all but those that describe the wheel itself."""
    library = {path.relative_to(clone).as_posix() for path in _files(clone / "rlsample")}
    return library | {f"rlsample/{path.relative_to(clone).as_posix()}" for path in shipped(clone)}


def shipped(clone: Path) -> Iterator[Path]:
    """Yields the files beside the library that the wheel has below it."""
    left_out = [clone / folder for folder in IN_A_CLONE_ALONE]
    for folder in BELOW:
        yield from (path for path in _files(clone / folder) if not any(map(path.is_relative_to, left_out)))


def problems(wheel: Path, clone: Path) -> list[str]:
    """What the wheel lacks, and what it holds without need."""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    wanted = expected(clone)
    return [f"{name} is missing" for name in sorted(wanted - names)] + [
        f"{name} is there without need" for name in sorted(names - wanted)
    ]


def _files(folder: Path) -> Iterator[Path]:
    for pattern in ("*.py", "*.yaml", "py.typed"):
        yield from folder.rglob(pattern)
