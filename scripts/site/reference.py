"""The pages of the reference: one a room, with every public name and its first line, and one for each name."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from rlsample import samplers

ROOMS: tuple[str, ...] = (
    "ops",
    "samplers",
    "schedules",
    "spaces",
    "streams",
    "distributions",
    "heads",
    "layers",
    "networks",
)
ROOMS += (
    "functional",
    "tfp",
    "lab",
    "learning",
    "in_graph",
    "wrappers",
    "rollouts",
    "scale",
    "runs",
    "types",
    "checks",
    "registry",
)
"""In the order of the table of contents."""


class Public(NamedTuple):
    """A public class or function.

    Attributes:
        module: the module it is documented in, which for a package with `__all__` is the package.
        name: its name there.
        value: itself.
    """

    module: str
    name: str
    value: Any


def public_names(room: str) -> list[Public]:
    """The public classes and functions of a room: what `__all__` names, else all that stand in its modules."""
    module = importlib.import_module(f"rlsample.{room}")
    names = list(getattr(module, "__all__", []))
    if not names:
        return defined_in(module)
    if module is samplers:
        names += [sampler.__name__ for sampler in samplers.SAMPLERS.values()]
    found = (Public(module.__name__, name, getattr(module, name)) for name in names)
    return sorted((each for each in found if _is_code(each.value)), key=lambda each: each.name.lower())


def modules_of(module: ModuleType) -> Iterator[ModuleType]:
    """A module and, if it is a package, those inside of it."""
    yield module
    for found in pkgutil.iter_modules(getattr(module, "__path__", []), f"{module.__name__}."):
        yield from modules_of(importlib.import_module(found.name))


def defined_in(package: ModuleType) -> list[Public]:
    """The public classes and functions that stand in the modules of a package."""
    return [each for part in modules_of(package) for each in _defined_in(part)]


def documented_at() -> dict[str, str]:
    """Where each public name is defined -> where it is documented: annotations and errors say the first."""
    places = {}
    for room in ROOMS:
        for module, name, value in public_names(room):
            places[f"{value.__module__}.{value.__qualname__}"] = f"{module}.{name}"
    return places


def write(folder: Path) -> None:
    """Writes the pages of all rooms and the one that lists them; takes away those of names that are gone."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {"rooms", *ROOMS, *documented_at().values()}
    for page in folder.rglob("*.rst"):
        if page.stem not in kept:
            page.unlink()
    for room in ROOMS:
        _write(folder / f"{room}.rst", room_page(room))
    rows = "\n".join(f"   {room}" for room in ROOMS)
    _write(folder / "rooms.rst", f"Rooms\n=====\n\n.. toctree::\n   :maxdepth: 1\n\n{rows}\n")


def room_page(room: str) -> str:
    """The page of a room: what it is, and a table of its names, by module if there are several."""
    title = f"rlsample.{room}"
    lines = [title, "=" * len(title), "", f".. automodule:: {title}", "   :no-members:", ""]
    groups: dict[str, list[str]] = {}
    for module, name, _ in public_names(room):
        groups.setdefault(module, []).append(name)
    for module, names in groups.items():
        if module != title:
            lines += [module, "-" * len(module), "", f".. automodule:: {module}", "   :no-members:", ""]
        lines += [f".. currentmodule:: {module}", "", ".. autosummary::", "   :toctree: names", "   :nosignatures:", ""]
        lines += [f"   {name}" for name in names] + [""]
    return "\n".join(lines)


def _defined_in(module: ModuleType) -> list[Public]:
    own = ((name, value) for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__)
    return [Public(module.__name__, name, value) for name, value in own if name[0] != "_" and _is_code(value)]


def _is_code(value: Any) -> bool:
    return inspect.isclass(value) or inspect.isfunction(value)


def _write(path: Path, text: str) -> None:
    """Writes a file unless it is as it was, so that an unchanged page is not built again."""
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)
