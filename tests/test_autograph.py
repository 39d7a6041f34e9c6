"""What a `tf.function` of a user calls can be read by AutoGraph, which otherwise prints a warning at each first use."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import tensorflow as tf

import rlsample

SOURCES = Path(rlsample.__file__).parent
IN_GRAPHS = ("ops", "samplers", "distributions", "heads", "schedules", "learning", "in_graph")


@pytest.mark.parametrize("package", IN_GRAPHS)
def test_nothing_is_assigned_inside_of_an_expression(package):
    """The one construct of Python 3.11 in the sources of which AutoGraph knows nothing."""
    files = sorted((SOURCES / package).glob("*.py"))
    assert len(files) > 3
    for file in files:
        found = [node.lineno for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.NamedExpr)]
        assert not found, (file.name, found)


def test_a_large_draw_in_a_plain_function_says_nothing():
    """`conftest.py` makes an error of what AutoGraph says."""
    sampler = rlsample.samplers.create("straight_through")

    @tf.function
    def draw(logits):
        return sampler(logits, (0, 1)).one_hot

    assert draw(tf.zeros([2, 200])).shape == (2, 200)
