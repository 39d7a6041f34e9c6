"""Runners in this process, one after the other: the same code as anywhere else, for one machine and for a debugger."""

from __future__ import annotations

from collections import deque

from rlsample.scale.engine import Answer
from rlsample.scale.runner import Networks, Request, Runner, RunnerPlan


class LocalEngine:
    """See `Engine`. A request is carried out when it is made, and answered in its turn.

    Args:
        plan: what the runners are made of.

    Examples:
        >>> from rlsample.rollouts.in_numpy.network import dense_network
        >>> from rlsample.scale.local_engine import LocalEngine
        >>> from rlsample.scale.runner import Request, RunnerPlan
        >>> engine = LocalEngine(RunnerPlan(env={"id": "CartPole-v1"}, num_envs=4))
        >>> engine.start(0, seed=0)
        >>> weights = [np.zeros([4, 2], np.float32), np.zeros(2, np.float32)]
        >>> network = dense_network(weights, [], event_shape=(2,))
        >>> request = Request(version=0, seed=np.array([0, 1], np.int32), stream=0, num_steps=16, with_log_prob=False)
        >>> engine.request(0, (network,), request)
        >>> engine.answer().fragment.transitions.action.shape
        (16, 4)
    """

    def __init__(self, plan: RunnerPlan) -> None:
        self._plan = plan
        self._runners: dict[int, Runner] = {}
        self._answers: deque[Answer] = deque()

    def start(self, runner: int, seed: int) -> None:
        """See `Engine`."""
        if runner in self._runners:
            self._runners[runner].close()
            self._answers = deque(answer for answer in self._answers if answer.runner != runner)
        self._runners[runner] = Runner(self._plan, seed)

    def publish(self, networks: Networks) -> Networks:
        """See `Engine`."""
        return networks

    def request(self, runner: int, networks: Networks, request: Request) -> None:
        """See `Engine`."""
        self._answers.append(Answer(runner, self._runners[runner].collect(networks, request)))

    def answer(self) -> Answer:
        """See `Engine`."""
        return self._answers.popleft()

    def close(self) -> None:
        """See `Engine`."""
        for runner in self._runners.values():
            runner.close()
