"""Training by learners from a replay, by the quickest loop an environment allows."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import tensorflow as tf

from rlsample import checks
from rlsample.learning.n_step import NStep
from rlsample.learning.replay import Replay, size_in_words
from rlsample.learning.sequence_replay import SequenceReplay
from rlsample.rollouts.gymnasium_loop import collector_for
from rlsample.rollouts.in_graph_collector import in_graph_env
from rlsample.rollouts.in_graph_loop import MAX_TURNS_PER_CALL, InGraphLoop
from rlsample.rollouts.loop import Watcher, train_in_turns
from rlsample.rollouts.off_policy.in_graph import UPDATES, WithReplay, replay_and_learn
from rlsample.rollouts.off_policy.in_graph_sequences import WithSequences
from rlsample.rollouts.off_policy.kept_rows import MASKS, replay_capacity
from rlsample.rollouts.off_policy.learner import ReplayLearner
from rlsample.rollouts.off_policy.training import train_off_policy
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.recurrent.recall import Recall
from rlsample.streams import Streams

STEPS_PER_CALL = 1024
"""About so many steps are taken in one call where turns are short."""


class InGraphReplayLoop(InGraphLoop):
    """Rounds of steps and updates in one compiled program, several per call; see `InGraphLoop`.

    Attributes:
        steps_per_turn: environment steps of one member in a round.

    Args:
        envs: S * E environments with an in-graph one behind them, those of the first member first.
        learner: of one network.
        population: S.

    Raises:
        ValueError: rows of more steps than there are before the first update; or as of `InGraphLoop`.

    Examples:
        >>> from agents import dqn
        >>> from rlsample.rollouts.off_policy.from_replay import InGraphReplayLoop
        >>> from rlsample.runs.shipped import known_agents
        >>> words = ["env.id=rlsample/CartPole-v1", "total_steps=1000", "agent.jit_compile=false", "env.num_envs=2"]
        >>> config = runs.load_config("dqn_cartpole", words, agents=known_agents())
        >>> envs = config.env.make()
        >>> learner = dqn.Learner(config, envs.single_observation_space, envs.single_action_space)
        >>> loop = InGraphReplayLoop(envs, learner)
        >>> loop.steps_per_turn, loop.max_turns_per_call
        (32, 32)
    """

    def __init__(self, envs: gym.vector.VectorEnv, learner: ReplayLearner, population: int = 1) -> None:
        config, agent, updates = learner.config, learner.agent, learner.updates
        num_envs, self._learner = envs.num_envs // population, learner
        num_steps = math.ceil(updates.steps_per_round / num_envs)
        self.steps_per_turn = num_steps * num_envs
        before = math.ceil(updates.uniform_steps / self.steps_per_turn) * num_steps
        _check_rows(learner, before)
        env = in_graph_env(envs)
        masked = env is not None and env.action_mask(env.initial(tf.constant([0, 0]), 1)) is not None
        kind = WithReplay if learner.sequences is None else WithSequences
        super().__init__(
            envs,
            kind(learner, max(agent.replay_capacity, self.steps_per_turn), num_envs, masked),
            num_steps=num_steps,
            metrics=(*learner.metrics, UPDATES),
            seed=config.seed,
            temperature=config.temperature,
            make_turn=replay_and_learn(learner, population),
            audit=learner.audit,
            population=population,
            jit_compile=agent.jit_compile,
            hint=learner.hint,
        )
        self.max_turns_per_call = max(MAX_TURNS_PER_CALL, STEPS_PER_CALL // self.steps_per_turn)

    def advance(self, num_turns: int) -> dict[str, float]:
        """See `InGraphLoop.advance`; metrics of updates are means over those there were."""
        metrics = super().advance(num_turns)
        updates, sums = metrics.pop(UPDATES), {name: metrics.pop(name) for name in self._learner.metrics}
        if not updates:
            return metrics
        means = {name: total / updates for name, total in sums.items()}
        return means | self._learner.told(self._done * self.steps_per_turn) | metrics

    def publish(self) -> Policy:
        """The policy to judge and to keep, of the member whose latest episodes went best."""
        return self._learner.publish(self.best_state.learned)


def train_from_replay(config: Any, envs: gym.vector.VectorEnv, learner: ReplayLearner, run: Watcher) -> Policy:
    """Trains a learner, or a population of it, to the end or until the run is asked to stop.

    An environment that can be stepped inside the graph is, with a replay in tensors; unless the learner draws from a
    replay of its own kind, which is on the host. Any other environment is stepped by Python, here or by runners.

    Args:
        config: of the run.
        envs: S * E environments, those of the first member first; closed at the end.
        learner: of one network.
        run: what is told how it goes.

    Returns:
        The policy to keep; of a population that of the member whose latest episodes went best.

    Raises:
        ValueError: a population where Python would step the environments, or rows of more steps than there are before
            the first update.

    Examples:
        >>> from agents import dqn
        >>> from rlsample.rollouts.off_policy.from_replay import train_from_replay
        >>> from rlsample.runs.shipped import known_agents
        >>> words = ["env.id=rlsample/CartPole-v1", "total_steps=64", "agent.jit_compile=false", "env.num_envs=2"]
        >>> words += ["tracking.wandb=disabled"]
        >>> config = runs.load_config("dqn_cartpole", words, agents=known_agents())
        >>> envs = config.env.make()
        >>> learner = dqn.Learner(config, envs.single_observation_space, envs.single_action_space)
        >>> with runs.Run("runs/mine", config, progress=False) as run:
        ...     policy = train_from_replay(config, envs, learner, run)
        >>> policy.act(np.zeros([3, 4])).shape, run.step
        ((3,), 64)
    """
    masks = [name for name in learner.kept if name in MASKS]
    population, replay = getattr(config.agent, "population", 1), learner.replay(replay_capacity(config), masks)
    if in_graph_env(envs) is None or replay is not None:
        if population > 1:
            hint = "Such as rlsample/CartPole-v1, and without priorities."
            raise checks.invalid("an in-graph environment for a population", env=str(envs), hint=hint)
        _check_rows(learner, math.ceil(learner.updates.uniform_steps / envs.num_envs))
        learner.state, factors = learner.start(0), learner.policy.factors
        collector: Any = collector_for(envs, factors, Streams(config.seed).integer("environments"))
        kept, recall = learner.kept, None
        if learner.sequences is not None:
            shape = envs.num_envs, kept["memory"].shape[0]
            recall = learner.recall = Recall(learner, factors, shape, lambda: collector.starts)
            options = {"masks": masks, "first": ["memory"]}
            replay = SequenceReplay(replay_capacity(config), envs.num_envs, learner.sequences.drawn, **options)
            kept |= {"lane": tf.TensorSpec((), tf.int32)}
        return train_off_policy(
            collector,
            learner,
            run,
            kept=kept,
            replay=Replay(replay_capacity(config), masks) if replay is None else replay,
            make_rows=lambda: NStep(learner.num_steps, config.agent.discount) if recall is None else recall,
            seed=config.seed,
            temperature=config.temperature,
        )
    loop, updates = InGraphReplayLoop(envs, learner, population), learner.updates
    steps = loop.steps_per_turn
    run.say(f"Replay: {size_in_words(population * config.agent.replay_capacity, learner.kept)}.")
    train_in_turns(
        loop,
        run,
        num_turns=math.ceil(config.total_steps / steps),
        steps_per_turn=steps,
        updates=lambda turns: max(0, updates.due(turns * steps)),
        policy=loop.publish,
    )
    envs.close()
    return loop.publish()


def _check_rows(learner: ReplayLearner, steps: int) -> None:
    """Refuses rows of more steps than an environment takes before the first update: there might be none by then."""
    if learner.sequences is None and learner.num_steps > steps:
        rule = f"agent.num_steps of at most the {steps} steps of an environment before the first update"
        hint = "More agent.warmup_steps (a tenth of total_steps at most) or fewer env.num_envs make it more."
        raise checks.invalid(rule, num_steps=learner.num_steps, hint=hint)
