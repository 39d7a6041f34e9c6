"""Training by learners that learn from a replay of what was seen, in rounds between steps of the environments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rlsample.learning.n_step import NStep
from rlsample.learning.replay import Replay, size_in_words
from rlsample.rollouts.collecting import Collector, TakesFragments
from rlsample.rollouts.environments.faults import EnvironmentFault
from rlsample.rollouts.loop import Watcher
from rlsample.rollouts.off_policy.distant_loop import DistantLoop
from rlsample.rollouts.off_policy.kept_rows import steps_taken
from rlsample.rollouts.off_policy.loop import OffPolicyLearner, OffPolicyLoop, RowMaker
from rlsample.rollouts.policy import Policy
from rlsample.schedules import Temperature


def train_off_policy(
    collector: Collector,
    learner: OffPolicyLearner,
    run: Watcher,
    *,
    kept: Mapping[str, Any],
    replay: Replay,
    make_rows: Callable[[], RowMaker] = NStep,
    seed: int,
    temperature: Temperature,
) -> Policy:
    """Trains to the end or until the run is asked to stop; arguments as of `OffPolicyLoop`.

    Actions are uniform before the first updates. A run that is resumed goes on where its last checkpoint was saved.
    Where an environment fails, what was learned until then is saved.

    Args:
        collector: steps the environments, or has them stepped by runners; they are closed at the end.
        learner: learns between the rounds.
        run: what is told how it goes.
        kept: what the replay keeps of the rows: trees of `tf.TensorSpec` by name.
        replay: keeps them.
        make_rows: makes what makes rows of steps, such as an `NStep`; by default a row is a step.
        seed: of the run.
        temperature: decides the temperature.

    Returns:
        The learner's averaged policy.

    Examples:
        >>> from agents import dqn
        >>> from rlsample.learning.replay import Replay
        >>> from rlsample.rollouts.gymnasium_collector import GymnasiumCollector
        >>> from rlsample.rollouts.off_policy.training import train_off_policy
        >>> from rlsample.runs.shipped import known_agents
        >>> words = ["total_steps=100", "agent.jit_compile=false", "tracking.wandb=disabled"]
        >>> config = runs.load_config("dqn_cartpole", words, agents=known_agents())
        >>> envs = config.env.make(num_envs=2)
        >>> learner = dqn.Learner(config, envs.single_observation_space, envs.single_action_space)
        >>> learner.state = learner.start(0)
        >>> collector = GymnasiumCollector(envs, learner.policy.factors, seed=0)
        >>> options = {"kept": learner.kept, "replay": Replay(1000), "temperature": config.temperature}
        >>> with runs.Run("runs/mine", config, progress=False) as run:
        ...     policy = train_off_policy(collector, learner, run, seed=1, **options)
        >>> policy.act(np.zeros([3, 4])).shape, run.step
        ((3,), 100)
    """
    envs = collector.envs
    options: dict[str, Any] = {"kept": kept, "replay": replay, "seed": seed, "temperature": temperature}
    loop: OffPolicyLoop
    if isinstance(collector, TakesFragments):
        loop = DistantLoop(collector, learner, make_rows=make_rows, **options)
    else:
        loop = OffPolicyLoop(collector, learner, n_step=make_rows(), **options)
    total_steps = learner.updates.total_steps
    run.plan(steps_taken(total_steps, loop.steps_per_take))
    run.say(f"Replay: {size_in_words(replay.capacity, kept)}.")
    if run.resumed is not None:
        loop.restore(run.resumed)
        if run.evaluation_due(loop.step):  # A stop has interrupted it.
            run.evaluate_when_due(learner.publish_averaged(), loop.step)
    while loop.step < total_steps:
        try:
            metrics = loop.advance(run)
        except EnvironmentFault:
            run.save(learner.publish_averaged(), loop.snapshot(), loop.step)
            raise
        if metrics is None:
            break
        run.log(loop.step, metrics, learner.update)
        if run.evaluation_due(loop.step):
            run.evaluate_when_due(learner.publish_averaged(), loop.step)
        if run.save_due():
            run.save(learner.publish_averaged(), loop.snapshot())
    run.save(learner.publish_averaged(), loop.snapshot(), loop.step)
    envs.close()
    return learner.publish_averaged()
