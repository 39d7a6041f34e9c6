"""Our learners from a replay: on an environment stepped in the program, or on Gymnasium's."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from rlsample.learning.replay import Replay
from rlsample.rollouts.gymnasium_collector import GymnasiumCollector
from rlsample.rollouts.loop import Watcher
from rlsample.rollouts.off_policy.from_replay import InGraphReplayLoop
from rlsample.rollouts.off_policy.kept_rows import MASKS
from rlsample.rollouts.off_policy.loop import OffPolicyLoop
from rlsample.runs import config_from_dict
from scripts.benchmark import wide  # noqa: F401  registers its environment
from scripts.catalogue import known_agents

FOREVER = 10**9
CAPACITY, BATCH = 100_000, 128


def prepare(
    agent: str,
    env: str,
    num_envs: int,
    steps: int,
    round_steps: int = 0,
    population: int = 1,
    kwargs: dict[str, Any] | None = None,
    sampler: str = "exact",
) -> Callable[[], dict[str, float]]:
    """One call takes `steps` steps of every member, with an update of 128 rows for each step of its environments."""
    agents = known_agents()
    round_steps = round_steps or num_envs
    hyper = {"steps_per_round": round_steps, "updates_per_step": 1 / num_envs, "warmup_steps": max(256, round_steps)}
    hyper |= {"batch_size": BATCH, "replay_capacity": CAPACITY, "population": population}
    hyper |= {"num_steps": 1} if agent == "dqn" else {}
    config = config_from_dict(
        {
            "agent": {"name": agent, **hyper},
            "network": {"hidden_sizes": [64, 64]},
            "env": {"id": env, "num_envs": num_envs, "kwargs": kwargs or {}},
            "sampler": sampler,
            "total_steps": FOREVER,
        },
        agents=agents,
    )
    envs = config.env.make(num_envs=num_envs * population)
    learner = agents.module(agent).Learner(config, envs.single_observation_space, envs.single_action_space)
    advance, taken, traces = (_in_graph if env.startswith("rlsample/") else _by_python)(config, envs, learner)

    def run(steps: int = steps) -> dict[str, float]:
        calls = -(-steps // taken)
        for _ in range(calls):
            advance()
        return {"steps": calls * taken * population, "traces": traces()}

    run(config.agent.warmup_steps + taken)
    return run


def _in_graph(config: Any, envs: Any, learner: Any) -> tuple[Callable[[], Any], int, Callable[[], int]]:
    """A call of the program, its environment steps for each member, and how often the program was traced."""
    loop = InGraphReplayLoop(envs, learner, config.agent.population)
    turns = loop.max_turns_per_call
    return lambda: loop.advance(turns), turns * loop.steps_per_turn, lambda: loop.traces


def _by_python(config: Any, envs: Any, learner: Any) -> tuple[Callable[[], Any], int, Callable[[], int]]:
    """A round of steps and updates, and the same."""
    learner.state = learner.start(0)
    masks = [name for name in learner.kept if name in MASKS]
    loop = OffPolicyLoop(
        GymnasiumCollector(envs, learner.policy.factors, seed=0),
        learner,
        kept=learner.kept,
        replay=Replay(CAPACITY, masks),
        seed=0,
        temperature=config.temperature,
    )
    return (
        lambda: loop.advance(cast(Watcher, SimpleNamespace(stopping=False))),
        config.agent.steps_per_round,
        lambda: learner.traces,
    )
