"""Rounds of updates from a replay that runners fill."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import tree as nest

from rlsample.rollouts.collecting import TakesFragments
from rlsample.rollouts.in_numpy.actor import NumpyActor
from rlsample.rollouts.in_numpy.policy import network_of, sendable
from rlsample.rollouts.off_policy.loop import OffPolicyLoop, RowMaker


class DistantLoop(OffPolicyLoop):
    """As `OffPolicyLoop`, of environments that runners step: all steps of a round at once.

    Whose policy took a step does not matter to what learns from a replay: with runners that do not wait for the
    learner the rows are of an earlier one. The rows of each runner are made by themselves, and none reaches over steps
    that were lost with a runner.

    Args:
        collector: whose runners step the environments.
        make_rows: makes what makes rows of one runner's steps, such as `NStep`.
        **options: as of `OffPolicyLoop`, but `n_step`.

    Examples:
        >>> from agents import dqn
        >>> from rlsample.learning.n_step import NStep
        >>> from rlsample.learning.replay import Replay
        >>> from rlsample.rollouts.off_policy.distant_loop import DistantLoop
        >>> from rlsample.runs.shipped import known_agents
        >>> from rlsample.scale.environments import make_environments
        >>> words = ["env.id=CartPole-v1", "total_steps=1000", "agent.jit_compile=false", "env.num_envs=2"]
        >>> words += ["scale.runners=2"]
        >>> config = runs.load_config("dqn_cartpole", words, agents=known_agents())
        >>> envs = make_environments(config)
        >>> learner = dqn.Learner(config, envs.single_observation_space, envs.single_action_space)
        >>> learner.state = learner.start(0)
        >>> collector = envs.collector(learner.policy.factors, seed=0)
        >>> options = {"kept": learner.kept, "replay": Replay(1000), "temperature": config.temperature}
        >>> loop = DistantLoop(collector, learner, make_rows=NStep, seed=1, **options)
        >>> loop.steps_per_take  # of both environments
        32
    """

    def __init__(self, collector: Any, learner: Any, *, make_rows: Callable[[], RowMaker], **options: Any) -> None:
        super().__init__(collector, learner, **options)
        self._distant: TakesFragments = collector
        self._num_steps = math.ceil(self._updates.steps_per_round / collector.envs.num_envs)
        self._make_rows = make_rows
        self._rows: dict[int, RowMaker] = {}
        seed = self._streams.pair("warm-up actions", 0)
        self._act = NumpyActor(network_of(learner.policy), seed, epsilon=1.0)

    @property
    def steps_per_take(self) -> int:
        """Steps of all environments that are taken at once."""
        return self._num_steps * self._collector.envs.num_envs

    def _take(self) -> int:
        """Takes what runners have collected; see `OffPolicyLoop._take`."""
        act = sendable(self._act)
        # Rounds before the first update have one seed.
        act = dataclasses.replace(act, seed=act.seed + np.array([0, self.step], np.int64).astype(np.int32))
        count = 0
        for taken in self._distant.take(act, self._num_steps):
            rows = self._rows.setdefault(taken.runner, self._make_rows())
            if not taken.goes_on:
                rows.restore({})
            steps = taken.transitions._asdict()
            for index in range(self._num_steps):
                self._keep(rows.add(nest.map_structure(operator.itemgetter(index), steps)))
            count += steps["reward"].size
        return count
