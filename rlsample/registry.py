"""Classes by name that are their own configuration: ours, registered ones, and those of installed packages."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar

from rlsample import checks


class Configurable:
    """Base of frozen dataclasses that are their own configuration: their fields are the options.

    Attributes:
        name: the key in their registry.

    Examples:
        >>> sampler = samplers.create({"name": "gumbel_rao", "num_samples": 20})
        >>> sampler.to_config()
        {'name': 'gumbel_rao', 'num_samples': 20}
        >>> samplers.create(sampler.to_config()) == sampler
        True
    """

    name: ClassVar[str]

    def to_config(self) -> dict[str, Any]:
        """The plain dict that the registry's `create` turns back into an equal object."""
        fields: Any = dataclasses.fields(self)  # type: ignore[arg-type]
        return {"name": self.name} | {field.name: _plain(getattr(self, field.name)) for field in fields}


def _plain(value: Any) -> Any:
    """As JSON and YAML have it."""
    if isinstance(value, Configurable):
        return value.to_config()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


Entry = TypeVar("Entry", bound=Configurable)


class Registry(Generic[Entry]):
    """Name -> class, for classes that are `Configurable`.

    Attributes:
        kind: what the classes are, in a word for errors.
        base: the class that all of them derive from.
        table: those of the library.
        registered: those that `register` added.
        group: the entry-point group `rlsample.{kind}s`, through which other packages add theirs.

    Args:
        kind: likewise.
        base: likewise.
        table: likewise.

    Examples:
        >>> from rlsample.registry import Registry
        >>> from rlsample.samplers.reinmax import ReinMax
        >>> registry = Registry("sampler", samplers.Sampler, {"reinmax": ReinMax})
        >>> registry.create("reinmax")
        ReinMax()
    """

    def __init__(self, kind: str, base: Any, table: Mapping[str, type[Entry]] = MappingProxyType({})) -> None:
        self.kind, self.base, self.table = kind, base, table
        self.group = f"rlsample.{kind}s"
        self.registered: dict[str, type[Entry]] = {}

    def create(self, config: str | Mapping[str, Any] | Entry) -> Entry:
        """Builds one from its name, from `{"name": ..., **options}`, or returns one that is built already.

        Raises:
            ValueError: an unknown name or option (with the nearest one suggested), an option that is absent, or a value
                that the class refuses.
        """
        if isinstance(config, self.base):
            return config
        if isinstance(config, str):
            config = {"name": config}
        if not isinstance(config, Mapping) or not isinstance(config.get("name"), str):
            raise self._invalid(f"a {self.kind}'s name or a mapping with the key 'name'", config)
        options = {key: value for key, value in config.items() if key != "name"}
        made: Any = self.get(config["name"])
        fields = {field.name: field for field in dataclasses.fields(made)}
        for option in options:
            if option not in fields:
                raise checks.unknown(f"option for the {self.kind} {made.name!r}", option, fields)
        for name, field in fields.items():
            if field.default is field.default_factory is dataclasses.MISSING and name not in options:
                received = options or {"options": {}}
                raise checks.invalid(f"the {self.kind} {made.name!r} to be given {name!r}", **received)
        return made(**options)

    def get(self, name: str) -> type[Entry]:
        """The class of that name: ours, a registered one, or one from the entry points.

        Raises:
            ValueError: there is none (names the nearest), or the package it is in cannot be imported.
        """
        for table in (self.table, self.registered):
            if name in table:
                return table[name]
        if name not in self.installed:
            raise checks.unknown(self.kind, name, self.names())
        point = self.installed[name]
        try:
            return point.load()
        except Exception as error:  # Whatever another package does while it is imported.
            owner = point.dist.name if point.dist else point.value
            text = f"The {self.kind} {name!r} of the package {owner!r} cannot be imported: {error}"
            raise ValueError(text) from error

    def names(self) -> list[str]:
        """Every name that `create` takes."""
        return sorted({*self.table, *self.registered, *self.installed})

    def register(self, entry: type[Entry]) -> type[Entry]:
        """Adds a class under its `name`; may be used as a decorator.

        Raises:
            ValueError: not a subclass of the base, no name, or the name is taken.
        """
        if not (isinstance(entry, type) and issubclass(entry, self.base)):
            raise self._invalid(f"a subclass of {self.group}.{self.base.__name__}", entry)
        name = getattr(entry, "name", None)
        if not isinstance(name, str):
            raise self._invalid("the class attribute `name` to be a string", entry)
        if self.registered.get(name, entry) is not entry or name in self.table:
            raise checks.invalid("a name that is not taken", name=name)
        self.registered[name] = entry
        return entry

    def _invalid(self, rule: str, value: Any) -> ValueError:
        received: dict[str, Any] = {self.kind: value}
        return checks.invalid(rule, **received)

    @functools.cached_property
    def installed(self) -> Mapping[str, importlib.metadata.EntryPoint]:
        """The entry points of other packages; one is loaded when its name is asked for, and only then."""
        return {point.name: point for point in importlib.metadata.entry_points(group=self.group)}
