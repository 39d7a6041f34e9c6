"""The suite `temperature`: policies trained under schedules and adaptive temperatures, and their gradients.

A policy begins where the audit has it, and climbs an objective of a score by Adam, by gradients of batches of draws.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from rich import box
from rich.console import Console
from rich.table import Table

from rlsample import lab, ops, samplers, schedules
from rlsample.distributions import CategoricalDistribution
from rlsample.lab.gradients import estimate_gradient
from rlsample.learning.adam import Adam
from rlsample.learning.loops import repeat
from rlsample.rollouts.sampler_metrics import gradient_metrics, relaxation_metrics

from . import problem

SAMPLER = "straight_through_gumbel_softmax"
OBJECTIVES = ("linear", "quadratic", "exponential")
STEPS, BATCH, RATE, PROBES, MEASURE_EVERY = 200, 32, 0.02, 32, 4
CONTROLS: dict[str, Any] = {
    "constant 0.1": 0.1,
    "constant 1": 1.0,
    "constant 2": 2.0,
    "exponential 1 to 0.1": {"name": "exponential", "start": 1.0, "end": 0.1, "steps": STEPS},
    "adaptive, entropy 0.2": {"name": "adaptive", "holds": "entropy", "target": 0.2},
    "adaptive, entropy 0.5": {"name": "adaptive", "holds": "entropy", "target": 0.5},
    "adaptive, signal to noise 1": {"name": "adaptive", "holds": "signal_to_noise", "target": 1.0},
}


class Course(NamedTuple):
    """A policy's training under one control of the temperature.

    Attributes:
        regret: share of what could be gained that is missing at the end; 1 where it began.
        bias: relative bias of the gradient, median over the training.
        noise: the root of the relative variance of the gradient of one draw, likewise.
        temperature: at the end.
    """

    regret: float
    bias: float
    noise: float
    temperature: float


def main(quick: bool, seed: int) -> int:
    """Trains, prints a table for documents; returns the exit code."""
    repeats, steps = (1, 40) if quick else (20, STEPS)
    table = Table("temperature", *(problem.OBJECTIVES[name].formula for name in OBJECTIVES), box=box.MARKDOWN)
    for label, config in CONTROLS.items():
        cells = []
        for objective in OBJECTIVES:
            train = trainer(schedules.create(config), objective, steps)
            courses = [train((seed, repeat)) for repeat in range(repeats)]
            cells.append("{:.2f} ({:.2f}, {:.2f}) {:.2g}".format(*np.mean(courses, 0)))
        table.add_row(label, *cells)
    console = Console(highlight=False, width=200)
    console.print(f"{SAMPLER}: regret (median relative bias, relative noise) temperature at the end")
    console.print(table)
    return 0


def trainer(temperature: schedules.Temperature, objective: str, steps: int) -> Any:
    """A function of a seed that trains once, in one compiled program, and returns a `Course`."""
    program = tf.function(functools.partial(_train, temperature, objective, steps), jit_compile=True, autograph=False)

    def train(seed: tuple[int, int]) -> Course:
        logits, reports, final = program(tf.constant(seed))
        values = problem.values(objective)
        start, end = (problem.softmax(each[: problem.LEGAL]) @ values for each in (problem.LOGITS, logits.numpy()))
        best, (bias, noise) = values.max(), np.nanmedian(reports.numpy(), 0)
        return Course((best - end) / (best - start), float(bias), float(noise), float(final))

    return train


def _train(temperature: schedules.Temperature, objective: str, steps: int, seed: tf.Tensor) -> Any:
    sampler, mask, adam = samplers.create(SAMPLER), tf.constant(problem.MASK), Adam()
    scores = tf.constant(problem.SCORES, tf.float32)

    def value(one_hot: tf.Tensor) -> tf.Tensor:
        # Of a batch the mean over its rows is climbed.
        return problem.OBJECTIVES[objective].value(tf.linalg.matvec(one_hot, scores)) / BATCH

    def batch(logits: tf.Tensor) -> tf.Tensor:
        return tf.broadcast_to(logits, [BATCH, logits.shape[0]])

    def measure(logits: tf.Tensor, state: Any, tau: tf.Tensor, seed: tf.Tensor) -> tuple[Any, tf.Tensor]:
        gradient_seed, relaxation_seed = tf.unstack(ops.split(seed, 2))
        policy = CategoricalDistribution(batch(logits), sampler, tau, mask)
        found = lab.online(sampler, value, policy.logits, gradient_seed, PROBES, temperature=tau)
        metrics = gradient_metrics(found) | relaxation_metrics(policy, relaxation_seed)
        return temperature.update(state, metrics), tf.stack([found.relative_bias, tf.sqrt(found.relative_variance)])

    def once(index: tf.Tensor, carry: Any) -> Any:
        logits, memory, state, reports, _ = carry
        draw_seed, probe_seed = tf.unstack(ops.split(ops.fold_in(seed, index), 2))
        tau = temperature.at(state, index)
        gradient = estimate_gradient(sampler, value, batch(logits), draw_seed, temperature=tau, mask=mask)
        after, memory = adam.step(-tf.reduce_sum(gradient, 0), memory, logits, RATE)
        state, report = tf.cond(
            tf.equal(index % MEASURE_EVERY, 0),
            lambda: measure(logits, state, tau, probe_seed),
            lambda: (state, tf.fill([2], np.float32("nan"))),
        )
        return after, memory, state, tf.tensor_scatter_nd_update(reports, [[index]], report[None]), tau

    logits = tf.constant(problem.LOGITS, tf.float32)
    nothing = tf.fill([steps, 2], np.float32("nan"))
    carry = logits, adam.start(logits), temperature.initial(), nothing, tf.zeros([])
    logits, _, _, reports, final = repeat(once, steps, carry)
    return logits, reports, final
