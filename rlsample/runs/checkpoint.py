"""Weights on disk, so that a crash, a full disk or a flipped bit is never mistaken for a trained policy.

A checkpoint is a folder with the two files of a `tf.train.Checkpoint` and a `manifest.json` that names them, with
their SHA-256 and the shape of every variable. The manifest is replaced last and in one step: until then the previous
checkpoint is the one that loads. Reading runs no code from the files.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from rlsample import checks

FORMAT = 1
MANIFEST = "manifest.json"


class CheckpointError(ValueError):
    """A checkpoint that is absent, damaged, or of something else; the message says which."""


def save(folder: str | Path, step: int, **objects: Any) -> None:
    """Writes a checkpoint in place of the one in `folder`.

    Args:
        folder: made if absent; belongs to the checkpoint alone.
        step: environment steps taken so far.
        **objects: what to save, by name: Keras models, layers or optimizers with their variables built.

    Raises:
        OSError, tf.errors.OpError: the disk is full or not writable. The previous checkpoint still loads.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    before = {path.name for path in folder.iterdir()}
    prefix = f"weights-{1 + max(map(_number, before), default=0):06d}"
    try:
        copies = {name: [tf.Variable(variable) for variable in _variables(item)] for name, item in objects.items()}
        tf.train.Checkpoint(**copies).write(str(folder / prefix))
        names = sorted(path.name for path in folder.glob(f"{prefix}.*"))
        content = {
            "format": FORMAT,
            "step": int(step),
            "prefix": prefix,
            "files": {name: _digest(folder / name) for name in names},
            "variables": {name: _describe(item) for name, item in objects.items()},
        }
        _replace(folder / MANIFEST, {"content": content, "sha256": _digest_of(content)})
    except BaseException:
        _sweep(folder, keep=before)
        raise
    _sweep(folder, keep={*names})


def load(folder: str | Path, **objects: Any) -> int:
    """Restores what `save` wrote into objects of the same names and shapes.

    Args:
        folder: the checkpoint.
        **objects: as in `save`, all of them by the same names, their variables built; they are not touched unless
            everything fits. The checkpoint of a run holds one, its policy's model: `model=policy.model`.

    Returns:
        The environment steps taken when it was saved.

    Raises:
        CheckpointError: there is none, a file of it was changed or cut short, or it is of something else.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder)
    for name, digest in manifest["files"].items():
        path = folder / name
        if not path.is_file() or _digest(path) != digest:
            raise CheckpointError(f"Expected {path} as it was saved. Received: a file that is missing or damaged.")
    held, asked = sorted(manifest["variables"]), sorted(objects)
    if held != asked:
        hint = f"Call load(folder, {', '.join(f'{name}=...' for name in held)}) with what stands under each name."
        raise CheckpointError(str(checks.invalid(f"the names {held} that {folder} holds", names=asked, hint=hint)))
    for name, saved in manifest["variables"].items():
        present = _describe(objects[name])
        if saved != present:
            raise CheckpointError(f"Expected the checkpoint {folder} to fit {name!r}. {_difference(saved, present)}")
    copies = {name: [tf.Variable(variable) for variable in _variables(item)] for name, item in objects.items()}
    tf.train.Checkpoint(**copies).read(str(folder / manifest["prefix"])).assert_consumed()
    for name, item in objects.items():
        for variable, value in zip(_variables(item), copies[name], strict=True):
            variable.assign(value)
    return manifest["step"]


def _variables(item: Any) -> list[Any]:
    """Returns the variables in Keras's order. Tracking by attribute, TensorFlow's way, would miss some of them."""
    if not item.variables:
        raise checks.invalid("an object whose variables are built", item=type(item).__name__)
    return item.variables


def _describe(item: Any) -> list[list[Any]]:
    """Returns shape and dtype of each variable. Not the path: Keras numbers layers by process."""
    return [[list(variable.shape), tf.as_dtype(variable.dtype).name] for variable in _variables(item)]


def _difference(saved: list[Any], present: list[Any]) -> str:
    if len(saved) != len(present):
        return f"It holds {len(saved)} variables, here there are {len(present)}."
    index, pair = next((i, pair) for i, pair in enumerate(zip(saved, present, strict=True)) if pair[0] != pair[1])
    return f"Variable {index} is {pair[0][1]}{pair[0][0]} in it and {pair[1][1]}{pair[1][0]} here."


def _digest(path: Path) -> str:
    """Returns the SHA-256 of what is on the disk, having made sure that it is there."""
    descriptor = os.open(path, os.O_RDONLY)
    with os.fdopen(descriptor, "rb") as file:
        os.fsync(descriptor)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _replace(path: Path, data: Any) -> None:
    """Writes a file so that its old or its new content is there at every moment, and after a power cut too."""
    temporary = path.with_suffix(".new")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(data, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _number(name: str) -> int:
    match = re.match(r"weights-(\d+)", name)
    return int(match[1]) if match else 0


def _sweep(folder: Path, keep: set[str]) -> None:
    """Removes what earlier or interrupted saves left behind."""
    for path in folder.glob("weights-*"):
        if path.name not in keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _read_manifest(folder: Path) -> Mapping[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise CheckpointError(f"Expected a checkpoint in {folder}. Received: no {MANIFEST} there.")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        content, intact = document["content"], document["sha256"] == _digest_of(document["content"])
    except (ValueError, KeyError, TypeError, RecursionError):
        intact = False
    if not intact:
        raise CheckpointError(f"Expected {path} as it was saved. Received: a file that is damaged.")
    if content["format"] != FORMAT:
        raise CheckpointError(f"Expected a checkpoint of format {FORMAT}. Received: {content['format']!r} in {path}.")
    if not all(Path(name).name == name for name in [content["prefix"], *content["files"]]):
        raise CheckpointError(f"Expected {path} to name files beside it. Received: {sorted(content['files'])}.")
    return content
