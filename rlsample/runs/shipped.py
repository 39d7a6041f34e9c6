"""What comes with the library: agents, environments and configurations, in a clone as in a wheel.

A clone has them in the folders `agents` and `envs` beside `rlsample`. A wheel has the same folders below it, as
`rlsample.agents` and `rlsample.envs`: their plain names may be those of other packages.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path
from types import ModuleType

from rlsample import checks
from rlsample.runs.agents import Agents
from rlsample.runs.block import ConfigError

LIBRARY = Path(__file__).resolve().parents[1]

RUNS, STUDIES, SWEEPS = "", "studies", "sweeps"
"""Folders of `agents/configs`: configurations of runs, what `compare` reads, what `sweep` reads."""


def known_agents() -> Agents:
    """The agents that come with the library, registered ones and installed ones; registers the environments."""
    package("envs")
    return Agents(package("agents"))


def package(name: str) -> ModuleType | None:
    """Imports `agents` or `envs`; None where the library is without them."""
    for module in (name, f"{LIBRARY.name}.{name}"):
        if _is_ours(module):
            return importlib.import_module(module)
    return None


def config_files(*kinds: str) -> dict[str, Path]:
    """The configurations that come with the library, by name.

    Args:
        *kinds: which ones, of RUNS, STUDIES and SWEEPS; where two share a name, the one of the first kind has it.
    """
    agents = package("agents")
    folders = [] if agents is None else [Path(agents.__path__[0]) / "configs" / kind for kind in reversed(kinds)]
    return {file.stem: file for folder in folders for file in sorted(folder.glob("*.yaml"))}


def find_config(given: str | Path, *kinds: str) -> Path:
    """The file that a path stands for, or a name where there is no such file.

    Args:
        given: a path, or the name of a configuration that comes with the library, such as "cartpole".
        *kinds: as in `config_files`; by default RUNS.

    Raises:
        ConfigError: there is neither.
    """
    path = Path(given)
    if os.path.isfile(path):
        return path
    files = config_files(*(kinds or (RUNS,)))
    if str(given) in files:
        return files[str(given)]
    if path.suffix or len(path.parts) > 1:
        hint = f"Did you mean the name {path.stem!r}?" if path.stem in files else f"There are {', '.join(files)}."
        raise ConfigError(str(checks.invalid("a configuration file that is there", path=str(path), hint=hint)))
    raise ConfigError(str(checks.unknown("configuration", str(given), files, hint="Or give a file.")))


def _is_ours(module: str) -> bool:
    """Whether a module is there, and is the one of this library rather than another package's."""
    if "." not in module and (LIBRARY / module).is_dir():  # In a wheel, whoever has the plain name is somebody else.
        return False
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return False
    return Path(spec.origin).resolve().parents[1] in (LIBRARY, LIBRARY.parent)
