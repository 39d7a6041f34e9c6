"""Environments of other packages by their ids: what registers them, and the wrappers that are usual around them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from rlsample import checks


class Package(NamedTuple):
    """A package of environments.

    Attributes:
        module: whose import registers them; empty for none.
        register: a function of it that does, where the import alone does not.
        wrappers: around each environment, where a configuration names none.
        step_limit: what its vector form calls a limit of steps, and how much one step counts there.
        note: a sentence about them.
        extra: of this library, that installs it.
    """

    module: str
    register: str | None = None
    wrappers: tuple[Any, ...] = ()
    step_limit: tuple[str, int] = ("max_episode_steps", 1)
    note: str = ""
    extra: str = "environments"


_MINIGRID = Package(
    "minigrid",
    wrappers=({"name": "FilterObservation", "filter_keys": ["image", "direction"]},),
    note="The text `mission` is left out of the observations; env.wrappers says otherwise.",
)

PACKAGES: dict[str, Package] = {
    "ALE/": Package("ale_py", step_limit=("max_num_frames_per_episode", 4)),
    "BabyAI-": _MINIGRID,
    "Foraging-": Package("lbforaging", extra="multi_agent"),
    "MinAtar/": Package("minatar.gym", register="register_envs"),
    "MiniGrid-": _MINIGRID,
    "rlsample/": Package("envs"),
    "rware-": Package("rware", extra="multi_agent"),
}
"""By the beginning of the ids. ALE's own vector form makes grey frames of 84 x 84, four to a stack."""

WRAPPER_MODULES = ("gymnasium.wrappers", "minigrid.wrappers", "rlsample.wrappers")
"""Where wrappers that a configuration names are looked up."""


def package_of(env_id: str) -> Package:
    """The package that an id is of; one without a module if it is none of these."""
    return next((package for start, package in PACKAGES.items() if env_id.startswith(start)), Package(""))


def register(package: Package) -> None:
    """Registers a package's environments with Gymnasium; does nothing without a module.

    Raises:
        ValueError: it is not installed; says how to.
    """
    if not package.module:
        return
    try:
        module = importlib.import_module(package.module)
    except ImportError as error:
        hint = f"pip install 'rlsample[{package.extra}]'."
        raise checks.invalid("the environment's package to be installed", missing=error.name, hint=hint) from error
    if package.register is not None:
        getattr(module, package.register)()


def wrapper(config: Any) -> tuple[Any, dict[str, Any]]:
    """The class and the options of a wrapper that is given by its name, or as `{"name": ..., **options}`.

    Raises:
        ValueError: there is none of that name in `WRAPPER_MODULES`; names the nearest.
    """
    import gymnasium

    config = {"name": config} if isinstance(config, str) else config
    if not isinstance(config, Mapping) or not isinstance(config.get("name"), str):
        raise checks.invalid("a wrapper's name or a mapping with the key 'name'", wrapper=config)
    known: dict[str, Any] = {}
    for name in WRAPPER_MODULES:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        found = (value for value in vars(module).values() if isinstance(value, type))
        known |= {value.__name__: value for value in found if issubclass(value, gymnasium.Wrapper)}
    if config["name"] not in known:
        raise checks.unknown("wrapper", config["name"], known, limit=3)
    return known[config["name"]], {key: value for key, value in config.items() if key != "name"}
