"""What turns a policy into a run: configuration, tracking, evaluation, weights on disk.

    from rlsample.runs import Run, load
    settings = load("agents/configs/cartpole.yaml", ["seed=3"], agents={"relaxed_actor_critic": Config})
    with Run("runs/mine", settings) as run:
        policy = train(settings, run)
        run.save(policy)
        run.evaluate(policy)

Importing it loads neither wandb nor matplotlib nor rich.
"""

from rlsample.runs.config import (
    AgentConfig,
    ConfigError,
    EnvConfig,
    EvaluationConfig,
    RunConfig,
    TrackingConfig,
    from_dict,
    load,
    to_dict,
    to_yaml,
)
from rlsample.rollouts.evaluation import Evaluation, Policy
from rlsample.runs.run import Run, RunFolderError, evaluate
from rlsample.runs.tracking import read_metrics

__all__ = [
    "AgentConfig",
    "ConfigError",
    "EnvConfig",
    "Evaluation",
    "EvaluationConfig",
    "Policy",
    "Run",
    "RunConfig",
    "RunFolderError",
    "TrackingConfig",
    "evaluate",
    "from_dict",
    "load",
    "read_metrics",
    "to_dict",
    "to_yaml",
]
