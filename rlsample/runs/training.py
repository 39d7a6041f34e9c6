"""Training in one call, as the command line does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlsample import checks
from rlsample.rollouts.evaluation import Evaluation, SupportsAct
from rlsample.runs.agents import Agents, make_policy
from rlsample.runs.block import ConfigError
from rlsample.runs.config import RunConfig
from rlsample.runs.finished import FinishedRun, load
from rlsample.runs.loading import load_config, load_resumed
from rlsample.runs.run import Run
from rlsample.runs.run_folder import CONFIG
from rlsample.runs.shipped import known_agents


def train(
    config: RunConfig[Any] | str | Path,
    folder: str | Path,
    *overrides: str,
    agents: Agents | None = None,
    progress: bool = True,
) -> FinishedRun:
    """Trains, saves, evaluates and draws the learning curve.

        run = rlsample.runs.train("cartpole", "runs/mine", "sampler=reinmax")

    Args:
        config: a configuration, or the YAML file of one, or the name of one that comes with the library.
        folder: the run folder; must not hold a run yet.
        *overrides: `key=value` words, laid over a file.
        agents: the agents that may be named; by default as `load`.
        progress: whether to show progress on the standard output.

    Raises:
        ConfigError, RunFolderError, EnvironmentFault: before anything is computed, or with the last checkpoint kept.

    Examples:
        >>> words = ["total_steps=64", "agent.jit_compile=false", "evaluation.episodes=2", "tracking.wandb=disabled"]
        >>> run = runs.train("dqn_cartpole", "runs/mine", *words, progress=False)
        >>> run.step, run.evaluation["episodes"], run.policy.act(np.zeros([8, 4])).shape
        (64, 2, (8,))
    """
    agents = agents or known_agents()
    if not isinstance(config, RunConfig):
        config = load_config(config, overrides, agents=agents)
    elif overrides:
        hint = "Give the file, or what runs.load_config makes of it and the overrides."
        raise ConfigError(str(checks.invalid("overrides for a file alone", overrides=overrides, hint=hint)))
    carry_out(Run(folder, fit(config, agents)[0], progress=progress), agents)
    return load(folder, agents=agents)


def resume(
    folder: str | Path, *, total_steps: int | None = None, agents: Agents | None = None, progress: bool = True
) -> FinishedRun:
    """Goes on with a run from its last checkpoint, to its end or to more steps than were planned; see `train`.

    Examples:
        >>> words = ["total_steps=64", "agent.jit_compile=false", "evaluation.episodes=2", "tracking.wandb=disabled"]
        >>> run = runs.train("dqn_cartpole", "runs/mine", *words, progress=False)
        >>> runs.resume("runs/mine", total_steps=96, progress=False).step
        96
    """
    agents = agents or known_agents()
    words = [] if total_steps is None else [f"total_steps={total_steps}"]
    config = load_resumed(Path(folder) / CONFIG, words, agents=agents)
    carry_out(Run(folder, fit(config, agents)[0], progress=progress, resume=True), agents)
    return load(folder, agents=agents)


def fit(config: RunConfig[Any], agents: Agents) -> tuple[RunConfig[Any], SupportsAct]:
    """Makes the untrained policy, which shows whether agent, network and environment fit together.

    Returns:
        (the configuration with every option of its network decided, the policy).

    Raises:
        ConfigError, EnvironmentFault: as of `agents.make_policy`.
        ConfigError: the network has weights that are no float32, which agents do not train.
    """
    policy = make_policy(agents.module(config.agent.name), config)
    for weight in policy.model.trainable_variables:
        if weight.dtype != "float32":
            hint = "Lower precision is for what layers compute: dtype='mixed_bfloat16'."
            raise ConfigError(str(checks.invalid("float32 weights", weight=weight.path, dtype=weight.dtype, hint=hint)))
    return config.model_copy(update={"network": getattr(policy, "network", config.network)}), policy


def carry_out(run: Run, agents: Agents) -> Evaluation | None:
    """Trains the run's agent, and leaves in the folder what it learned; None if it was asked to stop."""
    agent = agents.module(run.config.agent.name)
    with run:
        return run.finish(agent.train(run.config, run))
