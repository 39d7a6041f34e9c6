"""What a run is made of: frozen, validated, read from YAML and `key=value` words, written back to YAML.

    agent: relaxed_actor_critic
    env: {id: CartPole-v1, num_envs: 8}
    network: {name: mlp, hidden_sizes: [64, 64]}
    sampler: {name: straight_through_gumbel_softmax}
    temperature: {name: exponential, start: 1.0, end: 0.1, steps: 30000}
    total_steps: 30000
    seed: 1
    tracking: {wandb: offline, tensorboard: false}

Names come from registries, never from import paths: a configuration file cannot make a program run code.
"""

from __future__ import annotations

import importlib
import math
from typing import Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar

import numpy as np
import pydantic
from pydantic import Field, SerializeAsAny

from rlsample import checks
from rlsample.runs.block import Block
from rlsample.runs.env_config import EnvConfig
from rlsample.runs.scale_config import ScaleConfig

MAX_STEPS = 2_000_000_000
"""Compiled programs count steps in int32, and a last rollout may take some more than were asked for."""

WITHOUT_TENSORFLOW = "without TensorFlow"
"""In the context of a validation: leave sampler, network and temperature as they are, which TensorFlow would build."""


def _built_by(registry: str) -> pydantic.BeforeValidator:
    """Turns a registry's `create` into a validator, to which a value of an impossible type is a problem like others."""

    def build(value: Any, info: pydantic.ValidationInfo) -> Any:
        if WITHOUT_TENSORFLOW in (info.context or ()):
            return value
        try:
            return importlib.import_module(registry).create(value)
        except TypeError as error:
            raise ValueError(f"{error}. Received: {value!r:.80}.") from None

    return pydantic.BeforeValidator(build)


class AgentConfig(Block):
    """Hyper-parameters of an agent; each agent subclasses it with a field, a default and a sentence for each.

    Examples:
        >>> from pydantic import Field
        >>> class Config(runs.AgentConfig):
        ...     name: str = "mine"
        ...     learning_rate: float = Field(default=1e-3, gt=0, description="Of the optimizer.")
        >>> Config(learning_rate=0.01)
        Config(name='mine', learning_rate=0.01)
    """

    scales: ClassVar[bool] = False
    """Whether the agent learns from what runners collect: see `ScaleConfig`."""

    scales_memory: ClassVar[bool] = False
    """Whether runners and several devices can be used with a network that has a memory."""

    shares_minibatches: ClassVar[bool] = False
    """Whether several devices can share its minibatches."""

    name: str = Field(description="The agent they belong to.")


PerMember = float | tuple[float, ...]
"""A hyper-parameter that each member of a population may have a value of its own for."""


class PopulationConfig(AgentConfig):
    """Hyper-parameters of an agent that several members of can be trained side by side.

    Attributes:
        members_differ_in: names of the fields that are `PerMember`.

    Examples:
        >>> class Config(runs.PopulationConfig):
        ...     members_differ_in = ("learning_rate",)
        ...     name: str = "mine"
        ...     learning_rate: runs.PerMember = 1e-3
        >>> Config(population=3, learning_rate=(0.1, 0.01, 0.5)).by_member("learning_rate")
        array([0.1 , 0.01, 0.5 ], dtype=float32)
    """

    members_differ_in: ClassVar[tuple[str, ...]] = ()

    population: int = Field(
        default=1, ge=1, description="Agents trained side by side, each with its own weights and environments."
    )

    @pydantic.model_validator(mode="after")
    def _one_for_each_member(self) -> Self:
        for name in self.members_differ_in:
            value = getattr(self, name)
            received: dict[str, Any] = {name: value}
            if isinstance(value, tuple) and len(value) != self.population:
                raise checks.invalid("one number, or one for each member", population=self.population, **received)
            values = np.atleast_1d(value)
            if values.min() < 0 or (name.endswith("learning_rate") and not values.all()):
                raise checks.invalid(f"{name} >{'' if name.endswith('learning_rate') else '='} 0", **received)
        return self

    def by_member(self, name: str) -> np.ndarray:
        """The hyper-parameter of each of S members: float32 `[S]`."""
        return np.broadcast_to(np.asarray(getattr(self, name), np.float32), [self.population])


