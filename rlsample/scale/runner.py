"""What collects: environments and a policy in NumPy, in whichever process. Nothing here loads TensorFlow."""

from __future__ import annotations

import dataclasses
import importlib
import os
import time
import traceback
from typing import Any, NamedTuple

import numpy as np
import tree as nest

from rlsample.rollouts.environments.faults import EnvironmentFault
from rlsample.rollouts.gymnasium_collector import GymnasiumCollector
from rlsample.rollouts.in_numpy.actor import NumpyActor, RememberingActor
from rlsample.rollouts.in_numpy.network import NumpyNetwork
from rlsample.rollouts.transition import DistantTransition, Transition
from rlsample.runs.env_config import EnvConfig
from rlsample.spaces import factorise


class Request(NamedTuple):
    """What a runner is asked for.

    Attributes:
        version: of the policy it is sent with.
        seed: int32 `[2]`, of the actions.
        stream: tells fragments of one seed apart.
        num_steps: T.
        with_log_prob: whether what learns from the fragment may be another policy by then.
        epsilon: as of `NumpyActor`.

    Examples:
        >>> from rlsample.scale.runner import Request
        >>> request = Request(version=0, seed=np.array([0, 1], np.int32), stream=0, num_steps=16, with_log_prob=False)
        >>> request.num_steps, request.with_log_prob
        (16, False)
    """

    version: int
    seed: np.ndarray
    stream: int
    num_steps: int
    with_log_prob: bool
    epsilon: float | None = None


Networks = tuple[NumpyNetwork, ...]
"""The policy, and beside it the networks whose memories its learner asks for."""


class Fragment(NamedTuple):
    """T steps of E environments, by one policy.

    Attributes:
        version: of the policy.
        transitions: arrays `[T, E, ...]`.
        returns: of the episodes that ended in it.
        lengths: of those episodes.
        unfinished: steps so far of the longest episode under way.
        seconds: how long it took.

    Examples:
        >>> from rlsample.rollouts.in_numpy.network import dense_network
        >>> from rlsample.scale.runner import Request, Runner, RunnerPlan
        >>> weights = [np.zeros([4, 2], np.float32), np.zeros(2, np.float32)]
        >>> network = dense_network(weights, [], event_shape=(2,))
        >>> request = Request(version=0, seed=np.array([0, 1], np.int32), stream=0, num_steps=16, with_log_prob=False)
        >>> fragment = Runner(RunnerPlan(env={"id": "CartPole-v1"}, num_envs=4), seed=0).collect((network,), request)
        >>> fragment.version, fragment.transitions.observation.shape, fragment.unfinished
        (0, (16, 4, 4), 16)
    """

    version: int
    transitions: Transition | DistantTransition
    returns: list[float]
    lengths: list[int]
    unfinished: int
    seconds: float

    @property
    def size(self) -> int:
        """Bytes of its arrays."""
        return sum(leaf.nbytes for leaf in nest.flatten(self.transitions))


class Failure(NamedTuple):
    """What a runner answers instead when its environments fail: an error that another try would not mend.

    Attributes:
        kind: the type's name of the error.
        text: what it says, with the runner's traceback where it is not an environment's own.

    Examples:
        >>> from rlsample.rollouts.in_numpy.network import dense_network
        >>> from rlsample.scale.runner import Failure, Request, Runner, RunnerPlan
        >>> weights = [np.zeros([4, 2], np.float32), np.zeros(2, np.float32)]
        >>> network = dense_network(weights, [], event_shape=(2,))
        >>> request = Request(version=0, seed=np.array([0, 1], np.int32), stream=0, num_steps=16, with_log_prob=False)
        >>> failure = Runner(RunnerPlan(env={"id": "Missing-v0"}, num_envs=4), seed=0).collect((network,), request)
        >>> isinstance(failure, Failure), failure.kind
        (True, 'ValidationError')
    """

    kind: str
    text: str


