"""What a configuration can name: the agents in the folder `agents`, and the environments of `envs`, registered here."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import gymnasium

import agents
import envs  # noqa: F401 (registers its environments)
from rlsample.rollouts.evaluation import SupportsAct
from rlsample.runs import AgentConfig, ConfigError, RunConfig


class AgentConfigs(Mapping[str, type[AgentConfig]]):
    """Name -> the agent's hyper-parameters. A module is imported when its name is looked up, and only then."""

    def __init__(self, package: ModuleType = agents) -> None:
        self._package = package.__name__
        files = Path(package.__path__[0]).glob("*.py")
        self._names = sorted(file.stem for file in files if not file.stem.startswith("_"))

    def module(self, name: str) -> ModuleType:
        """Returns the module, which holds `Config`, `train` and `make_policy`; KeyError if there is none."""
        if name not in self._names:
            raise KeyError(name)
        return importlib.import_module(f"{self._package}.{name}")

    def __getitem__(self, name: str) -> type[AgentConfig]:
        return self.module(name).Config

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def make_policy(agent: ModuleType, config: RunConfig) -> SupportsAct:
    """Builds the untrained policy of a configuration, which shows whether agent and environment fit together.

    Raises:
        ConfigError: the environment cannot be made, or the agent does not support its spaces.
    """
    try:
        vector = config.env.make(num_envs=1)
    except (gymnasium.error.Error, TypeError, ValueError) as error:
        raise ConfigError(f"env: {error}") from error
    try:
        return agent.make_policy(config, vector.single_observation_space, vector.single_action_space)
    except ValueError as error:
        raise ConfigError(f"{config.agent.name} in {config.env.id}: {error}") from error
    finally:
        vector.close()


def import_modules(names: list[str]) -> None:
    """Imports modules for what they register: environments, samplers. Only the command line names them."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(f"--import {name}: {error}") from error