class TrackingConfig(Block):
    """Where the metrics of a run go besides its folder. No key is accepted here: use `wandb login`.

    Examples:
        >>> runs.TrackingConfig(wandb="disabled", tensorboard=True)
        TrackingConfig(wandb='disabled', tensorboard=True, artifacts=False, project='rlsample', entity=None, ...)
    """

    wandb: Literal["offline", "online", "disabled"] = Field(
        default="offline",
        description="offline writes Weights & Biases files into the run folder, online also sends them, disabled "
        "does neither.",
    )
    tensorboard: bool = Field(
        default=False, description="Also write TensorBoard files into the run folder; needs the extra tensorboard."
    )
    artifacts: bool = Field(
        default=False, description="Also keep checkpoints and videos, as artifacts of Weights & Biases."
    )
    project: str = Field(default="rlsample", description="As in wandb.init.")
    entity: str | None = Field(default=None, description="As in wandb.init.")
    group: str | None = Field(default=None, description="As in wandb.init; by default environment and agent.")
    tags: tuple[str, ...] = Field(default=(), description="As in wandb.init.")

    @pydantic.model_validator(mode="after")
    def _artifacts_have_a_place(self) -> Self:
        if self.artifacts and self.wandb == "disabled":
            raise checks.invalid("wandb to be offline or online where artifacts are kept", wandb=self.wandb)
        return self


class EvaluationConfig(Block):
    """How a policy is judged.

    Examples:
        >>> runs.EvaluationConfig(episodes=100, every=1000)
        EvaluationConfig(episodes=100, every=1000, max_episode_steps=None, deterministic=True)
    """

    episodes: int = Field(default=20, ge=1, description="Complete episodes that the mean return is taken over.")
    every: int | None = Field(
        default=None,
        ge=1,
        description="Environment steps between evaluations while training; null evaluates once, at the end.",
    )
    max_episode_steps: int | None = Field(
        default=None,
        ge=1,
        description="Steps after which an episode is cut; by default the environment's own limit, else 10,000.",
    )
    deterministic: bool = Field(
        default=True, description="Play the most probable action instead of drawing from the policy."
    )

    def due(self, step: int, made: int) -> bool:
        """Whether `every` steps have passed since the last of so many evaluations that were made while training."""
        return self.every is not None and step // self.every > made


class CheckpointConfig(Block):
    """When a run saves what it needs to be resumed.

    Examples:
        >>> runs.CheckpointConfig(every=1e5, keep=1)
        CheckpointConfig(every=100000, keep=1)
    """

    every: int | None = Field(
        default=None, ge=1, description="Environment steps between checkpoints; null saves about once a minute."
    )
    keep: int = Field(default=3, ge=1, description="How many of the latest checkpoints stay.")


Agent = TypeVar("Agent", bound=AgentConfig)


