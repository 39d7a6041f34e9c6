"""Turns through Gymnasium: environments stepped by Python, learning in a compiled program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from rlsample import checks, ops
from rlsample.rollouts.collecting import CollectedElsewhere, Collector
from rlsample.rollouts.gymnasium_collector import GymnasiumCollector
from rlsample.rollouts.in_numpy.actor import NumpyAct, NumpyActor
from rlsample.rollouts.in_numpy.policy import network_of, quickest_actor, rollout_actor
from rlsample.rollouts.loop import all_finite, finite_metrics, raise_for_divergence, raise_for_not_finite
from rlsample.rollouts.recurrent.policy import RecurrentPolicy
from rlsample.rollouts.sampler_metrics import relaxation_metrics
from rlsample.rollouts.snapshot import Snapshot, arrays_of, tensors_from
from rlsample.schedules import Temperature
from rlsample.spaces import Factors
from rlsample.streams import Streams

CollectorMaker = Callable[[gym.vector.VectorEnv, Factors, int], Collector]


def collector_for(envs: gym.vector.VectorEnv, factors: Factors, seed: int) -> Collector:
    """What collects from an environment: what it brings itself, or a `GymnasiumCollector`.

    Examples:
        >>> from rlsample.rollouts.gymnasium_loop import collector_for
        >>> envs = gym.make_vec("CartPole-v1", num_envs=2)
        >>> type(collector_for(envs, spaces.factorise(envs.single_action_space), seed=1)).__name__
        'GymnasiumCollector'
    """
    return (
        envs.collector(factors, seed)
        if isinstance(envs, CollectedElsewhere)
        else GymnasiumCollector(envs, factors, seed)
    )


class GymnasiumLoop:
    """Collects through Gymnasium, and learns in a compiled program, one turn per call.

    Attributes:
        state: what was learned so far, as the learner gives it.

    Args:
        envs: a vector environment.
        learner: of one network; its `publish` copies a state into its `policy`, which acts.
        num_steps: T, steps of each environment in a turn.
        seed: of the run, from which those of environments and actions derive.
        temperature: decides the temperature.
        jit_compile: whether XLA compiles the program.
        hint: what to do when losses are not finite.
        make_collector: (envs, factors, seed) -> what steps them.

    Examples:
        >>> from types import SimpleNamespace
        >>> from rlsample.rollouts.gymnasium_loop import GymnasiumLoop
        >>> from rlsample.rollouts.policy import Policy
        >>> envs = gym.make_vec("CartPole-v1", num_envs=2)
        >>> policy = Policy(envs.single_observation_space, envs.single_action_space, samplers.create("reinmax"))
        >>> def learn(state, steps, seed, finite):  # counts rewards, and learns nothing
        ...     return state + tf.reduce_sum(steps.reward), {"reward": tf.reduce_mean(steps.reward)}, finite
        >>> learner = SimpleNamespace(policy=policy, learn=learn)
        >>> learner.start, learner.publish = (lambda member: tf.zeros([])), (lambda state: policy)
        >>> options = {"seed": 1, "temperature": schedules.create(0.5), "jit_compile": False}
        >>> loop = GymnasiumLoop(envs, learner, num_steps=8, **options)
        >>> loop.advance()["sampler/temperature"], float(loop.state)
        (0.5, 16.0)
    """

    max_turns_per_call = 1

    def __init__(
        self,
        envs: gym.vector.VectorEnv,
        learner: Any,
        *,
        num_steps: int,
        seed: int,
        temperature: Temperature,
        jit_compile: bool = True,
        hint: str = "",
        make_collector: CollectorMaker = collector_for,
    ) -> None:
        self.learner = learner
        self.state = learner.start(0)
        self._streams = Streams(seed)
        self.collector: Collector = make_collector(envs, learner.policy.factors, self._streams.integer("environments"))
        self._temperature, self._temperature_state = temperature, temperature.initial()
        self._num_steps, self._hint = num_steps, hint
        self._done = 0
        self._program = tf.function(self._learn, jit_compile=jit_compile, autograph=False)
        self._measure = tf.function(self._measured, autograph=False)

    @property
    def traces(self) -> int:
        """How often the program was traced."""
        return self._program.experimental_get_tracing_count()

    @property
    def best_state(self) -> Any:
        """The state: there is one member."""
        return self.state

    def advance(self, num_turns: int = 1) -> dict[str, float]:
        """Takes turns; errors as of `InGraphLoop.advance`."""
        metrics: dict[str, float] = {}
        for _ in range(num_turns):
            metrics = self._turn()
        return metrics | self.collector.pop_episodes()

    def snapshot(self) -> Snapshot:
        """What `restore` needs to go on from here."""
        collector = self.collector.snapshot()
        arrays = arrays_of("state", self.state) | arrays_of("temperature", self._temperature_state)
        return Snapshot(arrays | dict(collector.arrays), {"turns": self._done})

    def restore(self, snapshot: Snapshot) -> int:
        """Goes on from a snapshot; returns the turns taken before."""
        self.state = tensors_from(snapshot.arrays, "state", self.state)
        self._temperature_state = tensors_from(snapshot.arrays, "temperature", self._temperature_state)
        self._done = int(snapshot.numbers["turns"])
        goes_on = self.collector.restore(snapshot, self._streams.integer("environments", self._done))
        if not goes_on and isinstance(self.learner.policy, RecurrentPolicy):
            self.state = self.learner.forget(self.state)
        return self._done

    def _turn(self) -> dict[str, float]:
        act_seed, learn_seed = (self._streams.pair(purpose, self._done) for purpose in ("actions", "updates"))
        step = self._done * self._num_steps * self.collector.envs.num_envs
        temperature = self._temperature.at(self._temperature_state, tf.constant(step))
        self.learner.policy.head.temperature.assign(temperature)
        self.learner.publish(self.state)
        act = self._actor(act_seed)
        transitions = self.collector.collect(act, self._num_steps)
        everywhere = tf.ones(transitions.valid.shape[1:], tf.bool)
        tensors = tf.nest.map_structure(tf.constant, transitions)
        with checks.told_on_the_host():
            state, metrics, finite, sound = self._program(self.state, tensors, tf.constant(learn_seed), everywhere)
        raise_for_not_finite(finite)
        values = finite_metrics({name: float(value) for name, value in metrics.items()}, self._hint)
        raise_for_divergence(sound, self._hint)
        self.state = state
        self._done += 1
        measured = self._measure(*self._seen(act, tensors), tf.constant(learn_seed))
        if self._temperature.metric in measured:
            self._temperature_state = self._temperature.update(self._temperature_state, measured)
        values |= {name: float(value) for name, value in measured.items()}
        return values | {"sampler/temperature": float(temperature)}

    def _actor(self, seed: np.ndarray) -> NumpyAct:
        policy, collector = self.learner.policy, self.collector
        if not isinstance(policy, RecurrentPolicy):
            return quickest_actor(policy, seed)
        if isinstance(collector, GymnasiumCollector):
            return rollout_actor(policy, self.learner.memory(self.state).numpy(), lambda: collector.starts, seed)
        return NumpyActor(network_of(policy), seed, beside=self.learner.beside(self.state))

    def _seen(self, act: NumpyAct, steps: Any) -> tuple[Any, Any]:
        """What the policy acted on at one of the steps of each environment, the last if that is known; and the mask."""
        before = getattr(steps, "memory", ())
        index = 0 if before else -1
        observation, mask = tf.nest.map_structure(lambda part: part[index], (steps.observation, steps.mask))
        if before:
            return (observation, before[0][0]), mask
        # In the steps an observation is as the policy reads it, which for several agents is not as they see it.
        return (observation, act.seen[1]) if hasattr(act, "seen") else observation, mask

    def _learn(self, state: Any, *arguments: Any) -> tuple[Any, dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        state, metrics, finite = self.learner.learn(state, *arguments)
        return state, metrics, finite, all_finite(state)

    def _measured(self, observation: Any, mask: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """What the sampler does where the environments were last, by the policy that acted there."""
        policy = self.learner.policy
        return relaxation_metrics(policy.head.distribution(policy.logits(observation), mask), ops.fold_in(seed, -1))
