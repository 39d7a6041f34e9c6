"""What a run is made of: frozen, validated, read from YAML and `key=value` words, written back to YAML.

    agent: relaxed_actor_critic
    env: {id: CartPole-v1, num_envs: 8}
    sampler: {name: straight_through_gumbel_softmax}
    temperature: {name: exponential, start: 1.0, end: 0.1, steps: 30000}
    total_steps: 30000
    seed: 1
    tracking: {wandb: offline}

Names come from registries, never from import paths: a configuration file cannot make a program run code.
"""

from __future__ import annotations

import multiprocessing
import re
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field, JsonValue, SerializeAsAny

from rlsample import checks, samplers, schedules
from rlsample.runs import yaml_files


def _built_by(create: Callable[[Any], Any]) -> pydantic.BeforeValidator:
    """Turns a registry's `create` into a validator, to which a value of an impossible type is a problem like others."""

    def build(value: Any) -> Any:
        try:
            return create(value)
        except TypeError as error:
            raise ValueError(f"{error}. Received: {value!r:.80}.") from None

    return pydantic.BeforeValidator(build)


_SECRET = re.compile(r"api_?key|secret|passw(or)?d|credential|(^|_)token$", re.IGNORECASE)

_OWN_OPTIONS = frozenset({"id", "num_envs", "vectorization_mode", "vector_kwargs", "wrappers"})


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names every place and the way out, for a person to read."""


class _Frozen(pydantic.BaseModel):
    """A block of a configuration: no unknown key, no silent conversion, no NaN, nothing to change afterwards."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _freeze_sequences(cls, data: Any) -> Any:
        """YAML has lists; a block that never changes holds tuples."""
        return {key: _as_tuple(value) for key, value in data.items()} if isinstance(data, dict) else data


class AgentConfig(_Frozen):
    """Hyper-parameters of an agent; each agent subclasses it with a field, a default and a sentence for each.

    Attributes:
        name: the agent they belong to.
    """

    name: str


