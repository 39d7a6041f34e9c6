"""Each estimator a second time, in NumPy: its mean and variance on the audit's policy, by enumeration or simulation.

Written from the formulas, not from the library, so that a fault would have to be made twice.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .problem import LEGAL, LOGITS, OBJECTIVES, SCORES, softmax, values

SIMULATED_DRAWS = 400_000

THETA, WEIGHTS = LOGITS[:LEGAL], SCORES[:LEGAL]
PROBS, CORNERS = softmax(THETA), np.eye(LEGAL)


class Reference(NamedTuple):
    """What an estimator should come to.

    Attributes:
        mean: of the gradient to the legal logits, `[4]`.
        mean_error: its standard error, 0 where it was enumerated.
        variance: trace of the covariance; None where only the mean is known.
        variance_error: its standard error.
    """

    mean: np.ndarray
    mean_error: np.ndarray
    variance: float | None = None
    variance_error: float = 0.0


def product(probs: np.ndarray, upstream: np.ndarray) -> np.ndarray:
    """Rows of (diag(p) - p p^T) g."""
    return probs * (upstream - np.sum(probs * upstream, -1, keepdims=True))


def slopes(objective: str, points: np.ndarray = CORNERS) -> np.ndarray:
    """Gradients of the objective to its argument at points `[..., 4]` of the simplex."""
    return OBJECTIVES[objective].slope(points @ WEIGHTS)[..., None] * WEIGHTS


def enumerated(rows: np.ndarray, probs: np.ndarray = PROBS) -> Reference:
    """The reference of an estimator that is `rows[k]` with probability `probs[k]`."""
    mean = probs @ rows
    return Reference(mean, np.zeros_like(mean), float(probs @ np.sum((rows - mean) ** 2, -1)))


def simulated(rows: np.ndarray) -> Reference:
    """The reference of an estimator from independent draws of it."""
    mean, root = rows.mean(0), np.sqrt(len(rows))
    squares = np.sum((rows - mean) ** 2, -1)
    return Reference(mean, rows.std(0) / root, float(squares.mean()), float(squares.std() / root))


def straight_through(temperature: float, objective: str) -> Reference:
    """Draw by draw (1 / tau) J(p_tau) g."""
    return enumerated(product(softmax(THETA / temperature), slopes(objective)) / temperature)


def decoupled_straight_through(temperature: float, objective: str, forward_temperature: float = 2.0) -> Reference:
    """The same rows under another distribution."""
    rows = product(softmax(THETA / temperature), slopes(objective)) / temperature
    return enumerated(rows, softmax(THETA / forward_temperature))


def perturbed_argmax(temperature: float, objective: str) -> Reference:
    """The mean of `straight_through`."""
    return straight_through(temperature, objective)._replace(variance=None)


def reinmax(temperature: float, objective: str) -> Reference:
    """2 J(m) g - 1/2 J(p) g."""
    g, middle = slopes(objective), (CORNERS + softmax(THETA / temperature)) / 2
    return enumerated(2 * product(middle, g) - product(PROBS, g) / 2)


def zgr(temperature: float, objective: str) -> Reference:
    """1/2 [J(p) g + (D - p) <D - p, g>]."""
    g, away = slopes(objective), CORNERS - PROBS
    return enumerated((product(PROBS, g) + away * np.sum(away * g, -1, keepdims=True)) / 2)


def lambda_mix(temperature: float, objective: str) -> Reference:
    """The mean of J(p) g and of `zgr`."""
    g, away = slopes(objective), CORNERS - PROBS
    return enumerated((3 * product(PROBS, g) + away * np.sum(away * g, -1, keepdims=True)) / 4)


def fini(temperature: float, objective: str) -> Reference:
    """The gradients of mean and variance of the score, (m' + v' / (2 v) (x - m)) f'(x)."""
    mean = PROBS @ WEIGHTS
    variance = PROBS @ WEIGHTS**2 - mean**2
    to_mean = PROBS * (WEIGHTS - mean)
    to_variance = PROBS * (WEIGHTS**2 - PROBS @ WEIGHTS**2) - 2 * mean * to_mean
    moves = to_mean + to_variance / (2 * variance) * (WEIGHTS - mean)[:, None]
    return enumerated(moves * OBJECTIVES[objective].slope(WEIGHTS)[:, None])


