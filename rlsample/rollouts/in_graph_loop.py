"""Turns in one compiled program: the environment is stepped inside of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from rlsample import checks, ops
from rlsample.learning.loops import add_to, repeat
from rlsample.learning.population import member_of, members_of
from rlsample.rollouts.in_graph_collector import Finished, InGraphCollector, Running, in_graph_env
from rlsample.rollouts.in_graph_turns import TurnMaker, collect_and_learn
from rlsample.rollouts.loop import all_finite, finite_metrics, raise_for_divergence, raise_for_not_finite
from rlsample.rollouts.sampler_metrics import (
    GRADIENT,
    RELAXATION,
    CriticAudit,
    OneStepAudit,
    relaxation_metrics,
)
from rlsample.rollouts.snapshot import Snapshot, arrays_of, tensors_from, tree_from
from rlsample.schedules import Temperature
from rlsample.streams import Streams

MAX_TURNS_PER_CALL = 16
"""In-graph turns per call: calling a compiled program takes about as long as collecting a small rollout."""

MEASURE_EVERY = 4
"""Turns between two measurements of what the sampler does."""


class InGraphLoop:
    """Takes turns in one compiled program, several per call.

    Attributes:
        learner: as given, or the population of it.
        state: what was learned so far, as the learner gives it.
        scores: float `[S]`, mean return of each member's latest episodes; -inf before the first.

    Args:
        envs: S * E environments with an in-graph one behind them, those of the first member first.
        learner: of one network, with a `policy`.
        num_steps: T, steps of each environment in a turn.
        metrics: names of what a turn measures, a scalar for each member.
        seed: of the run, from which those of environments and actions derive.
        temperature: decides the temperature, at the environment steps of one member.
        make_turn: what a turn is.
        audit: measures the gradients of the first member; None does not.
        population: S.
        jit_compile: whether XLA compiles the program.
        hint: what to do when losses are not finite.

    Raises:
        ValueError: the environment is not in-graph.

    Examples:
        >>> from types import SimpleNamespace
        >>> import envs
        >>> from rlsample.rollouts.in_graph_loop import InGraphLoop
        >>> from rlsample.rollouts.policy import Policy
        >>> vector = gym.make_vec("rlsample/CartPole-v1", num_envs=2)
        >>> policy = Policy(vector.single_observation_space, vector.single_action_space, samplers.create("reinmax"))
        >>> learner = SimpleNamespace(  # one that measures, and learns nothing
        ...     policy=policy,
        ...     start=lambda member: tf.zeros([4, 2]),
        ...     split=lambda kernel: kernel,
        ...     logits=lambda kernel, observation: observation @ kernel,
        ...     choose=lambda logits, mask, seed: policy.head.sample(logits, seed).action,
        ...     learn=lambda kernel, steps, seed, finite: (kernel, {"reward": tf.reduce_mean(steps.reward)}, finite),
        ... )
        >>> options = {"metrics": ["reward"], "temperature": schedules.create(0.5), "jit_compile": False}
        >>> metrics = InGraphLoop(vector, learner, num_steps=8, seed=1, **options).advance(num_turns=2)
        >>> metrics["reward"], metrics["sampler/temperature"]
        (1.0, 0.5)
    """

    max_turns_per_call = MAX_TURNS_PER_CALL

    def __init__(
        self,
        envs: gym.vector.VectorEnv,
        learner: Any,
        *,
        num_steps: int,
        metrics: Sequence[str],
        seed: int,
        temperature: Temperature,
        make_turn: TurnMaker = collect_and_learn,
        audit: OneStepAudit | CriticAudit | None = None,
        population: int = 1,
        jit_compile: bool = True,
        hint: str = "",
    ) -> None:
        env = in_graph_env(envs)
        if env is None:
            raise checks.invalid("an in-graph environment", env=str(envs), hint="Such as rlsample/CartPole-v1.")
        self.learner = members_of(learner, population)
        self.state = self.learner.start(0)
        self.scores = np.full(population, -np.inf)
        self._collector = InGraphCollector(env, envs.num_envs, getattr(envs.unwrapped, "max_episode_steps", None))
        self._turn = make_turn(self.learner, self._collector, num_steps)
        self._head, self._temperature, self._temperature_state = learner.policy.head, temperature, temperature.initial()
        self._audit = audit
        names = (GRADIENT if audit else ()) + (RELAXATION if self._head.sampler.relaxation else ())
        self._measured = dict.fromkeys(names, tf.constant(np.nan, tf.float32))
        self._steps_per_turn = num_steps * envs.num_envs // population
        streams, self._hint = Streams(seed), hint
        self._seed = streams.pair("turns")
        self._running = self._collector.start(tf.constant(streams.pair("first states")))
        self._zeros = dict.fromkeys(metrics, tf.zeros([population] if population > 1 else []))
        self._done = 0
        self._program = tf.function(self._turns, jit_compile=jit_compile, autograph=False)

    @property
    def traces(self) -> int:
        """How often the program was traced."""
        return self._program.experimental_get_tracing_count()

    @property
    def best_state(self) -> Any:
        """The state of the member whose latest episodes went best."""
        return self.state if len(self.scores) == 1 else member_of(self.state, int(np.argmax(self.scores)))

    def advance(self, num_turns: int) -> dict[str, float]:
        """Takes turns; returns the mean of their metrics over turns and members, and how the episodes went.

        Of what the sampler does (`sampler/*`) it is the latest measurement.

        Raises:
            ValueError: NaN or inf in a reward, an observation or a value, from which nothing was learned; or losses or
                weights that are not finite. The state is as it was.
        """
        before = self.state, self._running, self._temperature_state, self._measured
        with checks.told_on_the_host():
            (after, finished, sums, temperature, finite), sound = self._program(
                before, tf.constant(self._done), tf.constant(num_turns)
            )
        raise_for_not_finite(finite)
        metrics = finite_metrics({name: float(np.mean(total)) / num_turns for name, total in sums.items()}, self._hint)
        raise_for_divergence(sound, self._hint)
        self.state, self._running, self._temperature_state, self._measured = after
        self._done += num_turns
        metrics |= {name: float(value) for name, value in self._measured.items()}
        return metrics | {"sampler/temperature": float(temperature)} | self._episodes(finished)

    def snapshot(self) -> Snapshot:
        """What `restore` needs to go on from here, to the bit."""
        parts = {"state": self.state, "running": self._running, "scores": self.scores}
        parts |= {"temperature": self._temperature_state, "measured": self._measured}
        arrays = [arrays_of(name, tree) for name, tree in parts.items()]
        return Snapshot({key: value for part in arrays for key, value in part.items()}, {"turns": self._done})

    def restore(self, snapshot: Snapshot) -> int:
        """Goes on from a snapshot; returns the turns taken before."""
        self.state = tensors_from(snapshot.arrays, "state", self.state)
        self._running = tensors_from(snapshot.arrays, "running", self._running)
        self._temperature_state = tensors_from(snapshot.arrays, "temperature", self._temperature_state)
        self._measured = tensors_from(snapshot.arrays, "measured", self._measured)
        self.scores = tree_from(snapshot.arrays, "scores", self.scores)
        self._done = int(snapshot.numbers["turns"])
        return self._done

    def _episodes(self, finished: Finished) -> dict[str, float]:
        count, length, score = (total.numpy().reshape(len(self.scores), -1).sum(1) for total in finished)
        self.scores = np.where(count > 0, score / np.maximum(count, 1), self.scores)
        metrics = {"charts/unfinished_length": float(np.max(self._running.length))}
        if count.any():
            metrics["charts/episodes"] = float(count.sum())
            metrics["charts/episodic_return"] = float(score.sum() / count.sum())
            metrics["charts/episodic_length"] = float(length.sum() / count.sum())
        if len(self.scores) > 1:
            members = enumerate(self.scores)
            metrics |= {f"members/return_{member:02d}": score for member, score in members if np.isfinite(score)}
        return metrics

    def _turns(self, before: Any, done: tf.Tensor, num_turns: tf.Tensor) -> Any:
        nothing = tf.zeros_like(before[1].score)
        finished, finite = Finished(nothing, nothing, nothing), tf.equal(nothing, 0)

        def once(index: tf.Tensor, carry: Any) -> Any:
            (state, running, temperature_state, measured), finished, sums, _, finite = carry
            # The absolute index decides, so that how turns are grouped into calls changes nothing.
            turn = done + index
            temperature = self._temperature.at(temperature_state, turn * self._steps_per_turn)
            self._head.temperature.assign(temperature)
            seed = ops.fold_in(tf.constant(self._seed), turn)
            state, running, ended, metrics, finite = self._turn(state, running, turn, seed, finite)
            finished, sums = tf.nest.map_structure(add_to, (finished, sums), (ended, metrics))
            if measured:
                temperature_state, measured = tf.cond(
                    tf.equal(turn % MEASURE_EVERY, 0),
                    lambda: self._measure(state, running, temperature_state, ops.fold_in(seed, -1)),
                    lambda: (temperature_state, measured),
                )
            return (state, running, temperature_state, measured), finished, sums, temperature, finite

        outcome = repeat(once, num_turns, (before, finished, self._zeros, tf.zeros([]), finite))
        return outcome, all_finite(outcome[0][0])

    def _measure(self, state: Any, running: Running, temperature_state: Any, seed: tf.Tensor) -> Any:
        """What the sampler does where the environments are now, and the state of the temperature after that."""
        members, seeds = len(self.scores), tf.unstack(ops.split(seed, 2))
        features, mask = self._collector.observe(running.state)
        logits = self.learner.logits(self.learner.split(state), features)
        measured: dict[str, tf.Tensor] = {}
        if self._audit is not None:
            envs = self._collector.num_envs // members
            first = tf.nest.map_structure(lambda leaf: leaf[:envs], running.state)
            policy = self._head.distribution(logits[:envs], None if mask is None else mask[:envs])
            learned = member_of(state, 0) if members > 1 else state
            measured |= self._audit.metrics(learned, policy, self._collector, first, seeds[0])
        measured |= relaxation_metrics(self._head.distribution(logits, mask), seeds[1])
        if self._temperature.metric in measured:
            temperature_state = self._temperature.update(temperature_state, measured)
        return temperature_state, measured
