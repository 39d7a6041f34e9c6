"""The agents that a configuration can name: modules with `Config`, `make_policy` and `train`.

    Config        a subclass of AgentConfig, with a default for `name`
    make_policy   (config, observation_space, action_space) -> policy with fresh weights; refuses what does not fit
    train         (config, run) -> policy; logs, evaluates when due, and returns soon after `run.stopping` became true

They come from a package (its modules with a `class Config`), from whoever calls `register_agent`, or from installed
packages through the entry-point group `rlsample.agents`. A module is imported when its name is looked up, not before.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import gymnasium

from rlsample import checks
from rlsample.rollouts.environments.faults import EnvironmentFault, failure
from rlsample.runs.block import ConfigError
from rlsample.runs.config import AgentConfig, RunConfig
from rlsample.runs.describe import FieldText, describe_fields
from rlsample.runs.scale_config import check_environments
from rlsample.runs.source_fields import read_fields

if TYPE_CHECKING:
    from rlsample.rollouts.evaluation import SupportsAct

GROUP = "rlsample.agents"
CONTRACT = ("Config", "make_policy", "train")

_registered: dict[str, ModuleType] = {}

imported: list[str] = []
"""The modules that `import_modules` has imported, for other processes to import too."""


class Agents(Mapping[str, type[AgentConfig]]):
    """Name -> the agent's hyper-parameters, for every agent there is.

    Args:
        package: whose modules are agents, by their names; None for registered and installed ones alone.
    """

    def __init__(self, package: ModuleType | None = None) -> None:
        self._package = package

    def module(self, name: str) -> ModuleType:
        """The agent's module; KeyError if there is none.

        Raises:
            ConfigError: it cannot be imported, or is no agent.
        """
        if self._package is not None and name in self._packaged():
            return check_agent(importlib.import_module(f"{self._package.__name__}.{name}"))
        if name in _registered:
            return _registered[name]
        point = _installed()[name]
        try:
            return check_agent(point.load())
        except (ImportError, AttributeError) as error:
            owner = point.dist.name if point.dist else point.value
            raise ConfigError(f"The agent {name!r} of the package {owner!r} cannot be imported: {error}") from error

    def peek(self, name: str) -> list[FieldText] | None:
        """The agent's hyper-parameters in words, without importing it; None where only the import tells them."""
        if name in self._packaged():
            return read_fields(self._packaged()[name], "agent.")
        return list(describe_fields(_registered[name].Config, "agent.")) if name in _registered else None

    def _packaged(self) -> dict[str, Path]:
        if self._package is None:
            return {}
        files = Path(self._package.__path__[0]).glob("*.py")
        # What has no `Config` is a program beside the agents.
        return {file.stem: file for file in files if "\nclass Config(" in file.read_text(encoding="utf-8")}

    def __getitem__(self, name: str) -> type[AgentConfig]:
        return self.module(name).Config

    def __contains__(self, name: object) -> bool:
        return name in set(self)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._packaged(), *_registered, *_installed()}))

    def __len__(self) -> int:
        return len(list(iter(self)))


def register_agent(module: ModuleType) -> ModuleType:
    """Adds an agent under the default of its `Config.name`; returns the module.

    Raises:
        ConfigError: it is no agent, or the name is taken by another one.
    """
    name = check_agent(module).Config.model_fields["name"].default
    if not isinstance(name, str):
        raise ConfigError(str(checks.invalid("Config.name to have a default", module=module.__name__)))
    if _registered.get(name, module) is not module:
        raise ConfigError(str(checks.invalid("the name of an agent not to be taken", name=name)))
    _registered[name] = module
    return module


def import_modules(names: list[str]) -> None:
    """Imports modules for what they register, or are: environments, samplers, agents.

    Raises:
        ConfigError: one cannot be imported.
    """
    for name in names:
        try:
            module = importlib.import_module(name)
        except Exception as error:  # Whatever it does when it is imported.
            said = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
            raise ConfigError(f"--import {name}: {said}") from error
        imported.append(name)
        if all(hasattr(module, part) for part in CONTRACT):
            register_agent(module)


def check_agent(module: ModuleType) -> ModuleType:
    """Returns the module if it has what an agent needs.

    Raises:
        ConfigError: it lacks something; says what.
    """
    missing = [part for part in CONTRACT if not callable(getattr(module, part, None))]
    hint = f"An agent's module has {', '.join(CONTRACT)}."
    if missing:
        raise ConfigError(str(checks.invalid("an agent", module=module.__name__, missing=missing, hint=hint)))
    if not (isinstance(module.Config, type) and issubclass(module.Config, AgentConfig)):
        rule = "Config to be a subclass of rlsample.runs.AgentConfig"
        raise ConfigError(str(checks.invalid(rule, module=module.__name__, Config=module.Config)))
    return module


def make_policy(agent: ModuleType, config: RunConfig) -> SupportsAct:
    """Builds the untrained policy of a configuration, which shows whether agent and environment fit together.

    Raises:
        ConfigError: the environment cannot be made, or the agent does not support its spaces.
        EnvironmentFault: an error of the environment's own.
    """
    try:
        vector = config.env.make(num_envs=1)
    except (gymnasium.error.Error, TypeError, ValueError) as error:
        raise ConfigError(f"env: {error}") from error
    except EnvironmentFault:
        raise
    except Exception as error:
        raise EnvironmentFault(failure(config.env.id, "while it was made", error)) from error
    try:
        check_environments(config.scale, config.env.id, vector)
        policy = agent.make_policy(config, vector.single_observation_space, vector.single_action_space)
        if config.scale.spread:
            from rlsample.rollouts.in_numpy.policy import check_for_runners

            check_for_runners(policy)
        several = config.scale.spread or config.scale.devices > 1
        if several and policy.network.state_size and not config.agent.scales_memory:
            rule = "a network without a memory, for runners or several devices of this agent"
            raise checks.invalid(rule, network=policy.network.name, hint="The agent ppo can use one.")
        return policy
    except ValueError as error:
        raise ConfigError(f"{config.agent.name} in {config.env.id}: {error}") from error
    finally:
        vector.close()


def _installed() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}