def gapped_straight_through(temperature: float, objective: str) -> Reference:
    """The drawn logit at the maximum, the others at most the maximum less 1."""
    led = np.where(CORNERS > 0, THETA.max(), np.minimum(THETA, THETA.max() - 1))
    return enumerated(product(softmax(led / temperature), slopes(objective)) / temperature)


def mean_field(temperature: float, objective: str) -> Reference:
    """The gradient of f(p_tau), without noise."""
    probs = softmax(THETA / temperature)
    return enumerated(product(probs, slopes(objective, probs))[None] / temperature, np.ones(1))


def entmax(temperature: float, objective: str) -> Reference:
    """The gradient of f(entmax_1.5), its threshold by bisection."""
    scaled = THETA / temperature / 2
    low, high = scaled.max() - 1, scaled.max()
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if np.sum(np.maximum(scaled - middle, 0) ** 2) > 1 else (low, middle)
    root = np.maximum(scaled - low, 0)
    g = slopes(objective, root**2)
    return enumerated((root * (g - root @ g / root.sum()))[None] / temperature, np.ones(1))


def score_function(temperature: float, objective: str) -> Reference:
    """f(D) (D - p)."""
    return enumerated(values(objective)[:, None] * (CORNERS - PROBS))


def exact(temperature: float, objective: str) -> Reference:
    """The exact gradient, without noise."""
    return enumerated(product(PROBS, values(objective))[None], np.ones(1))


def leave_one_out(temperature: float, objective: str) -> Reference:
    """Over ordered pairs 1/2 (f(a) - f(b)) (a - b)."""
    f = values(objective)
    pairs = list(itertools.product(range(LEGAL), repeat=2))
    rows = np.array([(f[a] - f[b]) * (CORNERS[a] - CORNERS[b]) / 2 for a, b in pairs])
    return enumerated(rows, np.array([PROBS[a] * PROBS[b] for a, b in pairs]))


def unordered_set(temperature: float, objective: str) -> Reference:
    """Over sets of two, with the weights of Kool et al. written out."""
    f, pairs = values(objective), list(itertools.combinations(range(LEGAL), 2))
    rows, chances = [], []
    for a, b in pairs:
        first = PROBS[a] * PROBS[b] / (1 - PROBS[[a, b]])
        advantage = first / first.sum() * (f[a] - f[b]) * np.array([1 - PROBS[a], PROBS[b] - 1])
        rows.append(advantage @ (CORNERS[[a, b]] - PROBS))
        chances.append(first.sum())
    # The mean of the whole, in which the built-in baseline drops out, is the exact gradient.
    return enumerated(np.array(rows), np.array(chances))


def disarm(temperature: float, objective: str) -> Reference:
    """Over what the three nodes of ((0, 1), 2), 3 choose for the two draws: 1, 0 / 0, 1 / the same for both."""
    f, nodes = values(objective), [([0, 1, 2], [3]), ([0, 1], [2]), ([0], [1])]
    moves, to_left = [], []
    for left, right in nodes:
        inside = [np.where(np.isin(range(LEGAL), side), PROBS, 0) for side in (left, right)]
        moves.append(inside[0] / inside[0].sum() - inside[1] / inside[1].sum())
        to_left.append(inside[0].sum() / np.sum(inside))
    rows, chances = [], []
    for outcome in itertools.product([(1, 0), (0, 1), None], repeat=len(nodes)):
        chance, choices = 1.0, []
        for a, pair in zip(to_left, outcome, strict=True):
            chance *= min(a, 1 - a) if pair else abs(1 - 2 * a)
            choices.append(pair or (int(a > 0.5),) * 2)
        leaves, paths = [], []
        for draw in range(2):
            node, path = 0, [0]
            while choices[node][draw] and node < 2:
                node += 1
                path.append(node)
            leaves.append([3, 2, 0][node] if node < 2 else 1 - choices[2][draw])
            paths.append(path)
        row = np.zeros(LEGAL)
        for node, (a, (b, c)) in enumerate(zip(to_left, choices, strict=True)):
            on_first, on_second = (node in path for path in paths)
            apart = on_first * (b - a) + on_second * (a - c)
            row += ((b - c) * max(a, 1 - a) if on_first and on_second else apart) * moves[node]
        rows.append((f[leaves[0]] - f[leaves[1]]) / 2 * row)
        chances.append(chance)
    return enumerated(np.array(rows), np.array(chances))


