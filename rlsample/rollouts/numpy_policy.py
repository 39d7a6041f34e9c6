"""A policy in NumPy: for a handful of rows, calling TensorFlow takes ten times as long as the arithmetic."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from rlsample import checks
from rlsample.networks.flattening import Flattening
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.recurrent_policy import RecurrentPolicy, Remembering

ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "relu": lambda values: np.maximum(values, 0),
}
"""Those that are computed here, by their Keras names."""

DIVERGED = "Training diverged: lower agent.learning_rate."

NumpyAct = Callable[[Any, np.ndarray], np.ndarray]
"""(observations from `observations.read`, mask bool of the shape of the logits) -> actions int32 `[B]` or `[B, F]`."""


def uniform_actions(generator: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """Legal factor indices drawn uniformly: int32 `[B]` or `[B, F]`."""
    return np.argmax(np.where(mask, generator.random(mask.shape), -1.0), -1).astype(np.int32)


def quickest_actor(policy: Policy, seed: np.ndarray) -> NumpyAct:
    """The quickest way to draw the actions of a rollout, with the weights as they are now.

    That is a `NumpyPolicy` where one can stand for the policy: its model is dense layers, with activations among
    `ACTIVATIONS`, on a flat observation, and the head, whose sampler draws from softmax(logits). Otherwise it is
    `policy.sample`.

    Args:
        policy: the policy.
        seed: int32 `[2]`, of the whole rollout.

    Raises:
        ValueError: NaN or inf among the weights.
    """
    if _can_be_replaced(policy):
        noise, stand_in = _noise(seed), NumpyPolicy(policy)
        return lambda observation, mask: stand_in.draw(observation, mask, noise)
    steps = itertools.count()
    return lambda observation, mask: policy.sample(observation, mask, seed + np.array([0, next(steps)], np.int32))


def epsilon_greedy_actor(policy: Policy, epsilon: float, seed: np.ndarray) -> NumpyAct:
    """The most probable action, but with probability epsilon a legal one drawn uniformly: in each row by itself.

    Args:
        policy: with its weights as they are now.
        epsilon: in [0, 1].
        seed: int32 `[2]`, of the whole rollout.

    Raises:
        ValueError: NaN or inf among the weights.
    """
    noise = _noise(seed)
    mode = NumpyPolicy(policy).mode if _can_be_replaced(policy) else policy.mode

    def act(observation: Any, mask: np.ndarray) -> np.ndarray:
        explores = noise.random((len(mask), *[1] * (mask.ndim - 2))) < epsilon
        return np.where(explores, uniform_actions(noise, mask), mode(observation, mask))

    return act


def _noise(seed: np.ndarray) -> np.random.Generator:
    """A counter-based generator: any two seeds, int32 `[2]`, give independent noise."""
    return np.random.Generator(np.random.Philox(key=np.asarray(seed, np.int32).view(np.uint64)[0]))


def quickest_policy(policy: Any) -> Any:
    """Whatever is quickest that acts as the policy does as long as its weights stay: a `NumpyPolicy`, or the policy.

    One with a memory keeps its state itself: see `Remembering`.
    """
    if isinstance(policy, RecurrentPolicy):
        return Remembering(policy)
    return NumpyPolicy(policy) if isinstance(policy, Policy) and _can_be_replaced(policy) else policy


def _can_be_replaced(policy: Policy) -> bool:
    _, hidden, head = _layers(policy)
    plain = all(type(layer) is keras.layers.Dense and _activation(layer) in ACTIVATIONS for layer in hidden)
    return plain and head is policy.head and head.sampler.draws_from_logits


def _layers(policy: Policy) -> tuple[Flattening | None, list[keras.layers.Layer], keras.layers.Layer]:
    """What flattens the observation, if anything does; the hidden layers; the last one."""
    *layers, head = (layer for layer in policy.model.layers if not isinstance(layer, keras.layers.InputLayer))
    return (layers[0], layers[1:], head) if layers and isinstance(layers[0], Flattening) else (None, layers, head)


def _activation(layer: keras.layers.Dense) -> str:
    return keras.activations.serialize(layer.activation)


class NumpyPolicy:
    """A policy with the weights as they were when this was made.

    Raises:
        ValueError: NaN or inf among them.
    """

    def __init__(self, policy: Policy) -> None:
        weights = [np.asarray(weight) for weight in policy.model.trainable_variables]
        for weight in weights:
            if not np.isfinite(weight).all():
                raise checks.invalid("finite weights", weight=weight[~np.isfinite(weight)][0], hint=DIVERGED)
        layers = zip(weights[::2], weights[1::2], strict=True)
        self._flattening, hidden, _ = _layers(policy)
        activations = [ACTIVATIONS[_activation(layer)] for layer in hidden]
        *self._hidden, self._last = itertools.zip_longest(layers, activations)
        self._policy = policy

    def logits(self, observation: Any) -> np.ndarray:
        """Observations -> `[B, K]` or `[B, F, K]`; what `Policy.model` gives, but for illegal entries.

        Raises:
            ValueError: NaN or inf among them.
        """
        features = observation if self._flattening is None else self._flattening.in_numpy(observation)
        batch = features.shape[:-1]
        for (kernel, bias), activation in self._hidden:
            features = activation(features @ kernel + bias)
        (kernel, bias), _ = self._last
        logits = (features @ kernel + bias).reshape(*batch, *self._policy.factors.event_shape)
        if not math.isfinite(logits.sum()):  # As it is if one of them is not.
            raise checks.invalid("finite logits", row=logits[~np.isfinite(logits).all(-1)][:1].tolist(), hint=DIVERGED)
        return logits

    def draw(self, observation: Any, mask: np.ndarray, noise: np.random.Generator) -> np.ndarray:
        """argmax(logits + Gumbel noise): the distribution of `Policy.sample`, by other noise; see `NumpyAct`."""
        logits = self.logits(observation)
        return np.where(mask, logits + noise.gumbel(size=logits.shape), -np.inf).argmax(-1).astype(np.int32)

    def mode(self, observation: Any, mask: np.ndarray) -> np.ndarray:
        """See `Policy.mode`."""
        logits = self.logits(observation).reshape(mask.shape)  # without the batch axis of one observation
        return np.where(mask, logits, -np.inf).argmax(-1).astype(np.int32)

    def act(self, observations: Any, mask: Any = None, seed: Any = None) -> Any:
        """See `Policy.act`."""
        if seed is not None:
            return self._policy.act(observations, mask, seed)
        return self._policy.factors.to_env(self.mode(*self._policy.read(observations, mask)))
