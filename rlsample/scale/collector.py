"""Collecting by runners, behind the same face as collecting by oneself."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import numpy as np
import tree as nest

from rlsample.rollouts.collecting import Taken
from rlsample.rollouts.environments.faults import EnvironmentFault
from rlsample.rollouts.in_numpy.actor import NumpyAct, NumpyActor
from rlsample.rollouts.in_numpy.policy import sendable
from rlsample.rollouts.snapshot import Snapshot
from rlsample.runs.scale_config import ScaleConfig
from rlsample.scale.engine import Engine, RunnerFault
from rlsample.scale.measures import Measures
from rlsample.scale.runner import Failure, Fragment, Request


class ScaledCollector:
    """Gives T steps of all environments at each call, as a `GymnasiumCollector` does.

    In sync mode each runner collects one fragment by the policy of the call; the fragments stand side by side in the
    order of the runners. In async mode the runners never wait for the learner: a call takes as many fragments as there
    are runners, the first that are there, and asks each runner for the next at once, with the policy of the call. What
    was collected by a policy more than `max_lag` calls old is dropped; the rest says the log-probability it was
    collected with. With `fragment_steps` fragments are shorter and a call takes as many more, side by side: what is
    asked for while it waits is of the policy of the call.

    A fragment of a runner that was lost is dropped whole. Another runner takes its place, with other seeds, and is sent
    the policy of the call.

    Args:
        envs: what stands for all environments: has `num_envs`.
        engine: drives the runners.
        scale: how.
        seed: of the environments; runner r has those from `seed + r * E` on.

    Examples:
        >>> from rlsample.rollouts.in_numpy.actor import NumpyActor
        >>> from rlsample.rollouts.in_numpy.network import dense_network
        >>> from rlsample.runs.scale_config import ScaleConfig
        >>> from rlsample.scale.collector import ScaledCollector
        >>> from rlsample.scale.local_engine import LocalEngine
        >>> from rlsample.scale.runner import RunnerPlan
        >>> envs, scale = gym.make_vec("CartPole-v1", num_envs=8), ScaleConfig(runners=2)
        >>> engine = LocalEngine(RunnerPlan(env={"id": "CartPole-v1"}, num_envs=4))
        >>> collector = ScaledCollector(envs, engine, scale, seed=0)
        >>> weights = [np.zeros([4, 2], np.float32), np.zeros(2, np.float32)]
        >>> network = dense_network(weights, [], event_shape=(2,))
        >>> transitions = collector.collect(NumpyActor(network, np.array([0, 1], np.int32)), num_steps=16)
        >>> transitions.reward.shape, transitions.observation.shape
        ((16, 8), (16, 8, 4))
    """

    def __init__(self, envs: Any, engine: Engine, scale: ScaleConfig, seed: int) -> None:
        self.envs = envs
        self._engine, self._scale = engine, scale
        self._version = -1
        self._measures = Measures()
        self._restarts = [0] * scale.runners
        self._unfinished = [0] * scale.runners
        self._asked: Counter[int] = Counter()
        self._begin(seed)

    def _begin(self, seed: int) -> None:
        self._seed, self._started = seed, False
        self._interrupted = [True] * self._scale.runners

    def collect(self, act: NumpyAct, num_steps: int) -> Any:
        """Arrays `[T, B, ...]`: a `Transition`; a `DistantTransition` in async mode and of a policy with a memory.

        With fragments n times shorter they are `[T / n, n B, ...]`.

        Args:
            act: what `sendable` makes a `NumpyActor` of, which is sent to the runners.
            num_steps: T.

        Raises:
            RunnerFault: a runner was lost more often than `max_restarts`.
            EnvironmentFault: an environment failed.
        """
        length = self._scale.fragment_steps or num_steps
        taken = self._taken(act, length, with_log_prob=self._scale.mode == "async", each=num_steps // length)
        parts = [fragment.transitions for fragment in taken]
        if len(parts) == 1:
            return parts[0]
        return nest.map_structure(lambda *each: np.concatenate(each, 1), *parts)

    def take(self, act: NumpyAct, num_steps: int) -> list[Taken]:
        """See `collecting.TakesFragments`; errors as of `collect`."""
        return self._taken(act, num_steps, with_log_prob=False)

    def _taken(self, act: NumpyAct, num_steps: int, *, with_log_prob: bool, each: int = 1) -> list[Taken]:
        actor = sendable(act)
        self._version += 1
        self._asked.clear()
        try:
            return self._fragments(actor, num_steps, with_log_prob, each * self._scale.runners)
        except BaseException:
            self._engine.close()
            raise

    def _fragments(self, act: NumpyActor, num_steps: int, with_log_prob: bool, count: int) -> list[Taken]:
        lagging, everyone = self._scale.mode == "async", range(self._scale.runners)
        sent = act.network, *act.beside
        networks = self._engine.publish(sent)
        size = sum(network.nbytes for network in sent)

        def ask(runner: int) -> None:
            stream = runner + self._scale.runners * self._asked[runner]
            self._asked[runner] += 1
            request = Request(self._version, act.seed, stream, num_steps, with_log_prob, act.epsilon)
            self._engine.request(runner, networks, request)
            self._measures.sent(size)

        if not self._started:
            for runner in everyone:
                self._engine.start(runner, self._environment_seed(runner))
        if not (lagging and self._started):
            for runner in everyone:
                ask(runner)
        self._started = True
        fragments: list[Taken] = []
        while len(fragments) < count:
            start = time.perf_counter()
            runner, fragment, loss = self._engine.answer()
            self._measures.waited(time.perf_counter() - start)
            if isinstance(fragment, Failure):
                raise _failed(runner, fragment)
            if fragment is None:
                self._measures.dropped += 1
                self._interrupted[runner] = True
                self._replace(runner, loss)
                ask(runner)
                continue
            lag = self._version - fragment.version
            if lag > self._scale.max_lag:
                self._measures.dropped += 1
                self._interrupted[runner] = True
            else:
                fragments.append(self._kept(runner, fragment, lag))
            if lagging:
                ask(runner)
        return fragments if lagging else sorted(fragments, key=lambda taken: taken.runner)

    def _kept(self, runner: int, fragment: Fragment, lag: int) -> Taken:
        self._measures.taken(fragment, lag)
        self._unfinished[runner] = fragment.unfinished
        goes_on, self._interrupted[runner] = not self._interrupted[runner], False
        return Taken(runner, goes_on, fragment.transitions)

    def snapshot(self) -> Snapshot:
        """Nothing: episodes far away begin anew where a run goes on."""
        return Snapshot({}, {})

    def restore(self, snapshot: Snapshot, seed: int) -> bool:
        """Begins new episodes from the seed; returns that none goes on."""
        self._begin(seed)
        return False

    def pop_episodes(self) -> dict[str, float]:
        """Metrics of the episodes that ended since the last call, of those under way, and of the runners."""
        return self._measures.pop(max(self._unfinished))

    def close(self) -> None:
        """Ends the runners."""
        self._engine.close()

    def _environment_seed(self, runner: int) -> int:
        """No two environments of a run share a seed, those that took another's place included."""
        each = self.envs.num_envs // self._scale.runners
        return (self._seed + runner * each + self._restarts[runner] * self.envs.num_envs) % 2**31

    def _replace(self, runner: int, loss: str) -> None:
        self._restarts[runner] += 1
        self._measures.restarts += 1
        count, limit = self._restarts[runner], self._scale.max_restarts
        if count > limit:
            hint = "Look at scale.fragment_seconds, at the memory of its machine, and at the environment."
            raise RunnerFault(
                f"Expected runner {runner} to be lost at most {limit} times, as scale.max_restarts says. "
                f"Received: {count}; the last time it {loss}. {hint}"
            )
        self._engine.start(runner, self._environment_seed(runner))


def _failed(runner: int, failure: Failure) -> Exception:
    """The error that a runner's environments raised there, with what it says here."""
    if failure.kind == EnvironmentFault.__name__:
        return EnvironmentFault(f"In runner {runner}: {failure.text}")
    return EnvironmentFault(f"Expected runner {runner} to work. Received: {failure.kind}.\n\n{failure.text}")
