"""Steps of environments, and rounds of updates from a replay between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from rlsample import checks
from rlsample.learning.n_step import NStep
from rlsample.learning.replay import Replay
from rlsample.rollouts.collecting import Collector
from rlsample.rollouts.in_numpy.actor import NumpyAct, uniform_actions
from rlsample.rollouts.loop import Watcher, all_finite, raise_for_divergence
from rlsample.rollouts.off_policy.updates import Updates
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.recurrent.recall import Recall
from rlsample.rollouts.snapshot import Snapshot, arrays_of, generator_state, tensors_from
from rlsample.rollouts.transitions import specs as transition_specs
from rlsample.schedules import Temperature
from rlsample.streams import Streams


class OffPolicyLearner(Protocol):
    """What `train_off_policy` drives.

    Attributes:
        policy: acts outside of compiled code; its weights are as of the last `actor`.
        state: what was learned so far, a tree of tensors.
        update: updates so far.
        update_seeds: draws the seeds of updates.
        updates: how many go with the steps.

    Examples:
        >>> from rlsample.rollouts.off_policy.updates import Updates
        >>> class Counting:
        ...     def __init__(self):
        ...         self.state, self.update, self.update_seeds = tf.zeros([]), 0, np.random.default_rng(0)
        ...         self.updates = Updates(warmup_steps=0, total_steps=100, per_step=0.5, steps_per_round=10)
        ...     def learn(self, replay, generator, step):
        ...         self.update = self.updates.due(step)
        ...         return {"charts/rows": float(len(replay))}
        ...     def actor(self, seed, step):
        ...         return lambda observation, mask: np.zeros(len(mask), np.int32)
        >>> learner = Counting()
        >>> learner.learn(replay=[None] * 20, generator=None, step=20), learner.update
        ({'charts/rows': 20.0}, 10)
    """

    state: Any
    update: int
    update_seeds: np.random.Generator
    updates: Updates

    @property
    def policy(self) -> Policy:
        """See the class."""

    def learn(self, replay: Replay, generator: np.random.Generator, step: int) -> dict[str, float]:
        """Makes the updates that are due after so many environment steps; returns the metrics of the last."""

    def actor(self, seed: np.ndarray, step: int) -> NumpyAct:
        """How to act from an environment step to the end of the round, with noise from a seed, int32 `[2]`."""

    def publish_averaged(self) -> Policy:
        """The policy to judge and to keep."""


class RowMaker(Protocol):
    """What makes rows of a replay of the steps that were taken.

    Examples:
        >>> class EveryOther:  # keeps each second step
        ...     def __init__(self): self.count = 0
        ...     def add(self, step):
        ...         self.count += 1
        ...         return step if self.count % 2 else {name: column[:0] for name, column in step.items()}
        ...     def snapshot(self): return {"count": np.array(self.count)}
        ...     def restore(self, begun): self.count = int(begun.get("count", 0))
        >>> rows = EveryOther()
        >>> [len(rows.add({"reward": np.ones(8)})["reward"]) for _ in range(3)]
        [8, 0, 8]
    """

    def add(self, step: Mapping[str, Any]) -> Mapping[str, Any]:
        """Takes the fields of a transition, `[B, ...]`; returns the rows that are complete, as many as there are."""

    def snapshot(self) -> dict[str, Any]:
        """What is begun and not complete, named trees of arrays."""

    def restore(self, begun: Mapping[str, Any]) -> None:
        """Goes on from a `snapshot`."""


class OffPolicyLoop:
    """Environments, replay and learner, and the random numbers between them.

    Attributes:
        step: environment steps so far, over all environments.

    Args:
        collector: steps the environments.
        learner: learns between the rounds.
        kept: what the replay keeps of the rows that `n_step` makes: trees of `tf.TensorSpec` by name.
        replay: keeps them.
        n_step: makes rows of steps, such as `NStep`; by default a row is a step.
        seed: of the run.
        temperature: decides the temperature of the learner's policy, before each round of updates.

    Examples:
        >>> from agents import dqn
        >>> from rlsample.learning.replay import Replay
        >>> from rlsample.rollouts.gymnasium_collector import GymnasiumCollector
        >>> from rlsample.rollouts.off_policy.loop import OffPolicyLoop
        >>> from rlsample.runs.shipped import known_agents
        >>> words = ["total_steps=1000", "agent.jit_compile=false", "env.num_envs=2"]
        >>> config = runs.load_config("dqn_cartpole", words, agents=known_agents())
        >>> envs = config.env.make()
        >>> learner = dqn.Learner(config, envs.single_observation_space, envs.single_action_space)
        >>> learner.state = learner.start(0)
        >>> collector = GymnasiumCollector(envs, learner.policy.factors, seed=0)
        >>> options = {"kept": learner.kept, "replay": Replay(1000), "temperature": config.temperature}
        >>> loop = OffPolicyLoop(collector, learner, seed=1, **options)
        >>> loop.step, learner.update
        (0, 0)
    """

    def __init__(
        self,
        collector: Collector,
        learner: OffPolicyLearner,
        *,
        kept: Mapping[str, Any],
        replay: Replay,
        n_step: RowMaker | None = None,
        seed: int,
        temperature: Temperature,
    ) -> None:
        self.step, self.learner = 0, learner
        self._temperature, self._temperature_state = temperature, temperature.initial()
        self._collector, self._kept, self._updates = collector, kept, learner.updates
        self._streams = streams = Streams(seed)
        self._replay, self._replay_draws = replay, streams.generator("replay")
        self._n_step: RowMaker = NStep() if n_step is None else n_step
        self._warmup_draws, self._action_seeds = streams.generator("warm-up actions"), streams.generator("actions")
        self._round_ends = self._updates.uniform_steps
        self._act: NumpyAct = lambda observation, mask: uniform_actions(self._warmup_draws, mask)
        self._action_seed: np.ndarray | None = None
        self._acted = False
        self._all_finite = tf.function(all_finite, autograph=False)
        if isinstance(self._n_step, Recall):  # Of the steps of uniform actions something is to be remembered too.
            self._act_anew()

    @property
    def steps_per_take(self) -> int:
        """Steps of all environments that are taken at once."""
        return self._collector.envs.num_envs

    def advance(self, run: Watcher) -> dict[str, float] | None:
        """Steps the environments to the end of the round, and learns; None if the run is to stop before that."""
        while not run.stopping:
            self.step, self._acted = self.step + self._take(), True
            if self.step >= min(self._round_ends, self._updates.total_steps):
                self._round_ends = (self.step // self._updates.steps_per_round + 1) * self._updates.steps_per_round
                metrics = {"sampler/temperature": self._set_temperature()} | self._learn()
                if self._temperature.metric in metrics:
                    self._temperature_state = self._temperature.update(self._temperature_state, metrics)
                self._act_anew()
                return metrics | self._collector.pop_episodes()
        return None

    def _take(self) -> int:
        """Steps every environment once, and keeps the rows that this completes; returns how many steps these were."""
        collector: Any = self._collector  # One that can be stepped: `DistantLoop` is for others.
        self._keep(self._n_step.add(collector.step(self._act(collector.observation, collector.mask))._asdict()))
        return collector.envs.num_envs

    def _keep(self, rows: Mapping[str, Any]) -> None:
        self._replay.add({name: rows[name] for name in self._kept})

    def _learn(self) -> dict[str, float]:
        """A round of updates; the learner is as it was before if they fail."""
        learner = self.learner
        if not len(self._replay):  # The run is over before the first row is complete.
            return {}
        before = learner.state, learner.update
        try:
            with checks.told_on_the_host():
                metrics = learner.learn(self._replay, self._replay_draws, self.step)
            raise_for_divergence(self._all_finite(learner.state))
        except ValueError:
            learner.state, learner.update = before
            raise
        return metrics

    def snapshot(self) -> Snapshot:
        """What `restore` needs to go on from here: to the bit after a round, if the environments can be restored."""
        columns, place = self._replay.snapshot()
        collector = self._collector.snapshot()
        arrays = arrays_of("state", self.learner.state) | arrays_of("temperature", self._temperature_state)
        arrays |= _named_arrays("replay", columns) | _named_arrays("begun", self._n_step.snapshot())
        numbers = {
            "step": self.step,
            "update": self.learner.update,
            "round_ends": self._round_ends,
            "replay_next": place,
            "action_seed": None if self._action_seed is None else self._action_seed.tolist(),
            "acted": self._acted,
            "generators": {name: generator_state(each) for name, each in self._generators().items()},
        }
        return Snapshot(arrays | dict(collector.arrays), numbers)

    def restore(self, snapshot: Snapshot) -> None:
        """Goes on from a snapshot."""
        arrays, numbers, learner = snapshot.arrays, snapshot.numbers, self.learner
        learner.state, learner.update = tensors_from(arrays, "state", learner.state), numbers["update"]
        self._temperature_state = tensors_from(arrays, "temperature", self._temperature_state)
        self.step, self._round_ends = numbers["step"], numbers["round_ends"]
        specs = transition_specs(learner.policy.observation_space, learner.policy.factors)._asdict()
        self._replay.restore(_named_trees("replay", arrays, self._kept), numbers["replay_next"])
        for name, generator in self._generators().items():
            generator.bit_generator.state = numbers["generators"][name]
        goes_on = self._collector.restore(snapshot, self._streams.integer("environments", self.step))
        self._n_step.restore(_named_trees("begun", arrays, specs) if goes_on else {})
        if numbers["action_seed"] is not None:
            self._set_temperature()
            # Within a round the noise that was used is not used again.
            self._act_anew(None if numbers["acted"] else np.array(numbers["action_seed"], np.int32))

    def _set_temperature(self) -> float:
        temperature = self._temperature.at(self._temperature_state, self.step)
        self.learner.policy.head.temperature.assign(temperature)
        return float(temperature)

    def _act_anew(self, seed: np.ndarray | None = None) -> None:
        self._action_seed = self._action_seeds.integers(-(2**31), 2**31, 2, np.int32) if seed is None else seed
        self._act, self._acted = self.learner.actor(self._action_seed, self.step), False

    def _generators(self) -> dict[str, np.random.Generator]:
        return {
            "replay": self._replay_draws,
            "warm-up actions": self._warmup_draws,
            "actions": self._action_seeds,
            "updates": self.learner.update_seeds,
        }


def _named_arrays(name: str, trees: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The leaves of named trees, as `{name}/{key}/0`, ..."""
    parts = [arrays_of(f"{name}/{key}", tree) for key, tree in trees.items()]
    return {key: array for part in parts for key, array in part.items()}


def _named_trees(name: str, arrays: Mapping[str, np.ndarray], like: Mapping[str, Any]) -> dict[str, Any]:
    """The trees that `_named_arrays` took apart, of the structures of others; those without one are single arrays."""
    keys = dict.fromkeys(each.split("/")[1] for each in arrays if each.startswith(f"{name}/"))
    counts = {key: len(tf.nest.flatten(like.get(key, 0))) for key in keys}
    leaves = {key: [arrays[f"{name}/{key}/{index}"] for index in range(count)] for key, count in counts.items()}
    return {key: tf.nest.pack_sequence_as(like.get(key, 0), parts) for key, parts in leaves.items()}
