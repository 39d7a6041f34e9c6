"""Configurations from YAML files, `key=value` words and plain data, and back; every problem told at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import pydantic

from rlsample import checks
from rlsample.runs import yaml_files
from rlsample.runs.block import Block, ConfigError
from rlsample.runs.config import WITHOUT_TENSORFLOW, AgentConfig, RunConfig
from rlsample.runs.shipped import find_config

if TYPE_CHECKING:
    from rlsample.runs.agents import Agents

AnyBlock = TypeVar("AnyBlock", bound=Block)


def load_config(
    path: str | Path, overrides: Iterable[str] = (), *, agents: Mapping[str, type[AgentConfig]], inherit: bool = True
) -> RunConfig:
    """Reads a configuration.

    Args:
        path: a YAML file, or the name of a configuration that comes with the library, such as "cartpole"; its `base:`
            names a file to inherit from.
        overrides: `key=value` or `block.key=value` words, laid over the file. A word for a whole block
            (`sampler=reinmax`) replaces it, one for a key of a block (`sampler.num_samples=10`) edits it. Another
            environment (`env=Acrobot-v1`) keeps the rest of its block but `kwargs`.
        agents: the hyper-parameters of each agent that may be named.
        inherit: whether `base:` is followed. Turn it off for files that others wrote.

    Returns:
        The configuration, complete and validated.

    Raises:
        ConfigError: anything is wrong with the file, the words or what they say; each problem is one line that begins
            with the dotted name of its place.

    Examples:
        >>> from rlsample.runs.shipped import known_agents
        >>> words = ["sampler={name: gumbel_rao, num_samples: 20}", "seed=3"]
        >>> config = runs.load_config("cartpole", words, agents=known_agents())
        >>> config.sampler, config.seed
        (GumbelRao(num_samples=20), 3)
    """
    return config_from_dict(_read(path, overrides, inherit), agents=agents, source=str(path))


def check_config(path: str | Path, overrides: Iterable[str] = (), *, agents: Agents, inherit: bool = True) -> RunConfig:
    """Tells what is wrong with a configuration as far as that can be known without TensorFlow; arguments as there.

    That is all but the values of agent, network, sampler and temperature. A command calls it before `load_config`, so
    that a word that was mistyped is told at once and not after the seconds that TensorFlow takes to load.

    Returns:
        The configuration, without its agent, and with sampler and temperature as they were written.

    Raises:
        ConfigError: as `load_config`.
    """
    data, problems = _read(path, overrides, inherit), []
    if "agent" in data:
        problems += _unknown_keys(data["agent"], agents)
        data["agent"] = AgentConfig(name="unknown")
    config = _validated(RunConfig, data, "", problems, context={WITHOUT_TENSORFLOW: True})
    _raise_for(problems, str(path))
    return config


def load_resumed(
    path: str | Path, overrides: Iterable[str] = (), *, agents: Mapping[str, type[AgentConfig]]
) -> RunConfig:
    """Reads the configuration of a run that is to go on; arguments as of `load_config`.

    Raises:
        ConfigError: as `load_config`; or anything but `total_steps` is to change, or that is lowered.

    Examples:
        >>> from rlsample.runs.shipped import known_agents
        >>> config = runs.load_config("cartpole", agents=known_agents())
        >>> with open("saved.yaml", "w") as file:
        ...     length = file.write(runs.config_to_yaml(config))
        >>> runs.load_resumed("saved.yaml", ["total_steps=60000"], agents=known_agents()).total_steps
        60000
    """
    saved = load_config(path, agents=agents, inherit=False)
    config = load_config(path, overrides, agents=agents, inherit=False)
    changes = differences(config_to_dict(config), config_to_dict(saved))
    refused = [f"{name}={now!r} (it was {was!r})" for name, (now, was) in changes.items() if name != "total_steps"]
    if refused:
        rule = "Expected a resumed run to keep its configuration, all but total_steps."
        raise ConfigError(f"{rule} Received: {', '.join(refused)}. Begin another run to change more.")
    if config.total_steps < saved.total_steps:
        rule = f"total_steps not to be lowered below {saved.total_steps} when a run is resumed"
        raise ConfigError(str(checks.invalid(rule, total_steps=config.total_steps)))
    return config


def load_block(model: type[AnyBlock], path: str | Path, overrides: Iterable[str] = ()) -> AnyBlock:
    """Reads a file that is one block of its own, such as the ranges of a search.

    Args:
        model: what the file says.
        path: a YAML file; its `base:` names a file to inherit from.
        overrides: `key=value` words, laid over the file.

    Raises:
        ConfigError: as `load_config`.
    """
    problems: list[str] = []
    block = _validated(model, _read(path, overrides, inherit=True), "", problems)
    _raise_for(problems, str(path))
    return block


def differences(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """The places, by dotted names, where two configurations as plain data differ, with both values."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in dict.fromkeys([*one, *other]):
        here, there = one.get(key), other.get(key)
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            found |= differences(here, there, prefix=f"{prefix}{key}.")
        elif here != there:
            found[f"{prefix}{key}"] = here, there
    return found


