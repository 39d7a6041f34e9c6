"""Runners in this process, one after the other: the same code as anywhere else, for one machine and for a debugger."""

from __future__ import annotations

from collections import deque

from rlsample.scale.engine import Answer
from rlsample.scale.runner import Networks, Request, Runner, RunnerPlan


class LocalEngine:
    """See `Engine`. A request is carried out when it is made, and answered in its turn.

    Args:
        plan: what the runners are made of.
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
