"""What the package says it needs, by itself and with each of its extras, against what is installed."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from typing import NamedTuple

from packaging.markers import Marker
from packaging.requirements import Requirement


class Need(NamedTuple):
    """A package that is needed.

    Attributes:
        name: its name.
        wanted: the versions that will do, such as ">=2.21,<2.22".
        version: the one that is installed; None where none is.
        problem: what is wrong with that, in words; empty where nothing is.
    """

    name: str
    wanted: str
    version: str | None
    problem: str


def needs(package: str, extra: str = "") -> Iterator[Need]:
    """Yields what a package needs by itself, or what one of its extras adds to that.

    Args:
        package: an installed one.
        extra: one of its extras.

    Raises:
        importlib.metadata.PackageNotFoundError: it is not installed.
    """
    for text in importlib.metadata.requires(package) or []:
        requirement = Requirement(text)
        if _applies(requirement.marker, extra):
            yield from _needs_of(requirement)


def extras(package: str) -> list[str]:
    """The names of a package's extras."""
    return importlib.metadata.metadata(package).get_all("Provides-Extra") or []


def _applies(marker: Marker | None, extra: str) -> bool:
    """Whether what a marker stands behind is needed here: by itself, or with the extra and not by itself."""
    by_itself = marker is None or marker.evaluate({"extra": ""})
    if not extra or marker is None:
        return by_itself and not extra
    return not by_itself and marker.evaluate({"extra": extra})


def _needs_of(requirement: Requirement) -> Iterator[Need]:
    wanted = str(requirement.specifier)
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        yield Need(requirement.name, wanted, None, "not installed")
        return
    fits = requirement.specifier.contains(version, prereleases=True)
    yield Need(requirement.name, wanted, version, "" if fits else f"expected {wanted}")
    for extra in requirement.extras:
        yield from needs(requirement.name, extra)
