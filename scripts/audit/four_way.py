"""The four-way example: means by enumeration and variances that the literature and independent programs give."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlsample import lab, samplers

from .comparison import Comparison
from .problem import LEGAL, LOGITS, SCORES, measure, softmax

PROBS = softmax(LOGITS[:LEGAL])
BASELINE = {"name": "score_function", "baseline": float(PROBS @ SCORES[:LEGAL])}
BASELINE_OF_SQUARE = {"name": "score_function", "baseline": float(PROBS @ SCORES[:LEGAL] ** 2)}
GAP_BY_PROBABILITY = {"name": "gapped_straight_through", "gap": "probability"}

# Means over the draw, by enumeration: (sampler, temperature, objective, mean), rounded to six digits.
MEANS: list[tuple[Any, float, str, list[float]]] = [
    ("exact", 1.0, "linear", [0.01759, -0.179437, -0.092967, 0.254813]),
    ("exact", 1.0, "quadratic", [-0.161038, 0.14743, -0.285415, 0.299023]),
    ("straight_through", 1.0, "linear", [0.01759, -0.179437, -0.092967, 0.254813]),
    ("straight_through", 1.0, "quadratic", [0.032921, -0.335828, -0.173993, 0.476901]),
    ("straight_through", 2.0, "linear", [0.045929, -0.173021, -0.020097, 0.147189]),
    ("reinmax", 1.0, "linear", [0.01759, -0.179437, -0.092967, 0.254813]),
    ("reinmax", 1.0, "quadratic", [-0.161038, 0.14743, -0.285415, 0.299023]),
    ("reinmax", 1.3, "linear", [0.047745, -0.248472, -0.075585, 0.276312]),
    ("zgr", 1.0, "quadratic", [-0.161038, 0.14743, -0.285415, 0.299023]),
    ("gapped_straight_through", 1.0, "linear", [0.067464, -0.237631, -0.058481, 0.228647]),
    ("gapped_straight_through", 1.0, "quadratic", [0.031553, -0.256978, -0.203474, 0.4289]),
    ("gapped_straight_through", 0.5, "linear", [0.032393, -0.156497, -0.122641, 0.246745]),
    (GAP_BY_PROBABILITY, 1.0, "linear", [0.069111, -0.255344, -0.047223, 0.233456]),
]
# Means of 400,000 draws, with noise of their own.
SIMULATED_DRAWS = 400_000
SIMULATED_MEANS: list[tuple[Any, float, str, list[float]]] = [
    ("straight_through_gumbel_softmax", 1.0, "linear", [0.0447, -0.1948, -0.0446, 0.1947]),
    ("straight_through_gumbel_softmax", 0.5, "linear", [0.0309, -0.1903, -0.0746, 0.2340]),
    ("straight_through_gumbel_softmax", 1.0, "quadratic", [0.0051, -0.1991, -0.1473, 0.3413]),
    ("straight_through_gumbel_softmax", 0.5, "quadratic", [-0.0702, -0.0647, -0.2282, 0.3630]),
    ("gumbel_rao", 1.0, "linear", [0.0448, -0.1952, -0.0444, 0.1948]),
    ("arsm", 1.0, "quadratic", [-0.1607, 0.1477, -0.2856, 0.2990]),
]
# Traces of the covariance, exact but for rounding: (sampler, temperature, objective, variance, half a unit).
VARIANCES: list[tuple[Any, float, str, float, float]] = [
    ("straight_through", 1.0, "linear", 0.0, 0.0),
    ("straight_through", 1.0, "quadratic", 0.302, 5e-4),
    ("reinmax", 1.0, "linear", 0.1569, 5e-5),
    ("reinmax", 1.0, "quadratic", 3.220, 5e-4),
    ("gapped_straight_through", 1.0, "linear", 0.0300, 5e-5),
    ("gapped_straight_through", 1.0, "quadratic", 1.119, 5e-4),
    ("score_function", 1.0, "linear", 0.8825, 5e-5),
    ("score_function", 1.0, "quadratic", 2.158, 5e-4),
    (BASELINE, 1.0, "linear", 0.6277, 5e-5),
    (BASELINE_OF_SQUARE, 1.0, "quadratic", 0.7126, 5e-5),
    ("leave_one_out", 1.0, "linear", 0.6061, 5e-5),
    ("leave_one_out", 1.0, "quadratic", 0.8116, 5e-5),
    ("unordered_set", 1.0, "quadratic", 0.515, 5e-4),
]
# The same from draws; read off to so many digits.
SIMULATED_VARIANCES: list[tuple[Any, float, str, float, float]] = [
    ("arsm", 1.0, "quadratic", 0.345, 5e-4),
    ("straight_through_gumbel_softmax", 1.0, "linear", 0.074, 5e-4),
    ("straight_through_gumbel_softmax", 0.5, "linear", 0.27, 5e-3),
    ("straight_through_gumbel_softmax", 0.1, "linear", 2.1, 5e-2),
    *[
        ({"name": "gumbel_rao", "num_samples": number}, temperature, "quadratic", variance, half)
        for temperature, half, row in [
            (1.0, 5e-3, {1: 1.20, 10: 0.90, 100: 0.86}),
            (0.5, 5e-3, {1: 3.31, 10: 1.78, 100: 1.66}),
            (0.1, 5e-2, {1: 22.7, 10: 4.7, 100: 3.2}),
        ]
        for number, variance in row.items()
    ],
]
# Relative bias and cosine, three digits.
PLANE: list[tuple[Any, float, str, float, float]] = [
    ("straight_through", 1.0, "quadratic", 1.201, 0.482),
    ("gapped_straight_through", 1.0, "linear", 0.270, 0.966),
    ("gapped_straight_through", 1.0, "quadratic", 1.013, 0.567),
]


def compare(draws: int, seed: int, quick: bool) -> list[Comparison]:
    """Measures all of it: means, variances, biases and cosines."""
    reports = _Reports(draws, seed)
    rows = []
    for config, temperature, objective, mean in MEANS:
        report = reports(config, temperature, objective)
        name = f"mean of {_label(config, temperature, objective)}"
        rows.append(Comparison(name, report.mean[:LEGAL], report.mean_standard_error[:LEGAL], mean, slack=6e-7))
    for config, temperature, objective, mean in SIMULATED_MEANS:
        report = reports(config, temperature, objective)
        error = report.mean_standard_error[:LEGAL]
        name = f"mean of {_label(config, temperature, objective)}"
        theirs = error * np.sqrt(draws / SIMULATED_DRAWS)
        rows.append(Comparison(name, report.mean[:LEGAL], error, mean, theirs, slack=5e-5))
    for config, temperature, objective, bias, cosine in PLANE:
        report = reports(config, temperature, objective)
        name = _label(config, temperature, objective)
        found = report.relative_bias, report.relative_bias_standard_error
        rows.append(Comparison(f"relative bias of {name}", *found, bias, slack=5e-4))
        rows.append(Comparison(f"cosine of {name}", report.cosine, report.cosine_standard_error, cosine, slack=5e-4))
    for table, simulated in ((VARIANCES, False), (SIMULATED_VARIANCES, True)):
        for config, temperature, objective, variance, half in table:
            if quick and isinstance(config, dict) and config.get("num_samples", 0) > 10:
                continue
            report = reports(config, temperature, objective)
            spread = report.variance_standard_error
            their_spread = spread * np.sqrt(draws / SIMULATED_DRAWS) if simulated else 0.0
            name = f"variance of {_label(config, temperature, objective)}"
            rows.append(Comparison(name, report.variance, spread, variance, their_spread, slack=half + 1e-9))
    return rows


class _Reports:
    """Audits on demand: one compiled program a sampler, for all its temperatures and both objectives."""

    def __init__(self, draws: int, seed: int) -> None:
        self.draws, self.seed = draws, seed
        self.temperatures: dict[str, set[float]] = {}
        wanted: list[tuple[Any, ...]] = [*MEANS, *SIMULATED_MEANS, *VARIANCES, *SIMULATED_VARIANCES]
        for config, temperature, *_ in wanted:
            self.temperatures.setdefault(str(config), set()).add(temperature)
        self.found: dict[tuple[str, float, str], lab.Audit] = {}

    def __call__(self, config: Any, temperature: float, objective: str) -> lab.Audit:
        key = str(config)
        if (key, temperature, objective) not in self.found:
            seed = (self.seed, len(self.found))
            temperatures = sorted(self.temperatures[key])
            for cell in measure(samplers.create(config), temperatures, ["linear", "quadratic"], self.draws, seed):
                self.found[key, cell.temperature, cell.objective] = cell.report
        return self.found[key, temperature, objective]


def _label(config: Any, temperature: float, objective: str) -> str:
    if isinstance(config, dict):
        config = " ".join(
            [
                config["name"],
                *(
                    f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}"
                    for key, value in config.items()
                    if key != "name"
                ),
            ]
        )
    return f"{config} at {temperature:g}, {objective}"
