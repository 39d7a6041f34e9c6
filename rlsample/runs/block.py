"""What every part of a configuration is: a frozen, strict pydantic model."""

from __future__ import annotations

from typing import Any

import pydantic
from pydantic.fields import FieldInfo


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names every place and the way out, for a person to read.

    Examples:
        >>> from rlsample.runs.shipped import known_agents
        >>> try:
        ...     runs.load_config("cartpole", ["sampler=reinmaxx", "sed=3"], agents=known_agents())
        ... except runs.ConfigError as error:
        ...     print(error)
        cartpole cannot be used:
          sampler: Unknown sampler 'reinmaxx'. Did you mean 'reinmax'? ...
          sed: Unknown key 'sed'. Did you mean 'seed'? ...
    """


class Block(pydantic.BaseModel):
    """A block of a configuration: no unknown key, no silent conversion, no NaN, nothing to change afterwards."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _as_the_fields_are(cls, data: Any) -> Any:
        """YAML has lists, and writes 100000 as 1e5; a block that never changes holds tuples and whole numbers."""
        if not isinstance(data, dict):
            return data
        return {key: _as_whole(cls.model_fields.get(key), _as_tuple(value)) for key, value in data.items()}


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(item) for item in value) if isinstance(value, list) else value


def _as_whole(field: FieldInfo | None, value: Any) -> Any:
    """A whole number that was written as a float, where the field holds whole numbers."""
    whole = isinstance(value, float) and value.is_integer()
    return int(value) if whole and field is not None and field.annotation in (int, int | None) else value
