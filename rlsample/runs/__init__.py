"""What turns a policy into a run: configuration, tracking, evaluation, weights on disk.

    from rlsample import runs
    config = runs.load_config("agents/configs/cartpole.yaml", ["seed=3"], agents={"relaxed_actor_critic": Config})
    with runs.Run("runs/mine", config) as run:
        run.finish(train(config, run))

Importing it loads neither wandb nor matplotlib nor rich, and TensorFlow only with the first name that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlsample import lazy

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

if TYPE_CHECKING:
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
else:
    _NAMES = {
        "block": ["ConfigError"],
        "config": [
            "AgentConfig",
            "CheckpointConfig",
            "EvaluationConfig",
            "PerMember",
            "PopulationConfig",
            "RunConfig",
            "TrackingConfig",
        ],
        "env_config": ["EnvConfig"],
        "evaluating": ["evaluate"],
        "finished": ["FinishedRun", "load"],
        "loading": ["config_from_dict", "config_to_dict", "config_to_yaml", "load_config", "load_resumed"],
        "run": ["Run"],
        "run_folder": ["RunFolderError"],
        "tracking": ["read_metrics"],
        "training": ["resume", "train"],
    }
    __getattr__, __dir__ = lazy.attach(__name__, _NAMES)
