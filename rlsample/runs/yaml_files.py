"""Configuration files as plain dictionaries: strict YAML, `base:` inheritance, `key=value` overrides.

Nothing here knows what the keys mean, except that a block of `TAGGED` is one thing or another by its `name`,
and that an environment's `kwargs` are its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from rlsample import checks

TAGGED = {"agent": "name", "network": "name", "sampler": "name", "temperature": "name", "env": "id"}
"""Blocks that a bare word may stand for, with the key that the word is the value of."""

_MAX_BYTES = 1_000_000
_OVERRIDE = re.compile(r"(?P<path>\w+(\.\w+)*)=(?P<value>.*)", re.DOTALL)
_FLOAT = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$")


class _Loader(yaml.SafeLoader):
    """Plain data as YAML 1.2 reads it.

    PyYAML follows YAML 1.1, where `1e-3` is a string, `no` is false, `010` is 8 and `1:30` is 90. A repeated key, an
    alias and a tag are refused: the first hides a mistake, the second lets a small file describe an enormous tree, and
    the third asks for more than plain data.
    """

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 (PyYAML's own class-level table)

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None) is not None:
            kind = "an alias" if isinstance(event, yaml.AliasEvent) else f"the tag {event.tag!r}"
            raise yaml.YAMLError(f"{kind} is not supported (line {event.start_mark.line + 1})")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise yaml.YAMLError(f"the key {key!r} is not a string (line {line})")
            if key in seen:
                raise yaml.YAMLError(f"the key {key!r} appears twice (line {line})")
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9]\d*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads back, strings quoted wherever YAML 1.1 or 1.2 would take them for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def parse(text: str | bytes, source: str) -> Any:
    """Returns the plain data that a YAML text describes; `source` names it in the ValueError raised if it is none."""
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise checks.invalid("YAML of moderate depth", source=source) from None
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"Expected plain YAML in {source}. Received: {error}.") from None


def dump(data: Mapping[str, Any]) -> str:
    """Returns `data` as YAML, keys in order, the innermost blocks on one line."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=120)


def flow(value: Any) -> str:
    """Returns a value as YAML on one line: what stands behind `key=` in a word of `override`."""
    text = yaml.dump([value], Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=math.inf)
    return text.strip()[1:-1]


def read(path: Path, *, inherit: bool = True) -> dict[str, Any]:
    """Reads a file and, below it, the files that its `base:` names (relative to the file that names them).

    Args:
        path: a YAML file whose top level is a mapping.
        inherit: whether `base:` is followed; without it `base` is a key like any other.

    Returns:
        One dictionary, bare words expanded, in which the file's own keys win over its base's.

    Raises:
        ValueError: a file cannot be read, is no plain YAML mapping, or inherits from itself.
    """
    chain: list[Path] = []
    layers: list[dict[str, Any]] = []
    following: Path | None = path
    while following is not None:
        resolved = following.resolve()
        if resolved in chain:
            raise checks.invalid("`base:` not to lead back to a file that inherits from it", base=str(following))
        chain.append(resolved)
        layer = _read_mapping(following)
        base = layer.pop("base", None) if inherit else None
        if base is not None and not isinstance(base, str):
            raise checks.invalid("`base` to be the path of another file", base=base)
        following = following.parent / base if base is not None else None
        layers.append(layer)
    merged: dict[str, Any] = {}
    for layer in reversed(layers):
        merged = merge(merged, layer)
    return merged


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `below` with the keys of `above` laid over it, block by block.

    A tagged block of `above` that says its `name` replaces the one below; one that does not, edits it. Another
    environment leaves the `kwargs` of the one below behind, and nothing else.
    """
    merged = {key: _expand(key, value) for key, value in below.items()}
    for key, value in above.items():
        value = _expand(key, value)
        lower = merged.get(key)
        names_itself = TAGGED.get(key) == "name" and isinstance(value, dict) and "name" in value
        if isinstance(lower, dict) and isinstance(value, dict) and not names_itself:
            if key == "env" and value.get("id", lower.get("id")) != lower.get("id"):
                lower = {name: each for name, each in lower.items() if name != "kwargs"}
            merged[key] = _merge_plain(lower, value)
        else:
            merged[key] = value
    return merged


def override(data: Mapping[str, Any], words: Iterable[str]) -> dict[str, Any]:
    """Returns `data` with `key=value` words laid over it.

    Whole blocks come first whatever the order of the words, and names before what is said of them, so
    `sampler.num_samples=4 sampler=gumbel_rao` is `gumbel_rao` with four samples. Of two words for the same key the last
    one holds.

    Raises:
        ValueError: words that are not of the form `dotted.key=value`, or whose value is no plain YAML; names them all.
    """
    parsed, problems = [], []
    for word in words:
        try:
            parsed.append(_parse_override(word))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("\n".join(problems))
    merged = merge(data, {})
    for path, value in sorted(parsed, key=lambda item: (len(item[0]), item[0][-1] not in TAGGED.values())):
        for key in reversed(path):
            value = {key: value}
        merged = merge(merged, value)
    return merged


def _merge_plain(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Like `merge`, inside a block, where no key is special."""
    merged = dict(below)
    for key, value in above.items():
        lower = merged.get(key)
        merged[key] = _merge_plain(lower, value) if isinstance(lower, dict) and isinstance(value, dict) else value
    return merged


def _expand(key: str, value: Any) -> Any:
    """Writes a bare word out as the block it is short for; a bare temperature is a constant one."""
    if key in TAGGED and isinstance(value, str):
        return {TAGGED[key]: value}
    if key == "temperature" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return {"name": "constant", "value": value}
    return value


def _parse_override(word: str) -> tuple[list[str], Any]:
    match = _OVERRIDE.fullmatch(word)
    if match is None:
        option = re.fullmatch(r"--?(?P<key>[\w.]+)(=.*)?", word)
        hint = f"Write {option['key']}=VALUE." if option else ""
        raise checks.invalid("an override of the form key=value or block.key=value", override=word, hint=hint)
    return match["path"].split("."), parse(match["value"], f"the value of {match['path']}")


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            raise checks.invalid("a configuration file that is there", path=str(path))
        if path.stat().st_size > _MAX_BYTES:
            raise checks.invalid(f"a configuration file of at most {_MAX_BYTES} bytes", path=str(path))
        text = path.read_bytes()
    except OSError as error:
        raise ValueError(f"Expected a readable configuration file. Received: {path} ({error.strerror}).") from None
    data = parse(text, str(path))
    if not isinstance(data, dict):
        raise checks.invalid("a mapping at the top of a configuration file", path=str(path))
    return data
