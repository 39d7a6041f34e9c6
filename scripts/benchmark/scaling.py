"""What runners give: throughput against their number, what Ray adds to a fragment, and a model of larger clusters.

Beside the runners stand as many bare processes: each collects by itself, and sends nothing to anybody.

A turn of n runners in sync mode takes, by the model,

    seconds(n) = fragment + call + n * (message + bytes / bandwidth) + n * update

where `fragment` is a runner's own time, `call` what one request and its answer add, `message` what the learner computes
for each fragment, `bytes` its size, and `update` what it takes to learn from one fragment's rows. In async mode the
runners' part, fragment + call, and the learner's part, the rest, go on at the same time: the longer one counts. The
model knows the time of one runner, and of two what the learner computes; the rest it predicts, for machines that have a
core for each runner.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from rlsample.rollouts.in_numpy.actor import NumpyActor
from rlsample.rollouts.in_numpy.network import NumpyNetwork, dense_network
from rlsample.runs.scale_config import ScaleConfig
from rlsample.scale.collector import ScaledCollector
from rlsample.scale.engine import Engine
from rlsample.scale.local_engine import LocalEngine
from rlsample.scale.ray_cluster import RayCluster
from rlsample.scale.ray_engine import RayEngine
from rlsample.scale.runner import Fragment, Request, Runner, RunnerPlan
from scripts.benchmark import sleeping
from scripts.benchmark.options import Options
from scripts.benchmark.tables import Table, milliseconds, ratio

SEED = np.array([1, 2], np.int32)
BANDWIDTH = 10e9 / 8
"""Bytes a second of the learner's network, in the model: 10 Gbit/s."""

START_SECONDS = 300.0


class Task(NamedTuple):
    """An environment to be collected from.

    Attributes:
        name: for the tables.
        plan: of a runner.
        sizes: of observation and hidden layers, and the number of actions.
        num_steps: T.
        runners: how many of them are timed.
    """

    name: str
    plan: RunnerPlan
    sizes: tuple[int, ...]
    num_steps: int
    runners: tuple[int, ...]


class Times(NamedTuple):
    """Of one number of runners, over several turns.

    Attributes:
        turn: seconds of a turn, the mean.
        beyond: what a turn took beyond its slowest runner's own part: the least, and the median.
        learner: seconds of computing in the learner's process in a turn, the least.
    """

    turn: float
    beyond: tuple[float, float]
    learner: float


class Environments(NamedTuple):
    """What a collector asks of environments that are not here."""

    num_envs: int


TASKS = (
    Task("sleeping", RunnerPlan({"id": sleeping.ID}, 1, (sleeping.__name__,)), (4, 64, 64, 2), 128, (1, 2, 4, 8)),
    Task("lunar", RunnerPlan({"id": "LunarLander-v3"}, 4), (8, 64, 64, 4), 128, (1, 2, 4)),
)


def run(options: Options) -> Iterator[Table]:
    """Tables of throughput with the model's prediction beside it, of overhead, and of larger clusters."""
    tasks = [task for task in TASKS if not options.only or task.name in options.only]
    most = max(max(task.runners) for task in tasks)
    cluster = RayCluster(None, START_SECONDS, cpus=most)
    try:
        for task in tasks:
            yield from _tables(task, options)
    finally:
        cluster.close()


def _tables(task: Task, options: Options) -> Iterator[Table]:
    rounds, runners = (1, (1, 2)) if options.tiny else (options.rounds, task.runners)
    local = _times(task, "local", 1, rounds)
    bare, times = dict[int, float](), dict[int, Times]()
    for count in runners:
        bare[count], times[count] = _bare(task, count, rounds), _times(task, "ray", count, rounds)
    one = times[1]
    message = times[2].learner - one.learner
    rows = task.plan.num_envs * task.num_steps
    lines = []
    for count, measured in times.items():
        speed, expected = count * rows / measured.turn, count * rows / (one.turn + (count - 1) * message)
        shares = f"{speed * one.turn / rows:.2f}", ratio(speed, bare[count]), ratio(expected, speed)
        lines.append([str(count), f"{speed:,.0f}", f"{bare[count]:,.0f}", *shares])
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg()[:2])
    shape = f"{task.num_steps} steps of {task.plan.num_envs} in a fragment"
    title = f"{task.name}: {shape} (load {load} on {os.cpu_count()} cores)"
    columns = ["runners", "steps a second", "bare processes", "times one", "runners / bare", "model / measured"]
    yield Table(f"scaling-{task.name}", title, columns, lines)
    yield Table(
        f"scaling-{task.name}-overhead",
        "What a fragment costs beyond the runner's own time, and the learner's computing for each further one",
        ["engine", "ms, least", "ms, median", "ms of computing"],
        [
            ["local", *map(milliseconds, local.beyond), "-"],
            ["ray", *map(milliseconds, one.beyond), milliseconds(message)],
        ],
    )
    size, update = _learning(task, rounds)
    lines = []
    for count in (8, 64, 512):
        learner = count * (message + size / BANDWIDTH + update)
        sync, ahead = one.turn + learner, max(one.turn, learner)
        speeds = [count * rows / seconds for seconds in (sync, ahead)]
        efficiency = [speed * one.turn / rows / count for speed in speeds]
        cells = [f"{speed:,.0f} ({share:.2f})" for speed, share in zip(speeds, efficiency, strict=True)]
        lines.append([str(count), *cells, f"{speeds[0] * size / rows / 1e6:,.1f}"])
    columns = ["runners", "sync: steps a second (of ideal)", "async (of ideal)", "MB a second"]
    yield Table(
        f"scaling-{task.name}-model",
        f"The model for larger clusters; learning from a fragment takes {milliseconds(update)} ms",
        columns,
        lines,
    )


