"""Learning from a replay on CartPole beside its peers: steps per second, with an update for each step."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.benchmark import wide
from scripts.benchmark.options import Options
from scripts.benchmark.tables import Table
from scripts.benchmark.training import GYMNASIUM, IN_GRAPH, Competitor, speeds

AGENTS = {"dqn": "rejax's DQN", "relaxed_actor_critic": "rejax's SAC"}


def run(options: Options) -> Iterator[Table]:
    """A table for each agent and number of environments, one of environments stepped by Python, and one of actions."""
    for agent, peer in AGENTS.items():
        if options.only and agent not in options.only:
            continue
        for num_envs, steps in ((2, 1),) if options.tiny else ((1, 2**13), (64, 2**18)):
            case = {"agent": agent, "num_envs": num_envs, "steps": steps}
            rows = [
                Competitor("rlsample", "rlsample_replay", case | {"env": IN_GRAPH}),
                Competitor(peer, "rejax_replay", case, peer=True),
            ]
            environments = f"{num_envs} environment" + "s" * (num_envs > 1)
            title = f"{agent}, CartPole stepped in the program, {environments}, an update of 128 rows per step of them"
            yield speeds(f"replay-{agent}-{num_envs}", title, rows, options)
    if not options.only or "gymnasium" in options.only:
        case = {"agent": "dqn", "env": GYMNASIUM, "num_envs": 1, "steps": 64 if options.tiny else 2**12}
        rows = [
            Competitor("rlsample", "rlsample_replay", case | {"round_steps": 64}),
            Competitor("Stable-Baselines3's DQN", "sb3_replay", case, peer=True),
        ]
        title = "dqn, Gymnasium's CartPole stepped by Python, 1 environment, an update of 128 rows per step"
        yield speeds("replay-gymnasium", title, rows, options)
    if not options.only or "actions" in options.only:
        counts, steps = ((10,), 64) if options.tiny else ((10, 100, 1000, 10_000), 256)
        case = {"agent": "relaxed_actor_critic", "env": wide.ID, "num_envs": 1, "steps": steps, "round_steps": 64}
        case |= {"sampler": "straight_through_gumbel_softmax"}
        rows = [
            Competitor(f"actions: {count:,}", "rlsample_replay", case | {"kwargs": {"num_actions": count}})
            for count in counts
        ]
        title = "relaxed_actor_critic, about half of the actions legal, an update of 128 rows per step"
        yield speeds("replay-actions", title, rows, options)
