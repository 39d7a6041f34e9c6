"""The examples in docstrings: every public name of the library has one, and each prints what it says."""

from __future__ import annotations

import dataclasses
import doctest
import inspect
import io
import re

import gymnasium as gym
import keras
import numpy as np
import pytest
import tensorflow as tf

import envs
import rlsample
from rlsample import samplers
from scripts.site.reference import ROOMS, defined_in, modules_of, public_names

# What the reference says that examples take for granted.
GIVEN = {"dataclasses": dataclasses, "gym": gym, "keras": keras, "np": np, "tf": tf, "rlsample": rlsample}
GIVEN |= {name: getattr(rlsample, name) for name in rlsample.__all__}
# Every room of the library, and the environments.
NAMES = {room: public_names(room) for room in ROOMS} | {"envs": defined_in(envs)}


@pytest.mark.parametrize("room", NAMES)
def test_every_public_name_has_an_example(room):
    assert NAMES[room]
    assert not [each.name for each in NAMES[room] if "\nExamples:\n    >>> " not in inspect.getdoc(each.value)]


def is_code(value):
    return inspect.isfunction(value) or isinstance(value, (property, classmethod, staticmethod))


@pytest.mark.parametrize("room", NAMES)
def test_every_public_name_and_method_has_a_docstring(room):
    """Properties too; not what a named tuple or a parent of another library brings."""
    missing = []
    for each in NAMES[room]:
        own = vars(each.value).items() if inspect.isclass(each.value) else ()
        code = [(f"{each.name}.{name}", value) for name, value in own if not name.startswith("_") and is_code(value)]
        missing += [name for name, value in [(each.name, each.value), *code] if not (value.__doc__ or "").strip()]
    assert not missing


# ---- what they print


class UpToRounding(doctest.OutputChecker):
    """Compares text as it is but for spaces, and decimals to the three digits shown: processors round differently."""

    DECIMAL = re.compile(r"-?\d+\.\d*(?:e[+-]\d+)?")

    def check_output(self, want, got, optionflags):
        if super().check_output(want, got, optionflags):
            return True
        texts = ["".join(self.DECIMAL.sub("#", text).split()) for text in (want, got)]
        wanted, given = (np.array(self.DECIMAL.findall(text), float) for text in (want, got))
        return texts[0] == texts[1] and np.allclose(wanted, given, rtol=1e-3, atol=1.5e-3)


def examples():
    """Those of every class and function of the library, and of their methods."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for module in (*modules_of(rlsample), *modules_of(envs)):
        for name, value in vars(module).items():
            if getattr(value, "__module__", "") == module.__name__ and (
                inspect.isclass(value) or inspect.isfunction(value)
            ):
                yield from finder.find(value, f"{module.__name__.removeprefix('rlsample.')}.{name}", globs=GIVEN)


def marks(example):
    """A cluster takes seconds to start."""
    return [pytest.mark.slow] if "scale.ray_" in example.name else []


@pytest.mark.parametrize(
    "example", [pytest.param(each, id=each.name, marks=marks(each)) for each in examples() if each.examples]
)
def test_example(example, monkeypatch, tmp_path):
    monkeypatch.setattr(samplers._registry, "registered", {})
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(UpToRounding(), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    said = io.StringIO()
    with np.printoptions(precision=3, suppress=True):
        runner.run(example, out=said.write)
    assert not runner.failures, said.getvalue()


@pytest.mark.parametrize(
    ("want", "got", "same"),
    [
        ("[1.    0.5]\n", "[1. 0.5001]\n", True),
        ("[1.    0.5]\n", "[1. 0.51]\n", False),
        ("(3, 4)\n", "(3, 5)\n", False),
        ("(True, 0.5)\n", "(False, 0.5)\n", False),
        ("[0.1 0.2]\n", "[0.1]\n", False),
    ],
)
def test_outputs_are_compared_up_to_rounding(want, got, same):
    assert UpToRounding().check_output(want, got, doctest.NORMALIZE_WHITESPACE) is same