def config_from_dict(
    data: Mapping[str, Any], *, agents: Mapping[str, type[AgentConfig]], source: str = "The configuration"
) -> RunConfig:
    """Builds a configuration from plain data; arguments and errors as in `load_config`.

    Examples:
        >>> from rlsample.runs.shipped import known_agents
        >>> data = {"agent": "dqn", "env": {"id": "CartPole-v1"}, "total_steps": 10_000, "network": "mlp"}
        >>> runs.config_from_dict(data, agents=known_agents()).agent.double_q
        True
    """
    data = yaml_files.merge(data, {})
    problems: list[str] = []
    if "agent" in data:
        data["agent"] = _agent(data["agent"], agents, problems)
    config = _validated(RunConfig, data, "", problems)
    _raise_for(problems, source)
    return config


def config_to_dict(config: RunConfig) -> dict[str, Any]:
    """Returns the resolved configuration as plain data; `config_from_dict` of it equals `config`.

    Examples:
        >>> from rlsample.runs.shipped import known_agents
        >>> config = runs.load_config("cartpole", agents=known_agents())
        >>> data = runs.config_to_dict(config)
        >>> data["temperature"], runs.config_from_dict(data, agents=known_agents()) == config
        ({'name': 'exponential', 'start': 1.0, 'end': 0.1, 'steps': 30000}, True)
    """
    return config.model_dump(mode="json")


def config_to_yaml(config: RunConfig) -> str:
    """Returns the resolved configuration as YAML; `load_config` of it equals `config`.

    Examples:
        >>> from rlsample.runs.shipped import known_agents
        >>> config = runs.load_config("cartpole", agents=known_agents())
        >>> [line for line in runs.config_to_yaml(config).splitlines() if "seed" in line or "total" in line]
        ['total_steps: 30000', 'seed: 1']
    """
    return yaml_files.dump(config_to_dict(config))


def _read(path: str | Path, overrides: Iterable[str], inherit: bool) -> dict[str, Any]:
    file = find_config(path) if inherit else Path(path)
    try:
        return yaml_files.override(yaml_files.read(file, inherit=inherit), overrides)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _raise_for(problems: list[str], source: str) -> None:
    if problems:
        raise ConfigError("\n  ".join([f"{source} cannot be used:", *problems]))


def _unknown_keys(block: Any, agents: Agents) -> list[str]:
    """The problems of the agent's block that its source shows: another agent's name, keys that it does not have."""
    name = block.get("name") if isinstance(block, dict) else block
    if not (isinstance(name, str) and name in agents and isinstance(block, dict)):
        return [f"agent: {checks.unknown('agent', name, agents)}"]
    fields = agents.peek(name)
    if fields is None:
        return []
    keys = ["name", *(field.key.removeprefix("agent.") for field in fields)]
    return [f"agent.{key}: {checks.unknown('key', key, keys)}" for key in block if key not in keys]


def _agent(block: Any, agents: Mapping[str, type[AgentConfig]], problems: list[str]) -> Any:
    """Builds the agent's block with the class its name stands for; on a problem, notes it and returns a stand-in."""
    name = block.get("name") if isinstance(block, dict) else block
    if isinstance(name, str) and name in agents and isinstance(block, dict):
        agent = _validated(agents[name], block, "agent.", problems)
    else:
        agent = None
        problems.append(f"agent: {checks.unknown('agent', name, agents)}")
    return agent or AgentConfig(name="unknown")


def _validated(
    model: type[Block], data: Any, prefix: str, problems: list[str], context: dict[str, bool] | None = None
) -> Any:
    try:
        return model.model_validate(data, context=context)
    except pydantic.ValidationError as error:
        problems.extend(_describe(model, item, prefix) for item in error.errors(include_url=False))
        return None


def _describe(model: type[Block], problem: Any, prefix: str) -> str:
    """Turns one of pydantic's findings into a line: where, which rule, what came, what to do."""
    # What concerns a block as a whole has no place inside of it.
    place = (prefix + ".".join(str(part) for part in problem["loc"])).rstrip(".")
    where = f"{place}: " if place else ""
    if problem["type"] == "extra_forbidden":
        fields = _block_at(model, problem["loc"][:-1]).model_fields
        return f"{where}{checks.unknown('key', problem['loc'][-1], fields)}"
    if problem["type"] == "missing":
        return f"{where}Expected a value. Received: none."
    if problem["type"] == "value_error":
        return f"{where}{problem['ctx']['error']}"
    return f"{where}{problem['msg']}. Received: {problem['input']!r:.80}."


def _block_at(model: type[Block], location: Iterable[Any]) -> type[Block]:
    """The block at a place in another one; blocks may be the values of a mapping there."""
    found: Any = model
    for part in location:
        inside = isinstance(found, type) and issubclass(found, Block)
        found = found.model_fields[part].annotation if inside else get_args(found)[-1]
    return found
