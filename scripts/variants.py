"""Variants of a run: `key=value` words, those that stand for several, and all their combinations."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rlsample import checks
from rlsample.runs import ConfigError, yaml_files
from rlsample.runs.block import Block

AS_CONFIGURED = "as configured"
"""The name of a variant that differs from no other."""

LONGEST_NAME = 150
"""Of a folder; file systems end at 255 bytes."""


class Variant(NamedTuple):
    """One of the things that are compared, or searched for: what tells it from the others, and all its words."""

    name: str
    words: list[str]

    @property
    def folder(self) -> str:
        """Its name as that of a folder; of a long one its beginning, and a hash of all of it."""
        name = self.name.replace(" ", "+").replace("/", "-")
        if len(name) <= LONGEST_NAME:
            return name
        return f"{name[:LONGEST_NAME]}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"


def words_of(settings: Mapping[str, Any]) -> list[str]:
    """The `key=value` words that say what a mapping says."""
    return [f"{key}={yaml_files.flow(value)}" for key, value in settings.items()]


def choices_of(axes: Mapping[str, Sequence[Any]]) -> list[list[str]]:
    """The words of each axis, one for each of its values."""
    return [[f"{key}={yaml_files.flow(value)}" for value in values] for key, values in axes.items()]


def split(word: str) -> list[str]:
    """The words that `key=a,b` stands for, split at commas outside of brackets."""
    key, _, text = word.partition("=")
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [f"{key}={part.strip()}" for part in parts]


def expand(choices: Sequence[Sequence[str]]) -> Iterator[Variant]:
    """Yields the product of the choices; what is no choice is in no name."""
    for words in itertools.product(*choices):
        differing = [word for word, values in zip(words, choices, strict=True) if len(values) > 1]
        yield Variant(" ".join(differing) or AS_CONFIGURED, list(words))


def own_words(words: Iterable[str], model: type[Block]) -> tuple[list[str], list[str]]:
    """Tells words for a file, whose first key is one of its fields, from those for every run: (its own, the others)."""
    words = list(words)
    own = [word for word in words if word.partition("=")[0].partition(".")[0] in model.model_fields]
    return own, [word for word in words if word not in own]


def key_of(word: str) -> str:
    """The key of a word, that of the name for a bare word that stands for a block: `sampler.name` for `sampler=...`."""
    key = word.partition("=")[0]
    return f"{key}.{yaml_files.TAGGED[key]}" if key in yaml_files.TAGGED else key


def check_apart(words: Iterable[str], others: Iterable[str], rule: str) -> None:
    """Makes sure that no word is for the key of one of the others.

    Raises:
        ConfigError: one is.
    """
    keys = {key_of(word) for word in others}
    for word in words:
        if key_of(word) in keys:
            raise ConfigError(str(checks.invalid(rule, word=word)))


def check_values(values: Any) -> tuple[Any, ...]:
    """Returns values to choose from: some, none of them twice.

    Raises:
        ValueError: it is no list, has nothing in it or something twice.
    """
    if not isinstance(values, (list, tuple)) or not values:
        received = list(values) if isinstance(values, tuple) else values
        raise checks.invalid("a list with at least one value", values=received)
    for index, value in enumerate(values):
        if value in values[:index]:
            raise checks.invalid("no value twice", values=list(values), twice=value)
    return tuple(values)
