"""How a run is spread over processes and machines."""

from __future__ import annotations

import importlib.util
import re
import socket
from typing import TYPE_CHECKING, Any, Literal, Self

import pydantic
from pydantic import Field

from rlsample import checks
from rlsample.runs.block import Block, ConfigError

if TYPE_CHECKING:
    import gymnasium

_ADDRESS = re.compile(r"auto|[\w.-]+:\d+")


class ScaleConfig(Block):
    """Who steps the environments: the process that learns, or runners, which may be on other machines.

    RLlib's names for the same: `num_env_runners` (runners), `num_envs_per_env_runner` (envs_per_runner),
    `num_cpus_per_env_runner` (cpus_per_runner), `sample_timeout_s` (fragment_seconds), `max_num_env_runner_restarts`
    (max_restarts), `rollout_fragment_length` (fragment_steps).
    """

    engine: Literal["local", "ray"] = Field(
        default="local", description="local steps all runners in this process, ray each in one of its own."
    )
    runners: int = Field(default=1, ge=1, description="Runners, which share env.num_envs evenly.")
    envs_per_runner: int | None = Field(
        default=None,
        ge=1,
        description="Environments of each; env.num_envs is then so many times the runners. By default env.num_envs "
        "divided by the runners.",
    )
    mode: Literal["sync", "async"] = Field(
        default="sync",
        description="sync waits for a fragment of each runner, collected by the newest policy; async takes what is "
        "there and corrects for the policy that collected it.",
    )
    max_lag: int = Field(
        default=4, ge=1, description="With async, fragments of a policy so many turns of learning older count no more."
    )
    fragment_steps: int | None = Field(
        default=None,
        ge=1,
        description="With async, steps of a fragment of an agent that learns from rollouts: the shorter, the fewer of "
        "agent.num_steps are of an earlier policy. By default all of agent.num_steps.",
    )
    max_restarts: int = Field(
        default=1000, ge=0, description="How often a runner that was lost is replaced before the run ends."
    )
    fragment_seconds: float = Field(
        default=60.0, gt=0, description="How long a runner may take for a fragment before it counts as lost."
    )
    cpus_per_runner: float = Field(default=1.0, gt=0, description="What a runner is counted as among a cluster's CPUs.")
    address: str | None = Field(
        default=None,
        description="HOST:PORT of a Ray cluster, or auto for the one of this machine; null starts one for the run, "
        "which nothing outside of this machine can reach.",
    )
    connect_seconds: float = Field(
        default=60.0, gt=0, description="How long the cluster may take to answer, and the runners to start."
    )

    devices: int = Field(
        default=1, ge=1, description="GPUs of the machine that learns, or logical CPUs, that share each minibatch."
    )

    @property
    def spread(self) -> bool:
        """Whether there are runners besides the loop that an agent has anyway."""
        return self.engine == "ray" or self.runners > 1 or self.mode == "async"

    @pydantic.model_validator(mode="after")
    def _what_belongs_together(self) -> Self:
        if self.address is not None and self.engine != "ray":
            raise checks.invalid("engine: ray where there is an address", engine=self.engine, address=self.address)
        if self.fragment_steps is not None and self.mode != "async":
            rule = "mode: async where fragments have a length of their own"
            raise checks.invalid(rule, mode=self.mode, fragment_steps=self.fragment_steps)
        if self.address is not None and not _ADDRESS.fullmatch(self.address):
            raise checks.invalid("HOST:PORT, or auto", address=self.address, hint="Such as 10.0.0.5:6379.")
        return self


def check_scale(scale: ScaleConfig) -> None:
    """Checks that there is what a run is to be spread with; takes no TensorFlow.

    Raises:
        ConfigError: Ray is not installed, or nobody answers at the address.
    """
    if scale.engine != "ray":
        return
    if importlib.util.find_spec("ray") is None:
        hint = "pip install 'rlsample[scale]', or scale.engine=local."
        raise ConfigError(f"scale.engine: Expected Ray to be installed. Received: none. {hint}")
    if scale.address not in (None, "auto"):
        host, _, port = str(scale.address).rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=scale.connect_seconds).close()
        except (OSError, OverflowError) as error:
            hint = "On its head node, 'ray start --head' says the address; scale.address=null starts a cluster here."
            rule = f"a Ray cluster to answer within {scale.connect_seconds:g} s"
            received: dict[str, Any] = {"address": scale.address, "error": str(error)}
            raise ConfigError(f"scale.address: {checks.invalid(rule, hint=hint, **received)}") from None


def check_environments(scale: ScaleConfig, env_id: str, envs: gymnasium.vector.VectorEnv) -> None:
    """Checks that runners can step an environment.

    Raises:
        ValueError: it is stepped inside of the compiled program.
    """
    if (scale.spread or scale.devices > 1) and hasattr(envs.unwrapped, "functional"):
        hint = (
            "It is stepped inside of the program that learns, compiled whole for one device, and waits for no Python "
            "that runners could take off it: more of it side by side is a larger env.num_envs. Leave scale out, or "
            "name an environment of Gymnasium's."
        )
        raise checks.invalid("an environment that Python steps, for runners or several devices", env=env_id, hint=hint)
