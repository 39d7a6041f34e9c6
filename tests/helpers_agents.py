"""The agents that contract tests run over, each with settings under which it takes seconds."""

from __future__ import annotations

from typing import Any

import envs  # noqa: F401 (registers its environments)
from rlsample.runs import RunConfig, config_from_dict
from rlsample.runs.agents import Agents
from scripts.catalogue import known_agents

AGENTS: Agents = known_agents()

# Two turns, or two rounds of updates, of each.
SMALL: dict[str, dict[str, Any]] = {
    "dqn": {
        "agent": {
            "warmup_steps": 16,
            "steps_per_round": 16,
            "batch_size": 8,
            "num_steps": 2,
            "prioritized": True,
            "jit_compile": False,
        },
        "total_steps": 160,
    },
    "multi_agent_actor_critic": {
        "agent": {"warmup_steps": 16, "steps_per_round": 16, "batch_size": 8, "jit_compile": False},
        "env": {"id": "rlsample/SpeakerListener-v0", "num_envs": 4},
        "total_steps": 160,
    },
    "multi_agent_ppo": {
        "agent": {"num_steps": 8, "num_minibatches": 2, "jit_compile": False},
        "env": {"id": "rlsample/SpeakerListener-v0", "num_envs": 4},
        "total_steps": 64,
    },
    "ppo": {"agent": {"num_steps": 8, "num_minibatches": 2, "jit_compile": False}, "total_steps": 64},
    "reinforce": {"agent": {"num_steps": 8, "baseline_updates": 2, "jit_compile": False}, "total_steps": 64},
    "relaxed_actor_critic": {
        "agent": {
            "warmup_steps": 16,
            "steps_per_round": 16,
            "batch_size": 8,
            "audit_draws": 4,
            "jit_compile": False,
        },
        "total_steps": 160,
    },
    "short_horizon_actor_critic": {
        "agent": {"horizon": 4, "critic_updates": 2, "critic_batch_size": 4, "memory": 2, "jit_compile": False},
        "total_steps": 32,
    },
    "world_model_actor_critic": {
        "agent": {
            "warmup_steps": 16,
            "steps_per_round": 16,
            "updates_per_step": 0.25,
            "batch_size": 8,
            "members": 2,
            "horizon": 3,
            "jit_compile": False,
        },
        "total_steps": 160,
    },
}
ALL_AGENTS = tuple(sorted(AGENTS))


def small_config(name: str, seed: int = 1, **settings: Any) -> RunConfig:
    """A run of an agent that takes seconds, in an environment whose episodes are short."""
    small = SMALL[name]
    return config_from_dict(
        {
            "agent": {"name": name, **small["agent"], **settings.pop("agent", {})},
            "env": small.get("env", {"id": "rlsample/Identity-v0", "num_envs": 4}),
            "network": {"hidden_sizes": [8]},
            "sampler": "straight_through_gumbel_softmax",
            "total_steps": small["total_steps"],
            "seed": seed,
            "tracking": {"wandb": "disabled"},
            **settings,
        },
        agents=AGENTS,
    )
