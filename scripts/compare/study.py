"""What is compared: a study in a YAML file, or a configuration and words. See docs/comparing.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import pydantic
from pydantic import Field, JsonValue

from rlsample import checks
from rlsample.runs import ConfigError, yaml_files
from rlsample.runs.block import Block
from rlsample.runs.loading import load_block

from ..variants import (
    AS_CONFIGURED,
    Variant,
    check_apart,
    check_values,
    choices_of,
    expand,
    key_of,
    own_words,
    split,
    words_of,
)

SEEDS = tuple(range(1, 11))
"""Where nobody says others."""


class Settings(Block):
    """One thing that is compared, under a name."""

    config: str | None = Field(default=None, description="A configuration of its own, beside this file.")
    words: dict[str, JsonValue] = Field(default={}, description="What is laid over the configuration.")


class Environment(Block):
    """How a variant is run in one environment, and how its return is read."""

    words: dict[str, JsonValue] = Field(default={}, description="For the runs in it, such as total_steps.")
    low: float | None = Field(default=None, description="Return that scores 0, such as a random policy's.")
    high: float | None = Field(default=None, description="Return that scores 1, such as the best possible one.")
    threshold: float | None = Field(default=None, description="Return that counts as solved.")

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> Self:
        if (self.low is None) != (self.high is None):
            raise checks.invalid("low and high, or neither of them", low=self.low, high=self.high)
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise checks.invalid("low < high", low=self.low, high=self.high)
        return self


class Study(Block):
    """What a study file says."""

    config: str | None = Field(default=None, description="The configuration that is varied, beside this file.")
    variants: dict[str, Settings] = Field(default={}, description="Named variants; each meets all values of the axes.")
    axes: dict[str, Any] = Field(default={}, description="Keys of the configuration, and the values of each.")
    words: dict[str, JsonValue] = Field(default={}, description="What is laid over the configuration of every run.")
    environments: dict[str, Environment] = Field(
        default={}, description="By their ids; by default the configuration's."
    )
    seeds: Any = Field(default=SEEDS, description="How many, from 1 on, or a list of them.")
    threshold: float | None = Field(default=None, description="Return that counts as solved.")

    @pydantic.field_validator("axes")
    @classmethod
    def _some_values_each(cls, value: dict[str, Any]) -> dict[str, Any]:
        return {key: check_axis(key, values) for key, values in value.items()}

    @pydantic.field_validator("seeds")
    @classmethod
    def _whole(cls, value: Any) -> tuple[int, ...]:
        if not isinstance(value, tuple):
            return tuple(range(1, checks.check_count("seeds", value) + 1))
        return tuple(checks.check_count("seeds", seed, minimum=0) for seed in check_values(value))

    @pydantic.model_validator(mode="after")
    def _has_a_configuration(self) -> Self:
        without = [name for name, settings in self.variants.items() if settings.config is None]
        if self.config is None and (without or not self.variants):
            raise checks.invalid("`config`, or one for each variant", config=None, without=without)
        return self


class Task(NamedTuple):
    """An environment of a comparison; `name` is None where it is whatever the configuration says."""

    name: str | None
    words: list[str]
    settings: Environment


class Planned(NamedTuple):
    """What is to be run: each variant in each task with each seed.

    Attributes:
        name: of the comparison.
        variants: what tells one from the others, and its configuration.
        tasks: the environments.
        seeds: the seeds.
        shared: words of every run.
        threshold: return that counts as solved, where a task does not say.
    """

    name: str
    variants: list[tuple[Variant, Path]]
    tasks: list[Task]
    seeds: tuple[int, ...]
    shared: list[str]
    threshold: float | None


def check_axis(key: str, values: Any) -> tuple[Any, ...]:
    """Returns the values of an axis, `key`, if there are some and none of them comes twice."""
    try:
        return check_values(values)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def plan(path: Path, words: Sequence[str], seeds: int | None = None, threshold: float | None = None) -> Planned:
    """Reads what is to be compared.

    Args:
        path: a study, or a configuration.
        words: `key=a,b` for several values of a key; a field of a study is laid over it, the rest goes to every run.
        seeds: how many, instead of the study's.
        threshold: return that counts as solved, instead of the study's.

    Raises:
        ConfigError: there is a mistake in it that can be told without the configuration.
    """
    study, others = _read(path, words)
    planned = _plan(path, study, [split(word) for word in others])
    if seeds is not None:
        planned = planned._replace(seeds=tuple(range(1, seeds + 1)))
    return planned if threshold is None else planned._replace(threshold=threshold, tasks=_judged(planned, threshold))


def _read(path: Path, words: Sequence[str]) -> tuple[Study, list[str]]:
    try:
        fields = yaml_files.read(path)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if fields.keys().isdisjoint({"config", "variants"}):  # It is a configuration itself.
        return Study(config=path.name), list(words)
    own, others = own_words(words, Study)
    return load_block(Study, path, own), others


def _plan(path: Path, study: Study, choices: list[list[str]]) -> Planned:
    shared = words_of(study.words) + [values[0] for values in choices if len(values) == 1]
    axes = choices_of(study.axes) + [values for values in choices if len(values) > 1]
    tasks = [Task(name, [f"env.id={name}", *words_of(each.words)], each) for name, each in study.environments.items()]
    for axis in [each for each in axes if key_of(each[0]) == "env.id"]:
        axes.remove(axis)
        if tasks or axis in choices_of(study.axes):
            raise ConfigError(str(checks.invalid("environments under `environments`", axis=axis)))
        tasks = [Task(word.partition("=")[2], [word], Environment()) for word in axis]
    tasks = tasks or [Task(None, [], Environment())]
    variants = list(_variants(path, study, axes))
    _check_apart(study, tasks, axes, shared)
    return Planned(path.stem, variants, tasks, study.seeds, shared, study.threshold)


def _variants(path: Path, study: Study, axes: list[list[str]]) -> Iterator[tuple[Variant, Path]]:
    if not study.variants:
        yield from ((variant, path.parent / str(study.config)) for variant in expand(axes))
    for name, settings in study.variants.items():
        for variant in expand(axes):
            title = name if variant.name == AS_CONFIGURED else f"{name} {variant.name}"
            words = [*words_of(settings.words), *variant.words]
            yield Variant(title, words), path.parent / str(settings.config or study.config)


def _check_apart(study: Study, tasks: list[Task], axes: list[list[str]], shared: list[str]) -> None:
    varying = [axis[0] for axis in axes]
    named = [word for settings in study.variants.values() for word in words_of(settings.words)]
    tasks_words = [word for task in tasks for word in task.words]
    check_apart([*varying, *named, *tasks_words, *shared], ["seed=0"], "seeds under `seeds`, and no word for them")
    if tasks_words:
        check_apart([*named, *shared], tasks_words[:1], "environments under `environments`, and no word for them")
    rule = "each key in one place"
    check_apart([*named, *tasks_words, *shared], varying, rule)
    check_apart(tasks_words, named, rule)
    for index, word in enumerate(varying):
        check_apart([word], varying[:index], rule)


def _judged(planned: Planned, threshold: float) -> list[Task]:
    return [task._replace(settings=task.settings.model_copy(update={"threshold": threshold})) for task in planned.tasks]


def unnormalised(tasks: Iterable[Task]) -> list[str]:
    """The environments without a `low` and a `high`."""
    return [str(task.name) for task in tasks if task.settings.low is None]
