"""Training by learners that learn from rollouts of their own policy, by the quickest loop an environment allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym

from rlsample import checks
from rlsample.rollouts.gymnasium_loop import CollectorMaker, GymnasiumLoop, collector_for
from rlsample.rollouts.in_graph_collector import in_graph_env
from rlsample.rollouts.in_graph_loop import InGraphLoop
from rlsample.rollouts.in_graph_turns import TurnMaker, collect_and_learn
from rlsample.rollouts.loop import Watcher, train_in_turns
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.sampler_metrics import OneStepAudit
from rlsample.schedules import Temperature


def on_policy_loop(
    envs: gym.vector.VectorEnv,
    learner: Any,
    *,
    metrics: Sequence[str],
    make_turn: TurnMaker = collect_and_learn,
    make_collector: CollectorMaker = collector_for,
    audit: OneStepAudit | None = None,
    population: int = 1,
    **options: Any,
) -> InGraphLoop | GymnasiumLoop:
    """The quickest loop that an environment allows; arguments as of `InGraphLoop` and `GymnasiumLoop`.

    Raises:
        ValueError: a population in an environment that is not in-graph.

    Examples:
        >>> from types import SimpleNamespace
        >>> import envs
        >>> from rlsample.rollouts.on_policy import on_policy_loop
        >>> from rlsample.rollouts.policy import Policy
        >>> vectors = [gym.make_vec(id, num_envs=2) for id in ("CartPole-v1", "rlsample/CartPole-v1")]
        >>> seen, done = vectors[0].single_observation_space, vectors[0].single_action_space
        >>> policy = Policy(seen, done, samplers.create("reinmax"))
        >>> learner = SimpleNamespace(policy=policy, start=lambda member: tf.zeros([4, 2]))
        >>> options = {"num_steps": 8, "metrics": [], "seed": 1, "temperature": schedules.create(1.0)}
        >>> [type(on_policy_loop(vector, learner, **options)).__name__ for vector in vectors]
        ['GymnasiumLoop', 'InGraphLoop']
    """
    if in_graph_env(envs) is not None:
        options |= {"metrics": metrics, "make_turn": make_turn, "audit": audit, "population": population}
        return InGraphLoop(envs, learner, **options)
    if population > 1:
        hint = "Such as rlsample/CartPole-v1."
        raise checks.invalid("an in-graph environment for a population", env=str(envs), hint=hint)
    return GymnasiumLoop(envs, learner, make_collector=make_collector, **options)


def train_on_policy(
    envs: gym.vector.VectorEnv,
    learner: Any,
    run: Watcher,
    *,
    num_steps: int,
    num_turns: int,
    updates_per_turn: int,
    metrics: Sequence[str],
    seed: int,
    temperature: Temperature,
    make_turn: TurnMaker = collect_and_learn,
    population: int = 1,
    **options: Any,
) -> Policy:
    """Trains a learner, or a population of it, to the end or until the run is asked to stop.

    Args:
        envs: S * E environments, those of the first member first; closed at the end.
        learner: a `learning.population.Learner` of one network, with a `policy` and `publish(state)`.
        run: what is told how it goes.
        num_steps: T, steps of each environment in a turn.
        num_turns: how many turns there are.
        updates_per_turn: optimizer steps of a member in each.
        metrics: names of what the learner measures.
        seed: of environments and actions.
        temperature: decides the temperature.
        make_turn: what a turn is: `collect_and_learn`, or `play_and_learn` for gradients through the environment.
        population: S, members to train side by side.
        **options: audit, jit_compile, hint: as of `InGraphLoop`; make_collector: as of `GymnasiumLoop`.

    Returns:
        The policy; of a population that of the member whose latest episodes went best.

    Raises:
        ValueError: a population in an environment that is not in-graph; or as of the loops.

    Examples:
        >>> from types import SimpleNamespace
        >>> from rlsample.rollouts.on_policy import train_on_policy
        >>> from rlsample.rollouts.policy import Policy
        >>> from rlsample.runs.shipped import known_agents
        >>> words = ["env.id=CartPole-v1", "total_steps=32", "tracking.wandb=disabled"]
        >>> config = runs.load_config("ppo_cartpole", words, agents=known_agents())
        >>> envs = config.env.make(num_envs=2)
        >>> policy = Policy(envs.single_observation_space, envs.single_action_space, config.sampler)
        >>> def learn(state, steps, seed, finite):  # counts rewards, and learns nothing
        ...     return state + tf.reduce_sum(steps.reward), {"reward": tf.reduce_mean(steps.reward)}, finite
        >>> learner = SimpleNamespace(policy=policy, learn=learn)
        >>> learner.start, learner.publish = (lambda member: tf.zeros([])), (lambda state: policy)
        >>> options = {"metrics": ["reward"], "seed": 1, "temperature": config.temperature, "jit_compile": False}
        >>> with runs.Run("runs/mine", config, progress=False) as run:
        ...     trained = train_on_policy(envs, learner, run, num_steps=8, num_turns=2, updates_per_turn=1, **options)
        >>> trained is policy, run.step, run.update
        (True, 32, 2)
    """
    options |= {"num_steps": num_steps, "seed": seed, "temperature": temperature}
    loop = on_policy_loop(envs, learner, metrics=metrics, make_turn=make_turn, population=population, **options)
    train_in_turns(
        loop,
        run,
        num_turns=num_turns,
        steps_per_turn=num_steps * envs.num_envs // population,
        updates=lambda turns: turns * updates_per_turn,
        policy=lambda: learner.publish(loop.best_state),
    )
    envs.close()
    return learner.publish(loop.best_state)
