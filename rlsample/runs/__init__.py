"""What turns a policy into a run: configuration, tracking, evaluation, weights on disk.

    from rlsample import runs
    config = runs.load_config("agents/configs/cartpole.yaml", ["seed=3"], agents={"relaxed_actor_critic": Config})
    with runs.Run("runs/mine", config) as run:
        run.finish(train(config, run))

Importing it loads neither wandb nor matplotlib nor rich.
"""

from rlsample.runs.block import ConfigError
from rlsample.runs.config import (
    AgentConfig,
    EvaluationConfig,
    PerMember,
    PopulationConfig,
    RunConfig,
    TrackingConfig,
)
from rlsample.runs.env_config import EnvConfig
from rlsample.runs.evaluating import evaluate
from rlsample.runs.loading import config_from_dict, config_to_dict, config_to_yaml, load_config
from rlsample.runs.run import Run, RunFolderError
from rlsample.runs.tracking import read_metrics

__all__ = [
    "AgentConfig",
    "ConfigError",
    "EnvConfig",
    "EvaluationConfig",
    "PerMember",
    "PopulationConfig",
    "Run",
    "RunConfig",
    "RunFolderError",
    "TrackingConfig",
    "config_from_dict",
    "config_to_dict",
    "config_to_yaml",
    "evaluate",
    "load_config",
    "read_metrics",
]