@dataclasses.dataclass(frozen=True)
class RunnerPlan:
    """What every runner of a run is made of; plain data, to be sent anywhere.

    Attributes:
        env: fields of an `EnvConfig`.
        num_envs: E, of each runner.
        imports: modules that register environments.

    Examples:
        >>> import pickle
        >>> from rlsample.scale.runner import RunnerPlan
        >>> plan = RunnerPlan(env={"id": "CartPole-v1"}, num_envs=4, imports=("my_package",))
        >>> pickle.loads(pickle.dumps(plan)) == plan
        True
    """

    env: dict[str, Any]
    num_envs: int
    imports: tuple[str, ...] = ()


class Runner:
    """Steps environments by the policy it is sent, and returns what came of it.

    The environments are made with the first request, so that what goes wrong then is answered as everything else is.

    Args:
        plan: what it is made of.
        seed: of the environments.

    Examples:
        >>> from rlsample.rollouts.in_numpy.network import dense_network
        >>> from rlsample.scale.runner import Request, Runner, RunnerPlan
        >>> runner = Runner(RunnerPlan(env={"id": "CartPole-v1"}, num_envs=4), seed=0)
        >>> weights = [np.zeros([4, 2], np.float32), np.zeros(2, np.float32)]
        >>> network = dense_network(weights, [], event_shape=(2,))
        >>> request = Request(version=0, seed=np.array([0, 1], np.int32), stream=0, num_steps=16, with_log_prob=False)
        >>> fragment = runner.collect((network,), request)
        >>> fragment.transitions.reward.shape, fragment.transitions.observation.shape
        ((16, 4), (16, 4, 4))
    """

    def __init__(self, plan: RunnerPlan, seed: int) -> None:
        self._plan, self._seed = plan, seed
        self._collector: GymnasiumCollector | None = None
        self._states: list[np.ndarray] = []

    def process(self) -> int:
        """The id of its process."""
        return os.getpid()

    def collect(self, networks: Networks, request: Request) -> Fragment | Failure:
        """Takes T steps in every environment."""
        start = time.perf_counter()
        try:
            if self._collector is None:
                self._collector = self._begun()
            collector = self._collector
            transitions = self._transitions(collector, networks, request)
        except EnvironmentFault as error:
            return Failure(EnvironmentFault.__name__, str(error))
        except Exception as error:
            return Failure(type(error).__name__, traceback.format_exc())
        episodes = collector.take_episodes()
        return Fragment(request.version, transitions, *episodes, time.perf_counter() - start)

    def _transitions(
        self, collector: GymnasiumCollector, networks: Networks, request: Request
    ) -> Transition | DistantTransition:
        actor = NumpyActor(networks[0], request.seed, request.stream, request.epsilon, networks[1:])
        if not networks[0].state_size:
            transitions = collector.collect(actor, request.num_steps)
            return _with_log_prob(networks[0], transitions) if request.with_log_prob else transitions
        states = self._states or [
            np.zeros((self._plan.num_envs, network.state_size), np.float32) for network in networks
        ]
        act = RememberingActor(actor, states, lambda: collector.starts)
        transitions = collector.collect(act, request.num_steps)
        self._states = act.states
        distant = DistantTransition(*transitions)
        if request.with_log_prob:
            distant = _with_log_prob(networks[0], transitions, np.concatenate([states[0] for states in act.before]))
        return distant._replace(memory=tuple(state[None] for state in act.before[0]))

    def close(self) -> None:
        """Closes the environments."""
        if self._collector is not None:
            self._collector.envs.close()

    def _begun(self) -> GymnasiumCollector:
        for name in self._plan.imports:
            importlib.import_module(name)
        envs = EnvConfig.model_validate(self._plan.env).make(num_envs=self._plan.num_envs)
        return GymnasiumCollector(envs, factorise(envs.single_action_space), self._seed)


def _with_log_prob(
    network: NumpyNetwork, transitions: Transition, states: np.ndarray | None = None
) -> DistantTransition:
    """Transitions `[T, E, ...]`, and what the policy that took them says of the actions from states `[T * E, S]`."""
    rows = nest.map_structure(lambda part: part.reshape(-1, *part.shape[2:]), transitions)
    observation = rows.observation if states is None else (rows.observation, states)
    log_prob = network.log_prob(observation, rows.mask, rows.action)
    return DistantTransition(*transitions, log_prob.reshape(transitions.reward.shape))
