"""The environments of a run: here, or with runners elsewhere."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from rlsample.runs.agents import imported
from rlsample.runs.config import RunConfig
from rlsample.scale.collector import ScaledCollector
from rlsample.scale.engine import Engine
from rlsample.scale.local_engine import LocalEngine
from rlsample.scale.runner import RunnerPlan
from rlsample.spaces import Factors


def make_environments(config: RunConfig[Any], population: int = 1) -> gym.vector.VectorEnv:
    """The vector environment of a run: `config.env.make`, or what stands for those of runners.

    Args:
        config: the run.
        population: how often as many as `env.num_envs`.

    Examples:
        >>> from agents import ppo
        >>> from rlsample.scale.environments import make_environments
        >>> settings = {"agent": {"name": "ppo"}, "env": {"id": "CartPole-v1", "num_envs": 8}, "total_steps": 1000}
        >>> config = runs.config_from_dict(settings | {"scale": {"runners": 2}}, agents={"ppo": ppo.Config})
        >>> envs = make_environments(config)
        >>> type(envs).__name__, envs.num_envs
        ('DistantEnvs', 8)
    """
    if config.scale.spread:
        return DistantEnvs(config)
    return config.env.make(num_envs=config.env.num_envs * population)


class DistantEnvs(gym.vector.VectorEnv):
    """Environments that runners step: spaces, how many, and who collects from them.

    Examples:
        >>> from agents import ppo
        >>> from rlsample.scale.environments import DistantEnvs
        >>> settings = {"agent": {"name": "ppo"}, "env": {"id": "CartPole-v1", "num_envs": 8}, "total_steps": 1000}
        >>> config = runs.config_from_dict(settings | {"scale": {"runners": 2}}, agents={"ppo": ppo.Config})
        >>> envs = DistantEnvs(config)
        >>> envs.single_action_space, envs.observation_space.shape
        (Discrete(2), (8, 4))
    """

    def __init__(self, config: RunConfig[Any]) -> None:
        one = config.env.make(num_envs=1)
        self.spec, self.metadata = one.spec, one.metadata
        self.num_envs = config.env.num_envs
        self.single_observation_space, self.single_action_space = one.single_observation_space, one.single_action_space
        self.observation_space = gym.vector.utils.batch_space(self.single_observation_space, self.num_envs)
        self.action_space = gym.vector.utils.batch_space(self.single_action_space, self.num_envs)
        one.close()
        self._config = config
        self._collector: ScaledCollector | None = None

    def collector(self, factors: Factors, seed: int) -> ScaledCollector:
        """Starts the runners."""
        self._collector = ScaledCollector(self, self._engine(), self._config.scale, seed)
        return self._collector

    def close_extras(self, **kwargs: Any) -> None:
        """Ends them."""
        if self._collector is not None:
            self._collector.close()

    def _engine(self) -> Engine:
        scale, num_envs = self._config.scale, self.num_envs // self._config.scale.runners
        plan = RunnerPlan(self._config.env.model_dump(), num_envs, tuple(imported))
        if scale.engine == "local":
            return LocalEngine(plan)
        from rlsample.scale.ray_engine import RayEngine

        return RayEngine(plan, scale)
