"""The arithmetic of a policy in NumPy alone: dense layers and a draw, which need no TensorFlow where they are done."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rlsample import checks
from rlsample.spaces import features

ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "relu": lambda values: np.maximum(values, 0),
}
"""Those that are computed here, by their Keras names."""

DIVERGED = "Training diverged: lower agent.learning_rate."

NumpyAct = Callable[[Any, np.ndarray], np.ndarray]
"""(observations from `observations.read`, mask bool of the shape of the logits) -> actions int32 `[B]` or `[B, F]`."""


def uniform_actions(generator: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """Legal factor indices drawn uniformly: int32 `[B]` or `[B, F]`.

    Examples:
        >>> from rlsample.rollouts.numpy_network import uniform_actions
        >>> mask = np.array([[True, False, False], [False, False, True]])
        >>> uniform_actions(np.random.default_rng(0), mask)
        array([0, 2], dtype=int32)
    """
    return np.argmax(np.where(mask, generator.random(mask.shape), -1.0), -1).astype(np.int32)


def noise_of(seed: np.ndarray, stream: int = 0) -> np.random.Generator:
    """A counter-based generator: any two pairs of a seed, int32 `[2]`, and a stream give independent noise.

    Examples:
        >>> from rlsample.rollouts.numpy_network import noise_of
        >>> seed = np.array([0, 1], np.int32)
        >>> first, again, other = (noise_of(seed, stream).gumbel() for stream in (0, 0, 1))
        >>> first == again, first == other
        (True, False)
    """
    key = np.asarray(seed, np.int32).view(np.uint64)[0]
    # The counter's last word, which no run of draws gets to.
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, stream]))


@dataclasses.dataclass(frozen=True, eq=False)
class NumpyNetwork:
    """Dense layers and what they read; plain arrays, to be sent anywhere.

    Attributes:
        parts: how observations become features, as `spaces.features.described` says; None where they are features.
        weights: kernels `[D, H]` and biases `[H]` in turn.
        activations: names among `ACTIVATIONS`, of all layers but the last.
        event_shape: of the logits of one observation, `(K,)` or `(F, K)`.

    Raises:
        ValueError: NaN or inf among the weights.

    Examples:
        >>> from rlsample.rollouts.numpy_network import NumpyNetwork
        >>> kernel, bias = np.array([[1.0, 0.0, -1.0]], np.float32), np.zeros(3, np.float32)
        >>> network = NumpyNetwork(parts=None, weights=[kernel, bias], activations=[], event_shape=(3,))
        >>> observation = np.array([[2.0], [-2.0]], np.float32)
        >>> mask = np.array([[True, True, True], [True, True, False]])
        >>> network.mode(observation, mask), network.log_prob(observation, mask, np.array([0, 1]))
        (array([0, 1], dtype=int32), array([-0.143, -0.127], dtype=float32))
    """

    parts: list[dict[str, Any]] | None
    weights: list[np.ndarray]
    activations: list[str]
    event_shape: tuple[int, ...]

    def __post_init__(self) -> None:
        for weight in self.weights:
            if not np.isfinite(weight).all():
                raise checks.invalid("finite weights", weight=weight[~np.isfinite(weight)][0], hint=DIVERGED)

    def logits(self, observation: Any) -> np.ndarray:
        """Observations, a tree of arrays `[B, ...]` -> `[B, K]` or `[B, F, K]`.

        Raises:
            ValueError: NaN or inf among them.
        """
        values = observation if self.parts is None else features.flat(self.parts, observation)
        batch = values.shape[:-1]
        for index, name in enumerate(self.activations):
            values = ACTIVATIONS[name](values @ self.weights[2 * index] + self.weights[2 * index + 1])
        logits = (values @ self.weights[-2] + self.weights[-1]).reshape(*batch, *self.event_shape)
        if not math.isfinite(logits.sum()):  # As it is if one of them is not.
            raise checks.invalid("finite logits", row=logits[~np.isfinite(logits).all(-1)][:1].tolist(), hint=DIVERGED)
        return logits

    def draw(self, observation: Any, mask: np.ndarray, noise: np.random.Generator) -> np.ndarray:
        """argmax(logits + Gumbel noise): draws from the policy; arguments and result as of `NumpyAct`."""
        logits = self.logits(observation)
        return np.where(mask, logits + noise.gumbel(size=logits.shape), -np.inf).argmax(-1).astype(np.int32)

    def mode(self, observation: Any, mask: np.ndarray) -> np.ndarray:
        """The most probable legal actions; arguments and result as of `NumpyAct`."""
        logits = self.logits(observation).reshape(mask.shape)  # without the batch axis of one observation
        return np.where(mask, logits, -np.inf).argmax(-1).astype(np.int32)

    def log_prob(self, observation: Any, mask: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Float32 `[B]`: log-probabilities of legal actions, int32 `[B]` or `[B, F]`, summed over factors."""
        logits = np.where(mask, self.logits(observation), -np.inf)
        shifted = logits - logits.max(-1, keepdims=True)
        normal = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
        chosen = np.take_along_axis(normal, action[..., None], -1)[..., 0]
        return chosen.reshape(len(action), -1).sum(-1).astype(np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class NumpyActor:
    """Draws the actions of one rollout: a `NumpyAct` that can be sent anywhere before it is first called.

    Attributes:
        network: the policy.
        seed: int32 `[2]`, of the whole rollout.
        stream: tells rollouts of one seed apart.

    Examples:
        >>> from rlsample.rollouts.numpy_network import NumpyActor, NumpyNetwork
        >>> weights = [np.zeros([1, 3], np.float32), np.zeros(3, np.float32)]
        >>> act = NumpyActor(NumpyNetwork(None, weights, [], event_shape=(3,)), seed=np.array([0, 1], np.int32))
        >>> actions = act(np.zeros([1000, 1], np.float32), np.array([[True, False, True]] * 1000))
        >>> set(actions.tolist())
        {0, 2}
    """

    network: NumpyNetwork
    seed: np.ndarray
    stream: int = 0
    noise: np.random.Generator = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "noise", noise_of(self.seed, self.stream))

    def __call__(self, observation: Any, mask: np.ndarray) -> np.ndarray:
        """See `NumpyAct`."""
        return self.network.draw(observation, mask, self.noise)
