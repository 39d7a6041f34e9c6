"""What a replay keeps of a row, and how many rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from rlsample.learning.replay import check_memory
from rlsample.rollouts.policy import Policy
from rlsample.rollouts.recurrent.sequences import Sequences
from rlsample.rollouts.transitions import specs as transition_specs

MASKS = ("mask", "next_mask")
"""The columns of a replay that say what is legal."""


def kept_specs(policy: Policy, fields: Sequence[str]) -> dict[str, Any]:
    """What a replay keeps of one row: trees of `tf.TensorSpec` by the names of the fields.

    Examples:
        >>> from rlsample.rollouts.off_policy.kept_rows import kept_specs
        >>> from rlsample.rollouts.policy import Policy
        >>> env = gym.make("CartPole-v1")
        >>> policy = Policy(env.observation_space, env.action_space, samplers.create("categorical"))
        >>> kept = kept_specs(policy, ["observation", "action", "discount"])
        >>> {name: tuple(spec.shape) for name, spec in kept.items()}
        {'observation': (4,), 'action': (), 'discount': ()}
    """
    specs = transition_specs(policy.observation_space, policy.factors)
    return {name: getattr(specs, name, tf.TensorSpec(())) for name in fields}


def packed_specs(policy: Policy, fields: Sequence[str], networks: int = 1) -> dict[str, Any]:
    """What a replay keeps of one row, as `kept_specs`, but masks as bits.

    Where the policy has a memory a row is a single step, with what was remembered before it, and `starts`, whether an
    episode begins there; the discount follows from the rows after it.

    Args:
        policy: the policy.
        fields: names of the fields.
        networks: how many of its kind remember.

    Examples:
        >>> from rlsample.rollouts.policy import Policy
        >>> from rlsample.rollouts.off_policy.kept_rows import packed_specs
        >>> policy = Policy(gym.spaces.Box(-1, 1, (4,)), gym.spaces.Discrete(20), samplers.create("categorical"))
        >>> tuple(packed_specs(policy, ["observation", "mask"])["mask"].shape)
        (3,)
    """
    *factors, categories = policy.factors.event_shape
    bits = tf.TensorSpec([*factors, -(-categories // 8)], tf.uint8)
    kept = kept_specs(policy, fields) | {name: bits for name in fields if name in MASKS}
    if size := networks * policy.network.state_size:
        kept.pop("discount", None)
        kept |= {"starts": tf.TensorSpec((), tf.bool), "memory": tf.TensorSpec([size])}
    return kept


def check_replay(config: Any, policy: Policy, fields: Sequence[str], networks: int = 1) -> None:
    """Raises ValueError for a replay larger than the memory of this machine, or sequences that it cannot hold.

    Examples:
        >>> from rlsample.rollouts.off_policy.kept_rows import check_replay
        >>> from rlsample.rollouts.recurrent.policy import policy_for
        >>> from rlsample.runs.shipped import known_agents
        >>> config = runs.load_config("dqn_cartpole", ["network=recurrent", "agent.burn_in=50"], agents=known_agents())
        >>> env = gym.make("CartPole-v1")
        >>> policy = policy_for(env.observation_space, env.action_space, config.sampler, config.network)
        >>> check_replay(config, policy, ["observation", "reward"])
        Traceback (most recent call last):
            ...
        ValueError: Expected agent.burn_in below agent.sequence_length. Received: burn_in=50, sequence_length=32.
    """
    rows, population = replay_capacity(config), getattr(config.agent, "population", None)
    if population and config.env.in_graph:  # The replay is in tensors, whose size a run's length does not change.
        rows = config.agent.replay_capacity * population
    check_memory(rows, packed_specs(policy, fields, networks))
    Sequences.planned(config)


def steps_taken(total_steps: int, num_envs: int) -> int:
    """Environment steps of a run: those asked for, rounded up to whole steps of all environments.

    Examples:
        >>> from rlsample.rollouts.off_policy.kept_rows import steps_taken
        >>> steps_taken(total_steps=1000, num_envs=64)
        1024
    """
    return math.ceil(total_steps / num_envs) * num_envs


def replay_capacity(config: Any) -> int:
    """Rows that a run keeps for replay: `agent.replay_capacity` of its configuration, but no more than there will be.

    A place is to spare, so that a longer run can follow.

    Examples:
        >>> from rlsample.rollouts.off_policy.kept_rows import replay_capacity
        >>> from rlsample.runs.shipped import known_agents
        >>> config = runs.load_config("dqn_cartpole", ["total_steps=1000"], agents=known_agents())
        >>> config.agent.replay_capacity, replay_capacity(config)
        (100000, 1001)
    """
    return min(config.agent.replay_capacity, steps_taken(config.total_steps, config.env.num_envs) + 1)
