"""All that a training loop needs to go on later as if it had never been stopped: arrays and plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import tree as nest

from rlsample import checks


class Snapshot(NamedTuple):
    """A moment of training.

    Attributes:
        arrays: by name, in host memory.
        numbers: what JSON can hold: counters, states of generators.

    Examples:
        >>> from rlsample.rollouts.snapshot import Snapshot
        >>> Snapshot(arrays={"weights/0": np.zeros(3)}, numbers={"step": 1000}).numbers["step"]
        1000
    """

    arrays: Mapping[str, np.ndarray]
    numbers: Mapping[str, Any]


@runtime_checkable
class Resumable(Protocol):
    """Environments whose episodes can be gone on with later, as those written in TensorFlow can.

    Examples:
        >>> import envs
        >>> from rlsample.rollouts.snapshot import Resumable
        >>> vectors = [gym.make_vec(id, num_envs=2).unwrapped for id in ("rlsample/CartPole-v1", "CartPole-v1")]
        >>> [isinstance(vector, Resumable) for vector in vectors]
        [True, False]
    """

    def snapshot(self) -> Any:
        """A tree of arrays: where the episodes stand."""

    def restore(self, snapshot: Any) -> None:
        """Goes on from there."""


def arrays_of(name: str, tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a tree of tensors or arrays, as `{name}/0`, `{name}/1`, ...; leaves that are None are left out.

    Examples:
        >>> from rlsample.rollouts.snapshot import arrays_of
        >>> sorted(arrays_of("state", {"kernel": tf.zeros([2, 3]), "bias": tf.zeros([3]), "nothing": None}))
        ['state/0', 'state/1']
    """
    leaves = enumerate(nest.flatten(tree))
    return {f"{name}/{index}": np.array(leaf) for index, leaf in leaves if leaf is not None}


def tree_from(arrays: Mapping[str, np.ndarray], name: str, like: Any) -> Any:
    """The tree that `arrays_of` took apart, with the structure of another one and its leaves' shapes and dtypes.

    Raises:
        ValueError: the arrays are those of something else; names the leaf.

    Examples:
        >>> from rlsample.rollouts.snapshot import arrays_of, tree_from
        >>> state = {"kernel": np.ones(2), "bias": np.zeros(1)}
        >>> tree_from(arrays_of("state", state), "state", like=state)
        {'kernel': array([1., 1.]), 'bias': array([0.])}
    """
    leaves = []
    for index, leaf in enumerate(nest.flatten(like)):
        saved = arrays.get(f"{name}/{index}")
        present = None if leaf is None else np.asarray(leaf)
        if _kind(saved) != _kind(present):
            hint = "Resume with the configuration and the version that saved it."
            received = {"saved": _kind(saved), "here": _kind(present)}
            raise checks.invalid(f"{name}/{index} of the saved training to fit", **received, hint=hint)
        leaves.append(saved)
    return nest.unflatten_as(like, leaves)


def tensors_from(arrays: Mapping[str, np.ndarray], name: str, like: Any) -> Any:
    """As `tree_from`, with tensors for leaves.

    Examples:
        >>> from rlsample.rollouts.snapshot import arrays_of, tensors_from
        >>> state = {"kernel": tf.ones([2]), "bias": tf.zeros([1])}
        >>> tensors_from(arrays_of("state", state), "state", like=state)["kernel"].shape
        TensorShape([2])
    """
    import tensorflow as tf  # Not above: what steps environments far away from any learner needs the rest alone.

    return nest.map_structure(lambda leaf: None if leaf is None else tf.constant(leaf), tree_from(arrays, name, like))


def generator_state(generator: np.random.Generator) -> dict[str, Any]:
    """The state of a generator of `streams.Streams`, for `numbers`.

    Examples:
        >>> from rlsample.rollouts.snapshot import generator_state
        >>> generator = np.random.default_rng(0)
        >>> generator_state(generator)["bit_generator"]
        'PCG64'
    """
    return dict(generator.bit_generator.state)


def _kind(value: np.ndarray | None) -> tuple[Any, ...] | None:
    return None if value is None else (value.dtype.name, *value.shape)
