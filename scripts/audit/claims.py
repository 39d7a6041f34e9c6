"""What each sampler claims about its gradient, and whether an audit bears it out.

Two kinds of claim: where it is unbiased, and that its mean (and variance, where that is known) is that of its formula.
A claim is a z-test of every number it speaks of; all tests of a run together fail by chance once in a million runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from rlsample import lab, samplers

from .problem import LEGAL, MASK, SCORES, exact_gradient
from .references import REFERENCES, Reference

FALSE_FAILURE_RATE = 1e-6

ROUNDING = 1e-5
"""Allowed besides the noise, relative to the exact gradient: draws have the resolution of float32."""

OPTIONS: dict[str, dict[str, Any]] = {
    "decoupled_straight_through": {"forward_temperature": 2.0},
    "fini": {"values": tuple(SCORES.tolist())},
}
"""What is audited under a name alone, where the defaults would repeat another sampler, or order the categories by
something that the objectives do not depend on."""

CLAIMS: dict[str, Callable[[float, str], bool]] = {
    "never": lambda temperature, objective: False,
    "linear at temperature 1": lambda temperature, objective: temperature == 1 and objective == "linear",
    "linear": lambda temperature, objective: objective == "linear",
    "quadratic in the values": lambda temperature, objective: objective in ("linear", "quadratic"),
    "quadratic": lambda temperature, objective: objective in ("linear", "quadratic"),
    "quadratic at temperature 1": lambda t, objective: t == 1 and objective in ("linear", "quadratic"),
    "always": lambda temperature, objective: True,
}
"""`Sampler.unbiased` -> whether it claims so at (temperature, objective)."""


class Check(NamedTuple):
    """A claim held against one cell of the audit.

    Attributes:
        sampler: the name.
        temperature: of the cell.
        objective: of the cell.
        claim: in words.
        errors: numbers found less numbers claimed, less what rounding explains, in standard errors.
    """

    sampler: str
    temperature: float
    objective: str
    claim: str
    errors: np.ndarray


def create(config: str | Mapping[str, Any]) -> samplers.Sampler:
    """Builds a sampler as `samplers.create` does, with the audit's options if only its name is given."""
    return samplers.create({"name": config, **OPTIONS.get(config, {})} if isinstance(config, str) else config)


def claimed(sampler: samplers.Sampler) -> str | None:
    """The name whose formula binds the sampler: its own, or that of the nearest class it was derived from."""
    for ancestor in type(sampler).__mro__:
        name = vars(ancestor).get("name")
        if name in REFERENCES:
            return str(name)
    return None


def checks_of(sampler: samplers.Sampler, temperature: float, objective: str, report: lab.Audit) -> Iterator[Check]:
    """Holds the sampler's claims against the report of one cell."""
    name = claimed(sampler)
    exact = exact_gradient(objective)
    slack = ROUNDING * float(np.linalg.norm(exact))

    def check(claim: str, difference: np.ndarray, error: np.ndarray, slack: float) -> Check:
        return Check(sampler.name, temperature, objective, claim, in_standard_errors(difference, error, slack))

    outside = np.concatenate([report.mean[~MASK], report.mean_standard_error[~MASK]])
    yield check("gradient 0 where illegal", outside, np.zeros_like(outside), 0.0)
    mean, mean_error = report.mean[:LEGAL], report.mean_standard_error[:LEGAL]
    if CLAIMS[sampler.unbiased](temperature, objective) and _is_in_the_claims_terms(sampler):
        yield check("unbiased", mean - exact, mean_error, slack)
    # With other options the formula is another one.
    if name in REFERENCES and sampler == create(name):
        reference: Reference = REFERENCES[name](temperature, objective)
        error = np.hypot(mean_error, reference.mean_error)
        yield check("mean of its formula", mean - reference.mean, error, slack)
        if reference.variance is not None:
            difference = np.array([report.variance - reference.variance])
            spread = np.array([np.hypot(report.variance_standard_error, reference.variance_error)])
            yield check("variance of its formula", difference, spread, ROUNDING * reference.variance + 1e-12)


def _is_in_the_claims_terms(sampler: samplers.Sampler) -> bool:
    """False where a claim speaks of values of the categories, and they are not the scores that objectives take."""
    return sampler.unbiased != "quadratic in the values" or getattr(sampler, "values", None) == tuple(SCORES)


def in_standard_errors(difference: np.ndarray, error: np.ndarray, slack: float | np.ndarray) -> np.ndarray:
    """|difference| beyond the slack in units of its standard error; 0 within the slack, infinite without an error."""
    beyond = np.maximum(np.abs(difference) - slack, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Not `beyond > 0`: NaN is no agreement.
        return np.where(beyond == 0, 0.0, beyond / error)


def bound(number: int) -> float:
    """The |z| that the largest of `number` normal variables exceeds once in a million times at most (Bonferroni)."""
    from scipy import stats

    return float(stats.norm.isf(FALSE_FAILURE_RATE / 2 / max(1, number)))


def failures(found: Iterable[Check]) -> list[Check]:
    """The checks that do not hold, all of a run being tested together; NaN does not hold."""
    found = list(found)
    limit = bound(sum(check.errors.size for check in found))
    return [check for check in found if not (check.errors <= limit).all()]
