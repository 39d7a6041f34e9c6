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
    CheckpointConfig,
    EvaluationConfig,
    PerMember,
    PopulationConfig,
    RunConfig,
    TrackingConfig,
)
from rlsample.runs.env_config import EnvConfig
from rlsample.runs.evaluating import evaluate
from rlsample.runs.finished import FinishedRun, load
from rlsample.runs.loading import config_from_dict, config_to_dict, config_to_yaml, load_config, load_resumed
from rlsample.runs.run import Run
from rlsample.runs.run_folder import RunFolderError
from rlsample.runs.tracking import read_metrics
from rlsample.runs.training import resume, train

__all__ = [
    "AgentConfig",
    "CheckpointConfig",
    "ConfigError",
    "EnvConfig",
    "EvaluationConfig",
    "FinishedRun",
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
    "load",
    "load_config",
    "load_resumed",
    "read_metrics",
    "resume",
    "train",
]