@functools.cache
def _gumbels() -> np.ndarray:
    return np.random.default_rng(20).gumbel(size=(SIMULATED_DRAWS, LEGAL))


def straight_through_gumbel_softmax(temperature: float, objective: str) -> Reference:
    """(1 / tau) J(s) g, g at the argmax."""
    perturbed = THETA + _gumbels()
    upstream = slopes(objective)[np.argmax(perturbed, -1)]
    return simulated(product(softmax(perturbed / temperature), upstream) / temperature)


def gumbel_softmax(temperature: float, objective: str) -> Reference:
    """(1 / tau) J(s) g, g at s."""
    relaxed = softmax((THETA + _gumbels()) / temperature)
    return simulated(product(relaxed, slopes(objective, relaxed)) / temperature)


def gumbel_rao(temperature: float, objective: str) -> Reference:
    """The mean of `straight_through_gumbel_softmax`."""
    return straight_through_gumbel_softmax(temperature, objective)._replace(variance=None)


def reinmax_rao(temperature: float, objective: str) -> Reference:
    """2 R - 1/2 J(p) g for each draw, R the mean over noise that has it as its argmax, by rejection."""
    g, mean, square_error = slopes(objective), np.zeros(LEGAL), np.zeros(LEGAL)
    for draw in range(LEGAL):
        perturbed = np.log((CORNERS[draw] + PROBS) / 2) + _gumbels()
        kept = perturbed[np.argmax(perturbed, -1) == draw]
        rows = 2 * product(softmax(kept / temperature), g[draw]) / temperature - product(PROBS, g[draw]) / 2
        mean += PROBS[draw] * rows.mean(0)
        square_error += PROBS[draw] ** 2 * rows.var(0) / len(rows)
    return Reference(mean, np.sqrt(square_error))


def reinmax_control_variate(temperature: float, objective: str) -> Reference:
    """2 J(m) g - 1/2 J(p) g - 1/2 (R - S) for each draw, R and S means over their noise, by rejection."""
    g, mean, square_error = slopes(objective), np.zeros(LEGAL), np.zeros(LEGAL)
    for draw in range(LEGAL):
        middle = (CORNERS[draw] + PROBS) / 2
        mean += PROBS[draw] * (2 * product(middle, g[draw]) - product(PROBS, g[draw]) / 2)
        for condition, sign in ((np.log(middle), -0.5), (THETA, 0.5)):
            kept = _gumbels()[np.argmax(condition + _gumbels(), -1) == draw]
            rows = product(softmax((np.log(middle) + kept) / temperature), g[draw]) / temperature
            mean += PROBS[draw] * sign * rows.mean(0)
            # Both take their noise from the same draws: its errors may add up.
            square_error += 2 * (PROBS[draw] * sign) ** 2 * rows.var(0) / len(rows)
    return Reference(mean, np.sqrt(square_error))


REFERENCES: dict[str, Callable[[float, str], Reference]] = {
    "categorical": score_function,
    "decoupled_straight_through": decoupled_straight_through,
    "disarm": disarm,
    "entmax": entmax,
    "exact": exact,
    "fini": fini,
    "gapped_straight_through": gapped_straight_through,
    "gumbel_rao": gumbel_rao,
    "gumbel_softmax": gumbel_softmax,
    "indecater": exact,
    "lambda_mix": lambda_mix,
    "leave_one_out": leave_one_out,
    "perturbed_argmax": perturbed_argmax,
    "reinmax": reinmax,
    "reinmax_control_variate": reinmax_control_variate,
    "reinmax_rao": reinmax_rao,
    "score_function": score_function,
    "softmax": mean_field,
    "straight_through": straight_through,
    "straight_through_gumbel_softmax": straight_through_gumbel_softmax,
    "unordered_set": unordered_set,
    "zgr": zgr,
}
