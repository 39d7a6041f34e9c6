"""A run that was made before, opened to use what it learned.

run = rlsample.runs.load("runs/mine")
actions = run.policy.act(observations)
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from rlsample import checks
from rlsample.runs import checkpoint
from rlsample.runs.agents import Agents, make_policy
from rlsample.runs.block import ConfigError
from rlsample.runs.config import RunConfig
from rlsample.runs.loading import load_config
from rlsample.runs.run_folder import BEST, CHECKPOINT, CONFIG, EVALUATION, METRICS
from rlsample.runs.shipped import known_agents
from rlsample.runs.tracking import read_evaluation, read_metrics


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """What a run left in its folder.

    Attributes:
        folder: where it is.
        config: its configuration.
        policy: what it learned; `policy.act(observations, mask=None, seed=None)`.
        step: environment steps that the policy had learned from.
        metrics: columns by name, float `[n]` each, one place per record; NaN where a record lacks a metric.
        evaluation: what `evaluation.json` says; None if the run is not finished.

    Examples:
        >>> from agents import ppo
        >>> from rlsample.runs.shipped import known_agents
        >>> words = ["tracking.wandb=disabled", "evaluation.episodes=2"]
        >>> config, env = runs.load_config("ppo_cartpole", words, agents=known_agents()), gym.make("CartPole-v1")
        >>> with runs.Run("runs/mine", config, progress=False) as run:
        ...     run.log(8, {"losses/policy": 0.5})
        ...     outcome = run.finish(ppo.make_policy(config, env.observation_space, env.action_space))  # untrained
        >>> run = runs.load("runs/mine")
        >>> run.step, run.metrics["losses/policy"], run.evaluation["episodes"]
        (8, array([0.5, nan]), 2)
    """

    folder: Path
    config: RunConfig[Any]
    policy: Any
    step: int
    metrics: dict[str, np.ndarray]
    evaluation: dict[str, float] | None


def load(folder: str | Path, *, best: bool = False, agents: Agents | None = None) -> FinishedRun:
    """Opens a run folder. Modules that register its environment or agent must have been imported.

    Args:
        folder: the run folder.
        best: whether to take the policy that did best in the evaluations under way, not the latest one.
        agents: the agents that may be named; by default those that come with the library, registered and
            installed ones.

    Raises:
        ConfigError: there is no run in it, or its configuration cannot be used here.
        CheckpointError: its weights are absent or damaged.

    Examples:
        >>> from agents import ppo
        >>> from rlsample.runs.shipped import known_agents
        >>> words = ["tracking.wandb=disabled", "evaluation.episodes=2"]
        >>> config, env = runs.load_config("ppo_cartpole", words, agents=known_agents()), gym.make("CartPole-v1")
        >>> with runs.Run("runs/mine", config, progress=False) as run:
        ...     outcome = run.finish(ppo.make_policy(config, env.observation_space, env.action_space))  # untrained
        >>> runs.load("runs/mine").policy.act(np.zeros([8, 4])).shape
        (8,)
    """
    folder, agents = Path(folder), agents or known_agents()
    if not (folder / CONFIG).is_file():
        raise ConfigError(str(checks.invalid("the folder of a run", folder=str(folder))))
    config = load_config(folder / CONFIG, agents=agents, inherit=False)
    policy = make_policy(agents.module(config.agent.name), config)
    weights = folder / CHECKPOINT / BEST if best else folder / CHECKPOINT
    step = checkpoint.load(weights, model=policy.model)
    records = read_metrics(folder / METRICS) if (folder / METRICS).exists() else []
    evaluation = read_evaluation(folder / EVALUATION)
    return FinishedRun(folder, config, policy, step, _columns(records), evaluation)


def _columns(records: list[dict[str, float]]) -> dict[str, np.ndarray]:
    names = dict.fromkeys(name for record in records for name in record)
    return {name: np.array([record.get(name, np.nan) for record in records]) for name in names}
