"""A policy as a file that runs without this library: features -> logits, nothing random inside."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rlsample import checks

_RANDOM_OP = re.compile(r"Random|Multinomial|TruncatedNormal|StatefulUniform|StatefulStandardNormal|RngReadAndSkip")


def export(model: keras.Model, path: str | Path, inputs: Any, format: str = "tf_saved_model") -> None:
    """Writes a model that ends in a head's logits as a SavedModel or ONNX file, and checks it by running it.

    What is exported has no noise: the most probable action is the argmax of the logits, and whoever serves the policy
    draws with a generator of their own (argmax(logits + Gumbel noise)). A random op cannot be in the file: ONNX
    Runtime and LiteRT do not have those of TensorFlow, and say so only when they load it.

    Args:
        model: a Keras model.
        path: the folder (SavedModel) or file (ONNX) to write.
        inputs: an example batch: an array, or a list, tuple or dict of arrays for a model with several inputs. The
            first axis is free in the file; it is also what the check runs on.
        format: "tf_saved_model" or "onnx" (needs the packages tf2onnx and onnxruntime).

    Raises:
        ValueError: an unknown format, a layer that is no model, a model that draws, or a file whose outputs are not
            the model's.
        ModuleNotFoundError: ONNX is asked for and not installed.

    Examples:
        >>> import tempfile
        >>> model = keras.Sequential([keras.Input((8,)), heads.CategoricalHead(3)])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     heads.export(model, folder, np.zeros([2, 8], np.float32))
        ...     served = tf.saved_model.load(folder)
        >>> served.serve(np.zeros([5, 8], np.float32)).shape
        TensorShape([5, 3])
    """
    if format not in _RUNNERS:
        raise checks.unknown("format", format, _RUNNERS)
    for package in ("tf2onnx", "onnxruntime") if format == "onnx" else ():
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(f"Export to ONNX needs {package}: pip install 'rlsample[onnx]'.")
    if not isinstance(model, keras.Model):
        hint = "Put a head into one: keras.Sequential([keras.Input((D,)), head])."
        raise checks.invalid("a keras.Model", model=type(model).__name__, hint=hint)
    batch = tf.nest.map_structure(tf.convert_to_tensor, inputs)
    expected = model(batch)
    signature = tf.nest.map_structure(lambda each: tf.TensorSpec([None, *each.shape[1:]], each.dtype), batch)
    _check_deterministic(model, signature)
    model.export(str(path), format=format, input_signature=[signature], verbose=False)
    found = _RUNNERS[format](str(path), batch)
    for ours, theirs in zip(tf.nest.flatten(expected), tf.nest.flatten(found), strict=True):
        if not np.allclose(ours, theirs, rtol=1e-4, atol=1e-5):
            difference = float(np.nanmax(np.abs(np.asarray(ours) - np.asarray(theirs))))
            raise checks.invalid(f"the file {path} to give the model's outputs", largest_difference=difference)


def _check_deterministic(model: keras.Model, signature: Any) -> None:
    graph = tf.function(lambda batch: model(batch)).get_concrete_function(signature).graph.as_graph_def()
    nodes = [*graph.node, *(node for each in graph.library.function for node in each.node_def)]
    for node in nodes:
        if _RANDOM_OP.search(node.op):
            raise checks.invalid(
                "a model without noise inside",
                random_op=node.op,
                hint="Export the model that ends in the head's logits, and draw outside of it.",
            )


def _run_saved_model(path: str, batch: Any) -> Any:
    # Held in a name: its variables go with it.
    loaded = tf.saved_model.load(path)
    return loaded.serve(batch)


def _run_onnx(path: str, batch: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return session.run(None, dict(zip(names, (each.numpy() for each in tf.nest.flatten(batch)), strict=True)))


_RUNNERS: dict[str, Callable[[str, Any], Any]] = {
    "tf_saved_model": _run_saved_model,
    "onnx": _run_onnx,
}
