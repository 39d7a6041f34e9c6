"""Training on disk, so that a crash, a full disk or a flipped bit is never mistaken for what was learned.

A checkpoint is a folder with the two files of a `tf.train.Checkpoint` and a `manifest.json` that names them, with
their SHA-256 and the shape of every variable; with a file of arrays beside them, if training is to go on from there.
The manifest is replaced last and in one step: until then the previous checkpoint is the one that loads. Earlier ones
may be kept beside it: where the newest is damaged, the one before is loaded, with a warning. Reading runs no code from
the files.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rlsample import checks
from rlsample.rollouts.snapshot import Snapshot

FORMAT = 2
MANIFEST = "manifest.json"


class CheckpointError(ValueError):
    """A checkpoint that is absent, damaged, or of something else; the message says which."""


def save(
    folder: str | Path, step: int, *, snapshot: Snapshot | None = None, keep: int = 1, **objects: Any
) -> list[Path]:
    """Writes a checkpoint in place of the one in `folder`.

    Args:
        folder: made if absent; belongs to the checkpoint alone.
        step: environment steps taken so far.
        snapshot: what training needs to go on from there.
        keep: how many checkpoints stay, this one included.
        **objects: what to save, by name: Keras models, layers or optimizers with their variables built.

    Returns:
        Its files.

    Raises:
        OSError, tf.errors.OpError: the disk is full or not writable. The previous checkpoint still loads.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    before = {path.name for path in folder.iterdir()}
    number = 1 + max(map(_number, before), default=0)
    prefix, training = f"weights-{number:06d}", f"training-{number:06d}.npz"
    try:
        copies = {name: [tf.Variable(variable) for variable in _variables(item)] for name, item in objects.items()}
        tf.train.Checkpoint(**copies).write(str(folder / prefix))
        if snapshot is not None:
            with (folder / training).open("wb") as file:
                np.savez(file, **snapshot.arrays)  # type: ignore[arg-type]
        names = sorted(path.name for path in folder.iterdir() if _number(path.name) == number)
        content = {
            "format": FORMAT,
            "step": int(step),
            "prefix": prefix,
            "files": {name: _digest(folder / name) for name in names},
            "variables": {name: _describe(item) for name, item in objects.items()},
            "training": None if snapshot is None else {"file": training, "numbers": snapshot.numbers},
        }
        document = {"content": content, "sha256": _digest_of(content)}
        if keep > 1:
            _replace(folder / f"manifest-{number:06d}.json", document)
        _replace(folder / MANIFEST, document)
    except BaseException:
        _sweep(folder, keep=before)
        raise
    kept = sorted({_number(name) for name in before if name.startswith("manifest-")})[-(keep - 1) :] if keep > 1 else []
    _sweep(folder, keep={path.name for path in folder.iterdir() if _number(path.name) in {*kept, number}})
    return [folder / name for name in [*names, MANIFEST]]


def exists(folder: Path) -> bool:
    """Whether a folder holds a checkpoint, whole or damaged."""
    return (folder / MANIFEST).exists() or any(folder.glob("manifest-*.json"))


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
    manifest = _read_intact(folder)
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


def load_snapshot(folder: str | Path) -> tuple[int, Snapshot]:
    """What training needs to go on, and the environment steps taken when it was saved.

    Raises:
        CheckpointError: there is none, a file of it was changed or cut short, or it holds weights alone.
    """
    folder = Path(folder)
    manifest = _read_intact(folder)
    if manifest["training"] is None:
        raise CheckpointError(f"Expected a checkpoint to go on from in {folder}. Received: one with weights alone.")
    with np.load(folder / manifest["training"]["file"], allow_pickle=False) as arrays:
        return manifest["step"], Snapshot(dict(arrays), manifest["training"]["numbers"])


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
    match = re.match(r"(?:weights|training|manifest)-(\d+)", name)
    return int(match[1]) if match else 0


def _sweep(folder: Path, keep: set[str]) -> None:
    """Removes what earlier or interrupted saves left behind."""
    for path in folder.iterdir():
        if _number(path.name) and path.name not in keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _read_intact(folder: Path) -> Mapping[str, Any]:
    """The manifest of the newest checkpoint whose files are as they were saved."""
    earlier = sorted((path.name for path in folder.glob("manifest-*.json")), reverse=True)
    problem: CheckpointError | None = None
    for name in [MANIFEST, *earlier]:
        try:
            manifest = _read_manifest(folder / name)
            for file, digest in manifest["files"].items():
                path = folder / file
                if not path.is_file() or _digest(path) != digest:
                    raise CheckpointError(
                        f"Expected {path} as it was saved. Received: a file that is missing or damaged."
                    )
        except CheckpointError as error:
            problem = problem or error
        else:
            if problem is not None:
                earlier_one = f"The checkpoint before it, of step {manifest['step']:,}, is used."
                warnings.warn(f"{problem} {earlier_one}", RuntimeWarning, stacklevel=3)
            return manifest
    assert problem is not None  # noqa: S101 (there is one name at least)
    raise problem


def _read_manifest(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"Expected a checkpoint in {path.parent}. Received: no {path.name} there.")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        content, intact = document["content"], document["sha256"] == _digest_of(document["content"])
    except (ValueError, KeyError, TypeError, RecursionError):
        intact = False
    if not intact:
        raise CheckpointError(f"Expected {path} as it was saved. Received: a file that is damaged.")
    if content["format"] != FORMAT:
        raise CheckpointError(f"Expected a checkpoint of format {FORMAT}. Received: {content['format']!r} in {path}.")
    training = content["training"]
    named = [content["prefix"], *content["files"]]
    known = training is None or training["file"] in content["files"]
    if not known or not all(Path(name).name == name for name in named):
        raise CheckpointError(f"Expected {path} to name files beside it. Received: {sorted(content['files'])}.")
    return content