class EnvConfig(_Frozen):
    """Which environment, and how many of it side by side.

    Attributes:
        id: a registered Gymnasium id.
        num_envs: environments stepped together while training.
        kwargs: passed on to the environment.
        vectorization_mode: as in `gymnasium.make_vec`; by default the environment's own vector form where it has one.
    """

    id: str
    num_envs: int = Field(default=8, ge=1)
    kwargs: dict[str, JsonValue] = {}
    vectorization_mode: Literal["sync", "async", "vector_entry_point"] | None = None

    @pydantic.field_validator("id")
    @classmethod
    def _registered(cls, value: str) -> str:
        import gymnasium

        if ":" in value:
            raise checks.invalid(
                "an id without a module in it", id=value, hint="Import the module that registers it first."
            )
        if value not in gymnasium.registry:
            raise checks.unknown("environment", value, gymnasium.registry)
        return value

    @pydantic.field_validator("kwargs")
    @classmethod
    def _harmless(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for key in _OWN_OPTIONS.intersection(value):
            raise checks.invalid("options of the environment itself", kwargs=key)
        for secret in filter(_SECRET.search, _keys(value)):
            raise ValueError(
                f"Expected no secret in a configuration, which is saved and tracked. Received: {secret}. "
                "Let the environment read it from an environment variable."
            )
        return value

    def make(self, num_envs: int | None = None, **options: Any) -> Any:
        """Returns a new `gymnasium.vector.VectorEnv`; `options` go to `gymnasium.make_vec` and win over the fields."""
        import gymnasium

        made: dict[str, Any] = {"num_envs": num_envs or self.num_envs, "vectorization_mode": self.vectorization_mode}
        if self.vectorization_mode == "async":
            made["wrappers"] = [_without_interrupts]
        return gymnasium.make_vec(self.id, **(made | self.kwargs | options))


def _without_interrupts(env: Any) -> Any:
    """Makes an environment's own process leave Ctrl-C to the run, which still needs it to come to a clean stop."""
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return env


class TrackingConfig(_Frozen):
    """Where the numbers of a run go besides its folder.

    Attributes:
        wandb: `offline` writes Weights & Biases files into the run folder, `online` also sends them, `disabled` does
            neither.
        project, entity, group, tags: as in `wandb.init`. No key is accepted here: use `wandb login`.
    """

    wandb: Literal["offline", "online", "disabled"] = "offline"
    project: str = "rlsample"
    entity: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()


class EvaluationConfig(_Frozen):
    """How a policy is judged.

    Attributes:
        episodes: complete episodes that the mean return is taken over.
        every: environment steps between evaluations while training; None evaluates once, at the end.
        deterministic: play the most probable action instead of drawing from the policy.
    """

    episodes: int = Field(default=20, ge=1)
    every: int | None = Field(default=None, ge=1)
    deterministic: bool = True


class RunConfig(_Frozen):
    """Everything that decides a run.

    Attributes:
        agent: the agent's name and hyper-parameters.
        env: the environment.
        sampler: the gradient estimator, as `rlsample.samplers.create` takes it.
        temperature: the schedule of its temperature, as `rlsample.schedules.create` takes it.
        total_steps: environment steps, over all environments.
        seed: what all random numbers of the run derive from.
        tracking: where the numbers go.
        evaluation: how the policy is judged.
    """

    agent: SerializeAsAny[AgentConfig]
    env: EnvConfig
    sampler: Annotated[Any, _built_by(samplers.create)] = "straight_through_gumbel_softmax"
    temperature: Annotated[Any, _built_by(schedules.create)] = 1.0
    total_steps: int = Field(ge=1)
    seed: int = Field(default=1, ge=0, lt=2**31)
    tracking: TrackingConfig = TrackingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    model_config = pydantic.ConfigDict(validate_default=True)

    @pydantic.field_serializer("sampler", "temperature")
    def _plain(self, value: Any) -> dict[str, Any]:
        return value.to_config()


def load(
    path: str | Path, overrides: Iterable[str] = (), *, agents: Mapping[str, type[AgentConfig]], inherit: bool = True
) -> RunConfig:
    """Reads a configuration.

    Args:
        path: a YAML file; its `base:` names a file to inherit from.
        overrides: `key=value` or `block.key=value` words, laid over the file. A word for a whole block
            (`sampler=reinmax`) replaces it, one for a key of a block (`sampler.num_samples=10`) edits it.
        agents: the hyper-parameters of each agent that may be named.
        inherit: whether `base:` is followed. Turn it off for files that others wrote.

    Returns:
        The configuration, complete and validated.

    Raises:
        ConfigError: anything is wrong with the file, the words or what they say; each problem is one line that begins
            with the dotted name of its place.
    """
    try:
        data = yaml_files.override(yaml_files.read(Path(path), inherit=inherit), overrides)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return from_dict(data, agents=agents, source=str(path))


def from_dict(
    data: Mapping[str, Any], *, agents: Mapping[str, type[AgentConfig]], source: str = "The configuration"
) -> RunConfig:
    """Builds a configuration from plain data; arguments and errors as in `load`."""
    data = yaml_files.merge(data, {})
    problems: list[str] = []
    if "agent" in data:
        data["agent"] = _agent(data["agent"], agents, problems)
    config = _validated(RunConfig, data, "", problems)
    if config is None or problems:
        raise ConfigError("\n  ".join([f"{source} cannot be used:", *problems]))
    return config


def to_dict(config: RunConfig) -> dict[str, Any]:
    """Returns the resolved configuration as plain data; `from_dict` of it equals `config`."""
    return config.model_dump(mode="json")


def to_yaml(config: RunConfig) -> str:
    """Returns the resolved configuration as YAML; `load` of it equals `config`."""
    return yaml_files.dump(to_dict(config))


def _keys(value: Any) -> Iterator[str]:
    """Yields the keys of a tree of mappings and sequences."""
    if isinstance(value, dict):
        yield from value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _keys(item)


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(item) for item in value) if isinstance(value, list) else value


def _agent(block: Any, agents: Mapping[str, type[AgentConfig]], problems: list[str]) -> Any:
    """Builds the agent's block with the class its name stands for; on a problem, notes it and returns a stand-in."""
    name = block.get("name") if isinstance(block, dict) else block
    if isinstance(name, str) and name in agents and isinstance(block, dict):
        agent = _validated(agents[name], block, "agent.", problems)
    else:
        agent = None
        problems.append(f"agent: {checks.unknown('agent', name, agents)}")
    return agent or AgentConfig(name="unknown")


def _validated(model: type[_Frozen], data: Any, prefix: str, problems: list[str]) -> Any:
    try:
        return model.model_validate(data)
    except pydantic.ValidationError as error:
        problems.extend(prefix + _describe(model, item) for item in error.errors(include_url=False))
        return None


def _describe(model: type[_Frozen], problem: Any) -> str:
    """Turns one of pydantic's findings into a line: where, which rule, what came, what to do."""
    location = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        for part in problem["loc"][:-1]:
            model = model.model_fields[part].annotation  # type: ignore[assignment]
        return f"{location}: {checks.unknown('key', problem['loc'][-1], model.model_fields)}"
    if problem["type"] == "missing":
        return f"{location}: Expected a value. Received: none."
    if problem["type"] == "value_error":
        return f"{location}: {problem['ctx']['error']}"
    return f"{location}: {problem['msg']}. Received: {problem['input']!r:.80}."
