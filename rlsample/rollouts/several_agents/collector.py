"""Stepping environments of several agents: rewards, ends and presence of each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import tensorflow as tf

from rlsample.rollouts.gymnasium_collector import Autoreset, GymnasiumCollector
from rlsample.rollouts.several_agents.agents import Agents
from rlsample.rollouts.several_agents.gymnasium_tuples import REWARDS
from rlsample.rollouts.several_agents.pettingzoo_environments import PRESENT, TERMINATED
from rlsample.rollouts.snapshot import Snapshot, arrays_of, tree_from


class JointTransition(NamedTuple):
    """One step of `B` environments with `N` agents; as `Transition`, but for what each agent has of its own.

    Attributes:
        observation: float32 `[B, all]`, the joint features.
        mask: bool `[B, N, K]`, what was legal there.
        action: int32 `[B, N]`.
        reward: float32 `[B, N]`.
        next_observation: float32 `[B, all]`.
        next_mask: bool `[B, N, K]`.
        terminated: bool `[B, N]`, the agent's task ended: no value beyond.
        truncated: bool `[B]`, the episode was cut.
        present: bool `[B, N]`, whether the agent was there to act; no loss of its own may use the row otherwise.
        valid: bool `[B]`, False where the environment only reset itself.

    Examples:
        >>> import envs
        >>> from rlsample.rollouts.several_agents.agents import Agents
        >>> from rlsample.rollouts.several_agents.collector import JointCollector
        >>> vector = gym.make_vec("rlsample/SpeakerListener-v0", num_envs=2)
        >>> agents = Agents.of(vector.single_observation_space, vector.single_action_space)
        >>> transition = JointCollector(vector, agents, seed=0).step(np.zeros([2, 2], np.int32))
        >>> transition.action.shape, transition.reward.shape, transition.truncated.shape
        ((2, 2), (2, 2), (2,))
    """

    observation: np.ndarray
    mask: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    next_observation: np.ndarray
    next_mask: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    present: np.ndarray
    valid: np.ndarray


Rows = Mapping[str, Any]
"""Fields of transitions by name, arrays `[B, ...]`."""


class ValidRows:
    """A row of the replay for each step in which the environment did not only reset itself.

    Args:
        prepare: what is made of the fields of rows before they are kept.

    Examples:
        >>> from rlsample.rollouts.several_agents.collector import ValidRows
        >>> rows = ValidRows(lambda rows: {"reward": rows["reward"]})
        >>> rows.add({"reward": np.array([1.0, 2.0, 3.0]), "valid": np.array([True, False, True])})
        {'reward': array([1., 3.])}
    """

    def __init__(self, prepare: Callable[[Rows], Rows]) -> None:
        self._prepare = prepare

    def add(self, step: Rows) -> Rows:
        """The rows of a step."""
        return self._prepare({name: column[step["valid"]] for name, column in step.items()})

    def snapshot(self) -> dict[str, Any]:
        """Nothing: no row takes more than a step."""
        return {}

    def restore(self, begun: Rows) -> None:
        """Nothing is begun."""


def kept_specs(agents: Agents) -> dict[str, tf.TensorSpec]:
    """What a replay of the multi-agent actor-critic keeps of one transition, by name.

    Examples:
        >>> from envs.speaker_listener import SpeakerListener
        >>> from rlsample.rollouts.several_agents.agents import Agents
        >>> from rlsample.rollouts.several_agents.collector import kept_specs
        >>> game = SpeakerListener(targets=4)
        >>> tuple(kept_specs(Agents.of(game.observation_space, game.action_space))["reward"].shape)
        (2,)
    """
    count, event = len(agents.names), agents.factors.event_shape
    features = tf.TensorSpec([agents.flattening.size])
    return {
        "observation": features,
        "mask": tf.TensorSpec(event, tf.bool),
        "action": tf.TensorSpec([count], tf.int32),
        "probs": tf.TensorSpec(event),
        "reward": tf.TensorSpec([count]),
        "next_observation": features,
        "next_mask": tf.TensorSpec(event, tf.bool),
        "terminated": tf.TensorSpec([count], tf.bool),
        "present": tf.TensorSpec([count], tf.bool),
    }


class JointCollector(GymnasiumCollector):
    """A `GymnasiumCollector` for environments of several agents.

    An environment that says nothing of single agents pays all of them its reward, and ends for all at once.

    Attributes:
        present: bool `[B, N]`, who acts next.

    Args:
        envs: a vector environment.
        agents: those in it.
        seed: of the environments.

    Examples:
        >>> import envs
        >>> from rlsample.rollouts.several_agents.agents import Agents
        >>> from rlsample.rollouts.several_agents.collector import JointCollector
        >>> vector = gym.make_vec("rlsample/SpeakerListener-v0", num_envs=2)
        >>> agents = Agents.of(vector.single_observation_space, vector.single_action_space)
        >>> collector = JointCollector(vector, agents, seed=0)
        >>> for _ in range(4):
        ...     transition = collector.step(np.zeros([2, 2], np.int32))
        >>> sorted(name for name in collector.pop_episodes() if name.startswith("agents/"))
        ['agents/return/listener_0', 'agents/return/speaker_0']
    """

    def __init__(self, envs: gym.vector.VectorEnv, agents: Agents, seed: int) -> None:
        self.agents = agents
        self._shape = envs.num_envs, len(agents.names)
        self._own_return = np.zeros(self._shape)
        self._own_returns: list[np.ndarray] = []
        super().__init__(envs, agents.factors, seed)

    def _begin(self, seed: int) -> None:
        super()._begin(seed)
        self.present = _told(self.info, PRESENT, np.ones(self._shape, bool))

    def step(self, action: np.ndarray) -> JointTransition:  # type: ignore[override]
        """Takes one joint action per environment, given as factor indices `[B, N]`; see `GymnasiumCollector.step`."""
        present, joint = self.present, super().step(action)
        done = joint.terminated | joint.truncated
        reward = self._of_each(REWARDS, joint.reward[:, np.newaxis], done).astype(np.float32)
        # The task of one who stayed to an end that was no cut is over, whatever was said.
        terminated = self._of_each(TERMINATED, np.zeros((1, 1), bool), done) | joint.terminated[:, np.newaxis]
        following = self._of_each(PRESENT, np.ones((1, 1), bool), np.zeros_like(done))
        self.present = following | done[:, np.newaxis]
        self._own_return += reward * joint.valid[:, np.newaxis]
        for index in np.flatnonzero(done & joint.valid):
            self._own_returns.append(self._own_return[index].copy())
        self._own_return[done] = 0.0
        seen = {"observation": joint.observation, "next_observation": joint.next_observation}
        own: dict[str, Any] = {name: self.agents.features(observation) for name, observation in seen.items()}
        own |= {"reward": reward, "terminated": terminated, "present": present}
        return JointTransition(**(joint._asdict() | own))

    def pop_episodes(self) -> dict[str, float]:
        """As of `GymnasiumCollector`, with the mean return of each agent."""
        metrics = super().pop_episodes()
        if self._own_returns:
            means = zip(self.agents.names, np.mean(self._own_returns, 0), strict=True)
            metrics |= {f"agents/return/{name}": float(mean) for name, mean in means}
        self._own_returns = []
        return metrics

    def snapshot(self) -> Snapshot:
        """See `GymnasiumCollector.snapshot`."""
        arrays, numbers = super().snapshot()
        return Snapshot(dict(arrays) | arrays_of("agents", (self.present, self._own_return)) if arrays else {}, numbers)

    def restore(self, snapshot: Snapshot, seed: int) -> bool:
        """See `GymnasiumCollector.restore`."""
        goes_on = super().restore(snapshot, seed)
        own = self.present, self._own_return
        if "agents/0" in snapshot.arrays:
            self.present, self._own_return = tree_from(snapshot.arrays, "agents", own)
        return goes_on

    def _of_each(self, key: str, default: np.ndarray, done: np.ndarray) -> np.ndarray:
        """What the last step's info says of each agent, `[B, N]`, and the default where it says nothing."""
        values = _told(self.info, key, np.broadcast_to(default, self._shape))
        if self.autoreset is Autoreset.SAME_STEP and done.any():
            # The info is already the next episode's; that of the step is in there.
            final = _told(self.info.get("final_info", {}), key, np.broadcast_to(default, self._shape))
            values = np.where(done[:, np.newaxis], final, values)
        return values


def _told(info: dict[str, Any], key: str, default: np.ndarray) -> np.ndarray:
    if key not in info:
        return default
    told = np.asarray(info.get(f"_{key}", np.ones(len(default), bool)), bool)
    rows = np.array([values if said else other for values, said, other in zip(info[key], told, default, strict=True)])
    return rows.reshape(default.shape)
