"""The arithmetic of a policy in NumPy alone: layers and a draw, which need no TensorFlow where they are done."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tree as nest

from rlsample import checks
from rlsample.rollouts.in_numpy.layers import FUNCTIONS

DIVERGED = "Training diverged: lower agent.learning_rate."


class Layer(NamedTuple):
    """A layer as plain data.

    Attributes:
        function: its name in `layers.FUNCTIONS`.
        inputs: places of what it reads: first come those of the network's inputs, then one for each layer.
        weights: its arrays.
        options: as its function takes them.

    Examples:
        >>> from rlsample.rollouts.in_numpy.network import Layer
        >>> Layer("activation", (0,), [], {"activation": "relu"}).function
        'activation'
    """

    function: str
    inputs: tuple[int, ...]
    weights: list[np.ndarray]
    options: dict[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class NumpyNetwork:
    """Layers of a network, one after the other; plain data, to be sent anywhere.

    Attributes:
        layers: what is computed, in this order.
        num_inputs: how many arrays it reads: the parts of an observation, and with a memory the state and where
            episodes begin.
        outputs: places of the logits, and with a memory of the state.
        event_shape: of the logits of one observation, `(K,)` or `(F, K)`; of other outputs the same.
        state_size: S, numbers that it remembers; 0 without a memory.

    Raises:
        ValueError: NaN or inf among the weights.

    Examples:
        >>> from rlsample.rollouts.in_numpy.network import dense_network
        >>> kernel, bias = np.array([[1.0, 0.0, -1.0]], np.float32), np.zeros(3, np.float32)
        >>> network = dense_network([kernel, bias], activations=[], event_shape=(3,))
        >>> observation = np.array([[2.0], [-2.0]], np.float32)
        >>> mask = np.array([[True, True, True], [True, True, False]])
        >>> network.mode(observation, mask), network.log_prob(observation, mask, np.array([0, 1]))
        (array([0, 1], dtype=int32), array([-0.143, -0.127], dtype=float32))
    """

    layers: list[Layer]
    num_inputs: int
    outputs: tuple[int, ...]
    event_shape: tuple[int, ...]
    state_size: int = 0

    def __post_init__(self) -> None:
        for weight in self.weights:
            if not np.isfinite(weight).all():
                raise checks.invalid("finite weights", weight=weight[~np.isfinite(weight)][0], hint=DIVERGED)

    @property
    def weights(self) -> list[np.ndarray]:
        """All there are."""
        return [weight for layer in self.layers for weight in layer.weights]

    @property
    def nbytes(self) -> int:
        """What they take."""
        return sum(weight.nbytes for weight in self.weights)

    def logits(self, observation: Any) -> np.ndarray:
        """Observations, a tree of arrays `[B, ...]` -> `[B, K]` or `[B, F, K]`; with a memory (observations, state).

        Raises:
            ValueError: NaN or inf among them.
        """
        return self._logits(self._outputs(observation)[0])

    def after(self, observation: Any, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Observations and state `[B, S]` -> logits, and the state after them."""
        logits, state = self._outputs((observation, state))
        return self._logits(logits), state

    def draw(self, observation: Any, mask: np.ndarray, noise: np.random.Generator) -> np.ndarray:
        """argmax(logits + Gumbel noise): draws from the policy; arguments and result as of `NumpyAct`."""
        return drawn(self.logits(observation), mask, noise)

    def mode(self, observation: Any, mask: np.ndarray) -> np.ndarray:
        """The most probable legal actions; arguments and result as of `NumpyAct`."""
        return best(self.logits(observation), mask)

    def log_prob(self, observation: Any, mask: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Float32 `[B]`: log-probabilities of legal actions, int32 `[B]` or `[B, F]`, summed over factors."""
        logits = np.where(mask, self.logits(observation), -np.inf)
        shifted = logits - logits.max(-1, keepdims=True)
        normal = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
        chosen = np.take_along_axis(normal, action[..., None], -1)[..., 0]
        return chosen.reshape(len(action), -1).sum(-1).astype(np.float32)

    def _outputs(self, inputs: Any) -> list[np.ndarray]:
        values = nest.flatten(inputs)
        values += [None] * (self.num_inputs - len(values))  # Where episodes begin is told by a state of zeros.
        for layer in self.layers:
            read = [values[place] for place in layer.inputs]
            values.append(FUNCTIONS[layer.function](read, layer.weights, layer.options))
        return [values[place] for place in self.outputs]

    def _logits(self, values: np.ndarray) -> np.ndarray:
        logits = values.reshape(len(values), *self.event_shape)
        if not math.isfinite(logits.sum()):  # As it is if one of them is not.
            raise checks.invalid("finite logits", row=logits[~np.isfinite(logits).all(-1)][:1].tolist(), hint=DIVERGED)
        return logits


def drawn(logits: np.ndarray, mask: np.ndarray, noise: np.random.Generator) -> np.ndarray:
    """Factor indices drawn from softmax(logits) among what is legal: int32 `[B]` or `[B, F]`.

    Examples:
        >>> from rlsample.rollouts.in_numpy.network import drawn
        >>> drawn(np.zeros([2, 2]), np.array([[True, False], [False, True]]), np.random.default_rng(0))
        array([0, 1], dtype=int32)
    """
    return np.where(mask, logits + noise.gumbel(size=logits.shape), -np.inf).argmax(-1).astype(np.int32)


def best(logits: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Factor indices of the largest legal logits: int32 `[B]` or `[B, F]`.

    Examples:
        >>> from rlsample.rollouts.in_numpy.network import best
        >>> best(np.array([[3.0, 2.0, 1.0]]), np.array([[False, True, True]]))
        array([1], dtype=int32)
    """
    return np.where(mask, logits, -np.inf).argmax(-1).astype(np.int32)


def dense_network(
    weights: Sequence[np.ndarray],
    activations: Sequence[str],
    event_shape: tuple[int, ...],
    parts: list[dict[str, Any]] | None = None,
) -> NumpyNetwork:
    """A network of dense layers.

    Args:
        weights: kernels `[D, H]` and biases `[H]` in turn.
        activations: of all layers but the last.
        event_shape: of the logits of one observation.
        parts: how observations become features, as `spaces.features.described` says; None where they are features.

    Examples:
        >>> from rlsample.rollouts.in_numpy.network import dense_network
        >>> weights = [np.ones([2, 3], np.float32), np.zeros(3, np.float32)]
        >>> dense_network(weights, [], event_shape=(3,)).logits(np.array([[1.0, 2.0]], np.float32))
        array([[3., 3., 3.]], dtype=float32)
    """
    inputs = 1 if parts is None else len(parts)
    layers = [] if parts is None else [Layer("flattening", tuple(range(inputs)), [], {"parts": parts})]
    for index, activation in enumerate([*activations, "linear"]):
        own = [np.asarray(weight) for weight in weights[2 * index : 2 * index + 2]]
        layers.append(Layer("dense", (inputs + len(layers) - 1,), own, {"activation": activation}))
    return NumpyNetwork(layers, inputs, (inputs + len(layers) - 1,), event_shape)
