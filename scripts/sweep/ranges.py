"""What is searched: ranges of the configuration's keys, in a YAML file. See docs/searching.md."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field, JsonValue

from rlsample import checks
from rlsample.runs import yaml_files
from rlsample.runs.block import Block

from ..variants import check_values, choices_of, expand

SIGNIFICANT_DIGITS = 4
"""Of a number that is drawn from a range, and of its distance to the ends: as many as people copy."""


class Between(Block):
    """Numbers between two ends, which belong to it; whole ones if both ends are written as whole numbers."""

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low < self.high:
            raise checks.invalid("low < high", low=self.low, high=self.high)
        if self.log and self.low <= 0:
            raise checks.invalid("low > 0 where log is true", low=self.low)
        if self.log and self.step is not None:
            raise checks.invalid("log or step, not both", log=self.log, step=self.step)
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise checks.invalid("a step > 0 that fits between low and high", step=self.step)
        if self.step is not None and isinstance(self.step, float) and self.whole:
            raise checks.invalid("a whole step between whole numbers", step=self.step, hint="Or write low as 1.0.")
        return self

    @property
    def whole(self) -> bool:
        """Whether it is one of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> list[str]:
        """Both ends as they stand in a word."""
        return [yaml_files.flow(self.low), yaml_files.flow(self.high)]

    @property
    def _common_digits(self) -> int:
        """How many leading digits are the same in all numbers of the range, about."""
        return max(0, math.floor(-math.log10((self.high - self.low) / max(abs(self.low), abs(self.high)))))

    def text(self, value: float) -> str:
        """A value as it stands in a word, rounded to a few digits and never beyond the ends."""
        if self.whole:
            return yaml_files.flow(int(value))
        digits = 12 if self.step is not None else SIGNIFICANT_DIGITS + self._common_digits
        return yaml_files.flow(min(max(float(f"{value:.{digits}g}"), float(self.low)), float(self.high)))


class OneOf(Block):
    """Values to choose from, without an order."""

    choices: Annotated[Any, pydantic.AfterValidator(check_values)]

    @property
    def ends(self) -> list[str]:
        """All of them as they stand in a word."""
        return [yaml_files.flow(choice) for choice in self.choices]


Range = Between | OneOf


def range_of(value: Any) -> Range:
    """Builds a range from `{low, high, log, step}`, from `{choices}` or from a list, which is short for that."""
    if isinstance(value, (list, tuple)):
        value = {"choices": value}
    if not isinstance(value, dict):
        raise checks.invalid("{low: ..., high: ...} or a list of choices", range=value)
    model: type[Range] = OneOf if "choices" in value else Between
    for key in value:
        if key not in model.model_fields:
            raise checks.unknown("key", key, model.model_fields)
    missing = [key for key, field in model.model_fields.items() if field.is_required() and key not in value]
    if missing:
        raise checks.invalid(f"a range to have {' and '.join(missing)}", range=value)
    try:
        return model.model_validate(value)
    except pydantic.ValidationError as error:
        problems = [str(each.get("ctx", {}).get("error", each["msg"])) for each in error.errors(include_url=False)]
        raise ValueError(" ".join(problems)) from None


class Sweep(Block):
    """What a file of ranges says."""

    config: str = Field(description="The configuration that is varied, beside this file.")
    words: dict[str, JsonValue] = Field(default={}, description="What is laid over the configuration of every trial.")
    each: dict[str, Any] = Field(
        default={}, description="Keys and values: each value has a search of its own, with as many trials."
    )
    ranges: dict[str, Annotated[Any, pydantic.BeforeValidator(range_of)]] = Field(
        description="Keys of the configuration, and the range of each."
    )
    trials: int = Field(default=20, ge=1, description="Of each search, over all calls.")
    method: Literal["tpe", "random"] = Field(
        default="tpe", description="How the next trial is chosen: by what the ones before came to, or at random."
    )
    pruning: Literal["median", "halving", "none"] = Field(
        default="median",
        description="Which trials end early: those below the median of the others so far, those not among the best "
        "quarter, or none.",
    )

    @pydantic.field_validator("each")
    @classmethod
    def _some_values_each(cls, value: dict[str, Any]) -> dict[str, Any]:
        for key, values in value.items():
            try:
                check_values(values)
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from None
        return value

    @pydantic.field_validator("ranges")
    @classmethod
    def _some(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not value:
            raise checks.invalid("at least one range", ranges=value)
        return value

    def groups(self) -> list[Any]:
        """What has a search of its own, as variants."""
        return list(expand(choices_of(self.each)))

    def ends(self) -> list[str]:
        """A word for each end of a range and each choice: if these can be used, so can what lies between."""
        return [f"{key}={text}" for key, each in self.ranges.items() for text in each.ends]
