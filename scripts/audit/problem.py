"""What the audit measures on: one four-way policy with a fifth, illegal category, and objectives of a score of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from rlsample import lab, samplers

# Probabilities 0.27, 0.06, 0.21, 0.45. The illegal category has the largest logit and the largest score, so that a
# sampler that lets any of it through is far off.
LOGITS = np.array([0.5, -1.0, 0.25, 1.0, 7.0])
SCORES = np.array([1.0, -2.0, 0.5, 1.5, 9.0])
MASK = np.array([True, True, True, True, False])
LEGAL = 4

TARGET, POWER = 0.45, 1.5


class ScoreObjective(NamedTuple):
    """An objective f(x) of the score x = <scores, one_hot>.

    Attributes:
        formula: for people.
        value: tensor of scores -> values.
        slope: array of scores -> derivatives, worked out by hand.
    """

    formula: str
    value: Callable[[tf.Tensor], tf.Tensor]
    slope: Callable[[np.ndarray], np.ndarray]


OBJECTIVES = {
    "linear": ScoreObjective("x", lambda x: x, np.ones_like),
    "quadratic": ScoreObjective("x^2", tf.square, lambda x: 2 * x),
    "cubic": ScoreObjective("x^3", lambda x: x**3, lambda x: 3 * x**2),
    "exponential": ScoreObjective("exp(x)", tf.exp, np.exp),
    "power": ScoreObjective(
        f"|x - {TARGET}|^{POWER}",
        lambda x: tf.abs(x - TARGET) ** POWER,
        lambda x: POWER * np.abs(x - TARGET) ** (POWER - 1) * np.sign(x - TARGET),
    ),
}


def values(objective: str) -> np.ndarray:
    """The objective at the legal categories, float64 `[4]`."""
    return OBJECTIVES[objective].value(tf.constant(SCORES[:LEGAL])).numpy()


def exact_gradient(objective: str) -> np.ndarray:
    """The exact gradient to the legal logits by the formula p * (f - <p, f>), float64 `[4]`."""
    probs, f = softmax(LOGITS[:LEGAL]), values(objective)
    return probs * (f - probs @ f)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    exponentials = np.exp(logits - np.max(logits, -1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


class Cell(NamedTuple):
    """One sampler at one temperature on one objective."""

    sampler: samplers.Sampler
    temperature: float
    objective: str
    report: lab.Audit


def measure(
    sampler: samplers.Sampler,
    temperatures: Sequence[float],
    objectives: Sequence[str],
    draws: int,
    seed: tuple[int, int],
) -> list[Cell]:
    """Audits one sampler in one compiled program: temperatures and objectives are rows of the same batch."""
    if not sampler.uses_temperature:
        temperatures = [1.0]
    shape = (len(temperatures), len(objectives))

    def objective(one_hot: tf.Tensor) -> tf.Tensor:
        scores = tf.linalg.matvec(one_hot, tf.constant(SCORES, one_hot.dtype))
        functions = [OBJECTIVES[name].value for name in objectives]
        return tf.stack([function(scores[..., index]) for index, function in enumerate(functions)], -1)

    gradients, seconds = lab.sample_gradients(
        sampler,
        objective,
        np.broadcast_to(LOGITS, (*shape, len(LOGITS))),
        draws,
        seed,
        temperature=np.broadcast_to(np.reshape(temperatures, (-1, 1)), shape),
        mask=MASK,
    )
    cells = []
    for row, temperature in enumerate(temperatures):
        for column, name in enumerate(objectives):
            exact = np.zeros(len(LOGITS))
            exact[:LEGAL] = exact_gradient(name)
            report = lab.Audit.of(gradients[:, row, column], exact, seconds / (shape[0] * shape[1]))
            cells.append(Cell(sampler, float(temperature), name, report))
    return cells
