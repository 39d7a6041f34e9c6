"""Acting in NumPy: for a handful of rows, calling TensorFlow takes ten times as long as the arithmetic."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from rlsample import checks
from rlsample.samplers import Sampler
from rlsample.training.policy import Policy

ACTIVATIONS = {"tanh": np.tanh, "relu": lambda values: np.maximum(values, 0)}
"""Those that are computed here, by their Keras names."""

HostAct = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(features float32 `[B, D]`, mask bool of the shape of the logits) -> actions int32 `[B]` or `[B, F]`."""


def on_host(policy: Policy, seed: np.ndarray) -> HostAct:
    """The quickest way to draw the actions of a rollout, with the weights as they are now.

    That is `HostPolicy` where the policy is one it can stand for: its activation is among `ACTIVATIONS`, and its
    sampler draws from softmax(logits). Otherwise it is `policy.sample`.

    Args:
        policy: the policy.
        seed: int32 `[2]`, of the whole rollout.

    Raises:
        ValueError: NaN or inf among the weights.
    """
    if type(policy.head.sampler).law is Sampler.law and policy.activation in ACTIVATIONS:
        return HostPolicy(policy, seed)
    steps = itertools.count()
    return lambda features, mask: policy.sample(features, mask, seed + np.array([0, next(steps)], np.int32))


class HostPolicy:
    """Draws from the law of `Policy.sample`, by other noise, with the weights as they were when it was made."""

    def __init__(self, policy: Policy, seed: np.ndarray) -> None:
        weights = [np.asarray(weight) for weight in policy.model.trainable_variables]
        for weight in weights:
            if not np.isfinite(weight).all():
                hint = "Training diverged: lower agent.learning_rate."
                raise checks.invalid("finite weights", weight=weight[~np.isfinite(weight)][0], hint=hint)
        *self._hidden, self._last = zip(weights[::2], weights[1::2], strict=True)
        self._activation = ACTIVATIONS[policy.activation]
        self._event_shape = policy.factors.event_shape
        # A counter-based generator: any two seeds give independent noise.
        self._noise = np.random.Generator(np.random.Philox(key=np.asarray(seed, np.int32).view(np.uint64)[0]))

    def logits(self, features: np.ndarray) -> np.ndarray:
        """float32 `[B, D]` -> `[B, K]` or `[B, F, K]`; what `Policy.model` gives, but for illegal entries."""
        for kernel, bias in self._hidden:
            features = self._activation(features @ kernel + bias)
        kernel, bias = self._last
        return (features @ kernel + bias).reshape(-1, *self._event_shape)

    def __call__(self, features: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Draws actions as argmax(logits + Gumbel noise); see `HostAct`."""
        logits = self.logits(features)
        perturbed = logits + self._noise.gumbel(size=logits.shape)
        return np.where(mask, perturbed, -np.inf).argmax(-1).astype(np.int32)
