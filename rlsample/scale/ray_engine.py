"""Runners as Ray actors: each in a process of its own, on any machine of a cluster."""

from __future__ import annotations

import time
from typing import Any

from rlsample.runs.scale_config import ScaleConfig
from rlsample.scale.engine import Answer, RunnerFault
from rlsample.scale.ray_cluster import RayCluster
from rlsample.scale.runner import Failure, Networks, Request, Runner, RunnerPlan

MOST_BYTES_ALONG = 50_000
"""Of weights in a request; beyond 100 kB Ray itself would put each request's own copy into the object store."""


class RayEngine:
    """See `Engine`. A runner that ends, or takes longer than `fragment_seconds`, is lost; Ray itself restarts nothing.

    Args:
        plan: what the runners are made of.
        scale: where and how many they are.

    Raises:
        RunnerFault: the cluster does not answer.

    Examples:
        >>> from rlsample.rollouts.in_numpy.network import dense_network
        >>> from rlsample.runs.scale_config import ScaleConfig
        >>> from rlsample.scale.ray_engine import RayEngine
        >>> from rlsample.scale.runner import Request, RunnerPlan
        >>> engine = RayEngine(RunnerPlan(env={"id": "CartPole-v1"}, num_envs=4), ScaleConfig(engine="ray"))
        >>> engine.start(0, seed=0)
        >>> weights = [np.zeros([4, 2], np.float32), np.zeros(2, np.float32)]
        >>> network = dense_network(weights, [], event_shape=(2,))
        >>> request = Request(version=0, seed=np.array([0, 1], np.int32), stream=0, num_steps=16, with_log_prob=False)
        >>> engine.request(0, engine.publish((network,)), request)
        >>> engine.answer().fragment.transitions.reward.shape
        (16, 4)
        >>> engine.close()
    """

    def __init__(self, plan: RunnerPlan, scale: ScaleConfig) -> None:
        self._plan, self._scale = plan, scale
        self._cluster = RayCluster(scale.address, scale.connect_seconds, cpus=scale.runners * scale.cpus_per_runner)
        self._ray = self._cluster.ray
        # No restarts by Ray: a process that comes up by itself has neither this run's seeds nor its count of them.
        options = {"num_cpus": scale.cpus_per_runner, "max_restarts": 0, "max_task_retries": 0}
        self._actor = self._ray.remote(Runner).options(**options)
        self.actors: dict[int, Any] = {}
        self._waiting: dict[Any, int] = {}
        self._until: dict[int, float] = {}
        self._fresh: set[int] = set()

    def start(self, runner: int, seed: int) -> None:
        """See `Engine`."""
        if runner in self.actors:
            self._ray.kill(self.actors[runner])
            self._waiting = {each: other for each, other in self._waiting.items() if other != runner}
        self.actors[runner] = self._actor.remote(self._plan, seed)
        self._fresh.add(runner)

    def publish(self, networks: Networks) -> Any:
        """See `Engine`. Large ones are sent to each machine once; small ones go with the requests, which is quicker."""
        size = sum(network.nbytes for network in networks)
        return self._ray.put(networks) if size > MOST_BYTES_ALONG else networks

    def request(self, runner: int, networks: Any, request: Request) -> None:
        """See `Engine`."""
        seconds = self._scale.fragment_seconds
        if runner in self._fresh:  # The process has still to start.
            seconds += self._scale.connect_seconds
        self._until[runner] = time.monotonic() + seconds
        self._waiting[self.actors[runner].collect.remote(networks, request)] = runner

    def answer(self) -> Answer:
        """See `Engine`.

        Raises:
            RunnerFault: the first runners do not start, for want of CPUs as a rule.
        """
        soonest = min(self._waiting.values(), key=self._until.__getitem__)
        patience = max(0.0, self._until[soonest] - time.monotonic())
        ready, _ = self._ray.wait(list(self._waiting), num_returns=1, timeout=patience)
        if not ready:
            self._waiting = {each: runner for each, runner in self._waiting.items() if runner != soonest}
            if soonest in self._fresh:
                raise RunnerFault(self._without_a_start(soonest))
            limit = f"{self._scale.fragment_seconds:g} s of scale.fragment_seconds"
            return Answer(soonest, None, f"took longer than the {limit}")
        runner = self._waiting.pop(ready[0])
        self._fresh.discard(runner)
        try:
            return Answer(runner, self._ray.get(ready[0]))
        except self._ray.exceptions.RayTaskError as error:  # Not lost: it could not read the request, or be read.
            return Answer(runner, Failure("RayTaskError", str(error)))
        except self._ray.exceptions.RayError as error:
            return Answer(runner, None, f"was lost: {_in_short(error)}")

    def close(self) -> None:
        """See `Engine`."""
        if self._ray.is_initialized():
            for actor in self.actors.values():
                self._ray.kill(actor)
        self._cluster.close()

    def _without_a_start(self, runner: int) -> str:
        seconds = self._scale.connect_seconds + self._scale.fragment_seconds
        cpus = self._ray.cluster_resources().get("CPU", 0)
        asked = f"{self._scale.runners} of {self._scale.cpus_per_runner:g} CPUs each, in a cluster that has {cpus:g}"
        hint = "A larger cluster, fewer scale.runners, a smaller scale.cpus_per_runner or more scale.connect_seconds."
        silent = f"no answer of runner {runner} in {seconds:g} s; {asked}"
        return f"Expected the runners to start. Received: {silent}. {hint}"


def _in_short(error: Exception) -> str:
    """The first line of Ray's own explanation, and the one that says how the process ended."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    ends = [line for line in lines if "exit type" in line.lower()]
    return " ".join([f"{type(error).__name__}:", *lines[:1], *ends[:1]])[:400]
