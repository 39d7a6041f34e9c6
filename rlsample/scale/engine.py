"""What a scaled collector drives its runners by, wherever they are."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from rlsample.rollouts.environments.faults import EnvironmentFault
from rlsample.scale.runner import Failure, Fragment, Networks, Request


class RunnerFault(EnvironmentFault):
    """A runner was lost more often than it may be, or none could be started; the message says which, and why.

    Examples:
        >>> from rlsample.rollouts.environments.faults import EnvironmentFault
        >>> from rlsample.scale.engine import RunnerFault
        >>> issubclass(RunnerFault, EnvironmentFault)  # what a loop that collects has to expect anyway
        True
    """


class Answer(NamedTuple):
    """What came of a request.

    Attributes:
        runner: whose.
        fragment: what it collected, or its environments' failure; None if the runner was lost.
        loss: then how, a clause.

    Examples:
        >>> from rlsample.scale.engine import Answer
        >>> answer = Answer(runner=1, fragment=None, loss="took longer than 60 s")
        >>> answer.fragment is None, answer.loss
        (True, 'took longer than 60 s')
    """

    runner: int
    fragment: Fragment | Failure | None
    loss: str = ""


class Engine(Protocol):
    """Runners, numbered from 0, each with one request at a time.

    Examples:
        >>> from rlsample.rollouts.in_numpy.network import dense_network
        >>> from rlsample.scale.local_engine import LocalEngine
        >>> from rlsample.scale.runner import Request, RunnerPlan
        >>> engine = LocalEngine(RunnerPlan(env={"id": "CartPole-v1"}, num_envs=4))  # an Engine
        >>> engine.start(0, seed=0)
        >>> weights = [np.zeros([4, 2], np.float32), np.zeros(2, np.float32)]
        >>> network = dense_network(weights, [], event_shape=(2,))
        >>> request = Request(version=0, seed=np.array([0, 1], np.int32), stream=0, num_steps=16, with_log_prob=False)
        >>> engine.request(0, engine.publish((network,)), request)
        >>> answer = engine.answer()
        >>> answer.runner, answer.fragment.transitions.reward.shape
        (0, (16, 4))
    """

    def start(self, runner: int, seed: int) -> None:
        """Makes a runner whose environments have this seed, in the place of the one before if there was one."""

    def publish(self, networks: Networks) -> Any:
        """Takes a policy that requests are made with; returns what `request` knows it by."""

    def request(self, runner: int, networks: Any, request: Request) -> None:
        """Asks a runner for a fragment."""

    def answer(self) -> Answer:
        """Waits for an answer to any request."""

    def close(self) -> None:
        """Ends all runners."""