class RunConfig(Block, Generic[Agent]):
    """Everything that decides a run; `RunConfig[Config]` is that of an agent with the hyper-parameters `Config`.

    Examples:
        >>> from rlsample.runs.shipped import known_agents
        >>> config = runs.load_config("cartpole", ["sampler=reinmax"], agents=known_agents())
        >>> config.agent.name, config.sampler.name, config.env.num_envs, float(config.temperature(15_000))
        ('relaxed_actor_critic', 'reinmax', 8, 0.3162277638912201)
        >>> config.model_copy(update={"seed": 3}).seed
        3
    """

    agent: SerializeAsAny[Agent] = Field(description="The agent's name and hyper-parameters.")
    env: EnvConfig = Field(description="The environment.")
    sampler: Annotated[Any, _built_by("rlsample.samplers")] = Field(
        default="straight_through_gumbel_softmax",
        description="The gradient estimator: its name and options, as rlsample.samplers.create takes them.",
    )
    network: Annotated[Any, _built_by("rlsample.networks")] = Field(
        default={"name": "automatic"},
        description="What reads the observations, for policy and critics: its name and options, as "
        "rlsample.networks.create takes them; without a name the one that suits the observations.",
    )
    temperature: Annotated[Any, _built_by("rlsample.schedules")] = Field(
        default=1.0,
        description="Its temperature: a number, or name and options of a schedule or of one that adapts, as "
        "rlsample.schedules.create takes them.",
    )
    total_steps: int = Field(ge=1, le=MAX_STEPS, description="Environment steps, over all environments.")
    seed: int = Field(default=1, ge=0, lt=2**31, description="What all random numbers of the run derive from.")
    tracking: TrackingConfig = Field(default=TrackingConfig(), description="Where the metrics go.")
    evaluation: EvaluationConfig = Field(default=EvaluationConfig(), description="How the policy is judged.")

    checkpoint: CheckpointConfig = Field(default=CheckpointConfig(), description="When it is saved.")
    scale: ScaleConfig = Field(default=ScaleConfig(), description="Who steps the environments.")

    model_config = pydantic.ConfigDict(validate_default=True)

    @pydantic.field_validator("temperature")
    @classmethod
    def _can_adapt(cls, temperature: Any, info: pydantic.ValidationInfo) -> Any:
        """Refuses to hold by the temperature what it does not move, or what is not measured."""
        sampler, agent = info.data.get("sampler"), info.data.get("agent")
        if sampler is None or agent is None or getattr(temperature, "metric", None) is None:
            return temperature
        if not sampler.uses_temperature:
            hint = "Such as straight_through_gumbel_softmax."
            raise checks.invalid("a sampler whose gradient depends on the temperature", sampler=sampler.name, hint=hint)
        if temperature.holds == "entropy" and sampler.relaxation is None:
            hint = "Such as straight_through_gumbel_softmax; or holds: signal_to_noise."
            rule = "a sampler that differentiates relaxed samples, whose entropy could be held"
            raise checks.invalid(rule, sampler=sampler.name, hint=hint)
        if temperature.holds == "signal_to_noise" and not getattr(agent, "audit_draws", 0):
            hint = "agent.audit_draws=16, in an agent whose gradient flows through actions."
            raise checks.invalid("an agent that measures its gradients", agent=agent.name, hint=hint)
        return temperature

    @pydantic.model_validator(mode="before")
    @classmethod
    def _counted(cls, values: Any) -> Any:
        """`env.num_envs` where it is left to the runners to say."""
        if not isinstance(values, dict):
            return values
        env, scale = values.get("env"), values.get("scale")
        if not isinstance(env, dict) or not isinstance(scale, dict) or env.get("num_envs") is not None:
            return values
        counts = [scale.get("envs_per_runner"), scale.get("runners", 1)]
        if not all(isinstance(count, int) and count > 0 for count in counts):
            return values  # Nothing is said, or what its own field refuses.
        return values | {"env": env | {"num_envs": math.prod(counts)}}

    @pydantic.field_validator("scale")
    @classmethod
    def _can_be_spread(cls, scale: ScaleConfig, info: pydantic.ValidationInfo) -> ScaleConfig:
        """Refuses runners that have nothing to do, or for whom an agent has no use."""
        env, agent = info.data.get("env"), info.data.get("agent")
        if env is not None and scale.envs_per_runner not in (None, env.num_envs / scale.runners):
            rule = "env.num_envs to be scale.runners * scale.envs_per_runner where both are given"
            received = {"num_envs": env.num_envs, "runners": scale.runners, "envs_per_runner": scale.envs_per_runner}
            raise checks.invalid(rule, **received, hint="Leave one of them out; env.num_envs=null takes it back.")
        if not (scale.spread or scale.devices > 1) or env is None or agent is None:
            return scale
        if env.num_envs % scale.runners:
            rule = "scale.runners to share env.num_envs evenly"
            raise checks.invalid(rule, num_envs=env.num_envs, runners=scale.runners)
        if WITHOUT_TENSORFLOW in (info.context or ()):  # Its agent is not known.
            return scale
        if scale.devices > 1 and not agent.shares_minibatches:
            rule = "an agent whose minibatches several devices share"
            raise checks.invalid(rule, agent=agent.name, devices=scale.devices, hint="Such as ppo.")
        if scale.spread and not agent.scales:
            raise checks.invalid("an agent that scales", agent=agent.name, hint="Such as ppo.")
        if scale.fragment_steps is not None:
            if hasattr(agent, "steps_per_round"):
                rule = "an agent that learns from rollouts, for fragments of a length of their own"
                raise checks.invalid(rule, agent=agent.name, hint="From a replay agent.steps_per_round says it.")
            if agent.num_steps % scale.fragment_steps:
                rule, received = "scale.fragment_steps to divide agent.num_steps", {"num_steps": agent.num_steps}
                raise checks.invalid(rule, **received, fragment_steps=scale.fragment_steps)
        if getattr(agent, "population", 1) > 1:
            raise checks.invalid("one agent alone, to be scaled", population=agent.population)
        return scale

    @pydantic.field_serializer("sampler", "network", "temperature")
    def _plain(self, value: Any) -> dict[str, Any]:
        return value.to_config()
