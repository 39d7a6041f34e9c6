"""What every part of a configuration is: a frozen, strict pydantic model."""

from __future__ import annotations

from typing import Any

import pydantic


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names every place and the way out, for a person to read."""


class Block(pydantic.BaseModel):
    """A block of a configuration: no unknown key, no silent conversion, no NaN, nothing to change afterwards."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _freeze_sequences(cls, data: Any) -> Any:
        """YAML has lists; a block that never changes holds tuples."""
        return {key: _as_tuple(value) for key, value in data.items()} if isinstance(data, dict) else data


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(item) for item in value) if isinstance(value, list) else value
