"""Which wrappers environments written in TensorFlow have, by the names of their Gymnasium twins."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlsample import checks
from rlsample.in_graph.environment import FunctionalEnv
from rlsample.wrappers.in_graph_frame_stack import InGraphFrameStack
from rlsample.wrappers.in_graph_previous import InGraphPrevious
from rlsample.wrappers.in_graph_select_entries import InGraphSelectEntries

IN_GRAPH: Mapping[str, Callable[..., FunctionalEnv]] = {
    "FrameStackObservation": InGraphFrameStack,
    "PreviousActionAndReward": InGraphPrevious,
    "SelectEntries": InGraphSelectEntries,
}


class InGraphWrappers:
    """Puts wrappers around an in-graph environment, the innermost first; equal to one of the same wrappers.

    Args:
        wrappers: (name, options) of each.

    Examples:
        >>> from envs.cartpole import CartPole
        >>> from rlsample.wrappers import InGraphWrappers
        >>> wrappers = [("SelectEntries", {"entries": [0, 2]}), ("FrameStackObservation", {"stack_size": 4})]
        >>> InGraphWrappers(wrappers)(CartPole()).observation_space.shape
        (4, 2)
    """

    def __init__(self, wrappers: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        self._wrappers = list(wrappers)
        self._text = json.dumps(self._wrappers, sort_keys=True)

    def __call__(self, env: FunctionalEnv) -> FunctionalEnv:
        """The environment with the wrappers around it."""
        for name, options in self._wrappers:
            try:
                env = IN_GRAPH[name](env, **options)
            except TypeError as error:
                raise checks.invalid(f"options of the wrapper {name!r}", options=dict(options)) from error
        return env

    def __eq__(self, other: object) -> bool:
        """Whether the other one puts the same wrappers around environments, so that compiled programs are shared."""
        return isinstance(other, InGraphWrappers) and self._text == other._text

    def __hash__(self) -> int:
        """See `__eq__`."""
        return hash(self._text)