def _times(task: Task, engine: str, runners: int, rounds: int) -> Times:
    scale = ScaleConfig(runners=runners, fragment_seconds=START_SECONDS, connect_seconds=START_SECONDS)
    drives: Engine = LocalEngine(task.plan) if engine == "local" else RayEngine(task.plan, scale)
    watched: Any = _Watched(drives)
    collector = ScaledCollector(Environments(runners * task.plan.num_envs), watched, scale, seed=0)
    network = _network(task.sizes)
    turns, beyond, learner = [], [], []
    for index in range(rounds + 1):
        watched.slowest = 0.0
        start, computed = time.perf_counter(), time.process_time()
        collector.collect(NumpyActor(network, SEED + index), task.num_steps)
        turns.append(time.perf_counter() - start)
        learner.append(time.process_time() - computed)
        beyond.append(turns[-1] - watched.slowest)
    collector.close()
    # The first turn makes the environments.
    return Times(float(np.mean(turns[1:])), (min(beyond[1:]), float(np.median(beyond[1:]))), min(learner[1:]))


def _bare(task: Task, count: int, rounds: int) -> float:
    """Steps a second of so many processes that collect side by side."""
    context = multiprocessing.get_context("spawn")
    begin, speeds = context.Barrier(count), context.Queue()
    arguments = [(task, seed, rounds, begin, speeds) for seed in range(count)]
    processes = [context.Process(target=_collect_bare, args=each) for each in arguments]
    for process in processes:
        process.start()
    total = sum(speeds.get() for _ in processes)
    for process in processes:
        process.join()
    return total


def _collect_bare(task: Task, seed: int, rounds: int, begin: Any, speeds: Any) -> None:
    runner, networks = Runner(task.plan, seed), (_network(task.sizes),)
    for index in range(rounds + 1):
        if index == 1:  # The first turn makes the environments.
            begin.wait()
            start = time.perf_counter()
        runner.collect(networks, Request(index, SEED + index, seed, task.num_steps, False))
    speeds.put(rounds * task.num_steps * task.plan.num_envs / (time.perf_counter() - start))


class _Watched:
    """An engine that remembers how long the slowest runner took."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.slowest = engine, 0.0

    def answer(self) -> Any:
        """See `Engine`."""
        answer = self._engine.answer()
        self.slowest = max(self.slowest, getattr(answer.fragment, "seconds", 0.0))
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def _network(sizes: tuple[int, ...]) -> NumpyNetwork:
    draw = np.random.default_rng(0).normal
    weights: list[np.ndarray] = []
    for inputs, outputs in itertools.pairwise(sizes):
        weights += [draw(size=(inputs, outputs), scale=0.1).astype(np.float32), np.zeros(outputs, np.float32)]
    return dense_network(weights, ["tanh"] * (len(sizes) - 2), (sizes[-1],))


def _learning(task: Task, rounds: int) -> tuple[int, float]:
    """Bytes of one fragment and of the weights that are sent for it; seconds that PPO takes to learn from one."""
    import tensorflow as tf

    from agents import ppo
    from rlsample.runs import config_from_dict

    words = {
        "agent": {"name": "ppo", "num_steps": task.num_steps},
        "env": {**task.plan.env, "num_envs": task.plan.num_envs},
        "network": {"name": "mlp", "hidden_sizes": list(task.sizes[1:-1])},
        "sampler": "categorical",
        "total_steps": 1_000_000,
    }
    config = config_from_dict(words, agents={"ppo": ppo.Config})
    learner = ppo.Learner(config, config.env.make(), num_turns=1000)
    network, runner = _network(task.sizes), Runner(task.plan, 0)
    fragment = runner.collect((network,), Request(0, SEED, 0, task.num_steps, False))
    runner.close()
    if not isinstance(fragment, Fragment):
        raise RuntimeError(fragment.text)
    program = tf.function(learner.learn, jit_compile=True, autograph=False)
    state, finite = learner.start(0), tf.ones([task.plan.num_envs], tf.bool)
    transitions = tf.nest.map_structure(tf.constant, fragment.transitions)
    seconds = []
    for _ in range(rounds + 1):  # The first one compiles.
        start = time.perf_counter()
        program(state, transitions, tf.constant(SEED), finite)[2].numpy()
        seconds.append(time.perf_counter() - start)
    return fragment.size + sum(weight.nbytes for weight in network.weights), min(seconds[1:])
