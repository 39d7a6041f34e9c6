"""In-graph environments of several agents, who act at the same time and share one reward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from rlsample import checks
from rlsample.in_graph.environment import FunctionalEnv


class AgentSpaces(NamedTuple):
    """What one agent does and sees.

    Attributes:
        num_actions: how many actions it has.
        observation_size: length of what it sees.
        lowest: what none of that is below.
        highest: what none of that is above.

    Examples:
        >>> from envs.speaker_listener import SpeakerListener
        >>> SpeakerListener(targets=3).agents["speaker_0"]
        AgentSpaces(num_actions=3, observation_size=3, lowest=0.0, highest=1.0)
    """

    num_actions: int
    observation_size: int
    lowest: float = 0.0
    highest: float = 1.0


class SeveralAgentsEnv(FunctionalEnv):
    """Base of in-graph environments of N agents.

    The joint action has one factor per agent: `[B, N]` integers or `[B, N, K]` weights, K the largest number of
    actions. The joint observation is `[B, N, D]`, D the longest observation. Shorter ones end in zeros, and smaller
    sets of actions are padded as factors always are. The reward `[B]` is everybody's.

    To an agent for one, such an environment is one with a joint action; an agent for several takes it apart.

    Attributes:
        agents: name -> what that agent does and sees, in the order of the axis N.

    Args:
        agents: likewise.
        dtype: as of `FunctionalEnv`.

    Examples:
        >>> from envs.coordination import Coordination
        >>> game = Coordination(payoffs=[[1.0, 0.0], [0.0, 2.0]])
        >>> state = game.initial((0, 1), num_envs=2)
        >>> print(game.observation(state).shape)  # [B, N, D]
        (2, 2, 2)
        >>> print(game.step(state, tf.constant([[1, 1], [0, 1]]), (0, 2)).reward.numpy())
        [2. 0.]
    """

    def __init__(self, agents: Mapping[str, AgentSpaces], dtype: str = "float32"):
        """See the class."""
        self.agents = dict(agents)
        actions = {name: spaces.Discrete(agent.num_actions) for name, agent in self.agents.items()}
        longest = max(agent.observation_size for agent in self.agents.values())
        # Shorter observations end in zeros.
        lowest = min(0.0, *(agent.lowest for agent in self.agents.values()))
        highest = max(0.0, *(agent.highest for agent in self.agents.values()))
        observations = spaces.Box(lowest, highest, (len(self.agents), longest), np.dtype(dtype))
        super().__init__(spaces.Dict(actions, sort_keys=False), observations, dtype)

    def side_by_side(self, parts: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The joint observation `[B, N, D]` of what each agent sees, `[B, D_i]` by its name."""
        longest = self.observation_space.shape[1]
        rows = [tf.pad(parts[name], [[0, 0], [0, longest - parts[name].shape[1]]]) for name in self.agents]
        return tf.stack(rows, 1)

    def agent_weights(self, action: tf.Tensor) -> tf.Tensor:
        """The weight of each agent's actions, float `[B, N, K]`; padding weighs nothing, whatever stands there."""
        weights = self.action_weights(action)
        padding = self.factors.padding_mask
        return weights if padding is None else weights * tf.cast(padding, self.dtype)


def numbered_agents(count: int, spaces_of_each: AgentSpaces) -> dict[str, AgentSpaces]:
    """`agent_0`, `agent_1`, ..., all alike.

    Examples:
        >>> from rlsample.in_graph.several_agents import AgentSpaces, numbered_agents
        >>> list(numbered_agents(2, AgentSpaces(num_actions=6, observation_size=12)))
        ['agent_0', 'agent_1']
    """
    return {f"agent_{index}": spaces_of_each for index in range(checks.check_count("agents", count))}
