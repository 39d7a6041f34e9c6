"""What acts through a rollout in NumPy alone, here or wherever it was sent."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from rlsample.rollouts.in_numpy.network import NumpyNetwork, best, drawn

NumpyAct = Callable[[Any, np.ndarray], np.ndarray]
"""(observations from `observations.read`, mask bool of the shape of the logits) -> actions int32 `[B]` or `[B, F]`."""


def uniform_actions(generator: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """Legal factor indices drawn uniformly: int32 `[B]` or `[B, F]`.

    Examples:
        >>> from rlsample.rollouts.in_numpy.actor import uniform_actions
        >>> mask = np.array([[True, False, False], [False, False, True]])
        >>> uniform_actions(np.random.default_rng(0), mask)
        array([0, 2], dtype=int32)
    """
    return np.argmax(np.where(mask, generator.random(mask.shape), -1.0), -1).astype(np.int32)


def explored(
    generator: np.random.Generator, mask: np.ndarray, epsilon: float, greedy: Callable[[], np.ndarray]
) -> np.ndarray:
    """Greedy actions, but with probability epsilon legal ones drawn uniformly: in each row by itself.

    Examples:
        >>> from rlsample.rollouts.in_numpy.actor import explored
        >>> explored(np.random.default_rng(0), np.ones([4, 2], bool), 0.5, greedy=lambda: np.ones(4, np.int32))
        array([1, 1, 1, 0], dtype=int32)
    """
    explores = generator.random((len(mask), *[1] * (mask.ndim - 2))) < epsilon
    return np.where(explores, uniform_actions(generator, mask), greedy())


def noise_of(seed: np.ndarray, stream: int = 0) -> np.random.Generator:
    """A counter-based generator: any two pairs of a seed, int32 `[2]`, and a stream give independent noise.

    Examples:
        >>> from rlsample.rollouts.in_numpy.actor import noise_of
        >>> seed = np.array([0, 1], np.int32)
        >>> first, again, other = (noise_of(seed, stream).gumbel() for stream in (0, 0, 1))
        >>> first == again, first == other
        (True, False)
    """
    key = np.asarray(seed, np.int32).view(np.uint64)[0]
    # The counter's last word, which no run of draws gets to.
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, stream]))


@dataclasses.dataclass(frozen=True, eq=False)
class NumpyActor:
    """Chooses the actions of one rollout: a `NumpyAct` that can be sent anywhere before it is first called.

    A network with a memory acts by `RememberingActor`; this is then the word of how.

    Attributes:
        network: the policy.
        seed: int32 `[2]`, of the whole rollout.
        stream: tells rollouts of one seed apart.
        epsilon: probability of an action drawn uniformly instead of the most probable one; None draws from the policy.
        beside: networks with a memory that read what the policy reads, and whose states a learner asks for.

    Examples:
        >>> from rlsample.rollouts.in_numpy.actor import NumpyActor
        >>> from rlsample.rollouts.in_numpy.network import dense_network
        >>> network = dense_network([np.zeros([1, 3], np.float32), np.zeros(3, np.float32)], [], event_shape=(3,))
        >>> act = NumpyActor(network, seed=np.array([0, 1], np.int32))
        >>> actions = act(np.zeros([1000, 1], np.float32), np.array([[True, False, True]] * 1000))
        >>> set(actions.tolist())
        {0, 2}
    """

    network: NumpyNetwork
    seed: np.ndarray
    stream: int = 0
    epsilon: float | None = None
    beside: tuple[NumpyNetwork, ...] = ()
    noise: np.random.Generator = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "noise", noise_of(self.seed, self.stream))

    def __call__(self, observation: Any, mask: np.ndarray) -> np.ndarray:
        """See `NumpyAct`."""
        return self.choose(mask, lambda: self.network.logits(observation))

    def choose(self, mask: np.ndarray, logits: Callable[[], np.ndarray]) -> np.ndarray:
        """Actions for what the network says."""
        if self.epsilon is None:
            return drawn(logits(), mask, self.noise)
        return explored(self.noise, mask, self.epsilon, lambda: best(logits(), mask))


class RememberingActor:
    """Chooses the actions of a rollout by a network with a memory: a `NumpyAct`.

    Attributes:
        seen: (observations, state) that it last acted on.
        before: what the policy, and the networks beside it, remembered before each step: float32 `[B, S]` each.
        states: what they remember now.

    Args:
        actor: of the network.
        states: before the first step, float32 `[B, S]` each.
        starts: tells, before each step, where an episode begins with it: bool `[B]`.

    Examples:
        >>> from rlsample.rollouts.in_numpy.actor import NumpyActor, RememberingActor
        >>> from rlsample.rollouts.in_numpy.policy import network_of
        >>> from rlsample.rollouts.recurrent.policy import RecurrentPolicy
        >>> env = gym.make("CartPole-v1")
        >>> policy = RecurrentPolicy(env.observation_space, env.action_space, samplers.create("exact"), "recurrent")
        >>> actor, begun = NumpyActor(network_of(policy), np.array([0, 1], np.int32)), np.array([True, True, True])
        >>> act = RememberingActor(actor, [policy.initial_state(3)], starts=lambda: begun)
        >>> act(np.ones([3, 4], np.float32), np.ones([3, 2], bool)).shape, act.states[0].shape
        ((3,), (3, 64))
    """

    def __init__(self, actor: NumpyActor, states: list[np.ndarray], starts: Callable[[], np.ndarray]) -> None:
        self.seen: Any = None
        self.before: list[tuple[np.ndarray, ...]] = []
        self.states = states
        self._actor, self._starts = actor, starts

    def __call__(self, observation: Any, mask: np.ndarray) -> np.ndarray:
        """See `NumpyAct`."""
        begun = self._starts()[:, None]
        before = tuple(np.where(begun, np.float32(0), state) for state in self.states)
        self.seen = observation, before[0]
        self.before.append(before)
        networks = self._actor.network, *self._actor.beside
        after = [network.after(observation, state) for network, state in zip(networks, before, strict=True)]
        self.states = [state for _, state in after]
        return self._actor.choose(mask, lambda: after[0][0])
