"""What a scaled collector drives its runners by, wherever they are."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from rlsample.rollouts.environment_faults import EnvironmentFault
from rlsample.scale.runner import Failure, Fragment, Networks, Request


class RunnerFault(EnvironmentFault):
    """A runner was lost more often than it may be, or none could be started; the message says which, and why."""


class Answer(NamedTuple):
    """What came of a request.

    Attributes:
        runner: whose.
        fragment: what it collected, or its environments' failure; None if the runner was lost.
        loss: then how, a clause.
    """

    runner: int
    fragment: Fragment | Failure | None
    loss: str = ""


class Engine(Protocol):
    """Runners, numbered from 0, each with one request at a time."""

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
