"""One coin: E (b - t)^2 for b ~ Bernoulli(sigmoid(theta)), means and variances of one-sample gradients to theta.

The toy of Tucker et al. (2017), with t = 0.45, and of Grathwohl et al. (2018), with t = 0.499.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rlsample import lab, samplers

from .comparison import Comparison

TARGETS = np.array([0.45, 0.45, 0.499, 0.499])
THETAS = np.array([0.0, -2.0, 0.0, -2.0])
PROBS = 1 / (1 + np.exp(-THETAS))
SETTING = "t, theta = (.45, 0) (.45, -2) (.499, 0) (.499, -2)"

EXACT = np.array([0.025, 0.01049936, 0.0005, 0.00020999])
# Published variances, and half a unit of their last digit.
VARIANCES: dict[str, tuple[list[float], list[float]]] = {
    "score_function": ([1.594e-2, 8.865e-3, 1.5625e-2, 6.602e-3], [5e-6, 5e-7, 5e-7, 5e-7]),
    "score_function, baseline E f": ([0, 6.09e-4, 0, 2.44e-7], [0, 5e-7, 0, 5e-10]),
    "leave_one_out": ([6.25e-4, 4.15e-4, 2.5e-7, 1.66e-7], [5e-7, 5e-7, 5e-9, 5e-10]),
    "arsm": ([2.08e-4, 3.55e-4, 8.33e-8, 1.42e-7], [5e-7, 5e-7, 5e-11, 5e-10]),
    "disarm": ([0, 3.52e-4, 0, 1.41e-7], [1e-12, 5e-7, 1e-12, 5e-10]),
    "rebar": ([2.26e-2, 1.33e-2, 2.23e-2, 1.19e-2], [5e-5, 5e-5, 5e-5, 5e-5]),
    "straight_through": ([0.0625, 4.6e-3, 0.0625, 4.6e-3], [5e-5, 5e-5, 5e-5, 5e-5]),
    "reinmax": ([0.0625, 0.0304, 0.0625, 0.0263], [5e-5, 5e-5, 5e-5, 5e-5]),
}
# Those of a million draws: variances of REBAR, means of the Gumbel-softmax. The third mean of each is known roughly.
PUBLISHED_DRAWS = 1_000_000
MEANS: dict[str, tuple[float, list[float], list[float]]] = {
    "straight_through": (1.0, [0.025, -0.0695, 0.0005, -0.0798], [5e-5, 5e-5, 5e-5, 5e-5]),
    "gumbel_softmax": (0.5, [0.0213, -0.0224, 0.0003, -0.0335], [5e-5, 5e-5, 5e-5, 5e-5]),
    "straight_through_gumbel_softmax": (0.5, [0.0211, -0.0372, 0.0, -0.0484], [5e-5, 5e-5, 5e-4, 5e-5]),
}
COURSE_STEPS = (100, 500, 1000, 2000, 5000, 10000)
COURSES = {
    0.499: [0.2495520, 0.2490858, 0.2490289, 0.2490092, 0.2490020, 0.2490011],
    0.45: [0.2300519, 0.2067392, 0.2038952, 0.2029092, 0.2025513, 0.2025037],
}


def compare(draws: int, seed: int) -> list[Comparison]:
    """Measures all of it: means, variances, and the course of Adam on the exact gradient."""
    rows = [_course()]
    for number, (name, (published, halves)) in enumerate(VARIANCES.items()):
        means, mean_errors, variances, errors = _moments(name, 1.0, draws, (seed, number))
        if name != "straight_through":
            rows.append(Comparison(f"mean of {name}", means, mean_errors, EXACT, slack=6e-9))
        theirs = errors * np.sqrt(draws / PUBLISHED_DRAWS) if name == "rebar" else 0.0
        slack = np.array(halves) + 1e-12
        rows.append(Comparison(f"variance of {name}", variances, errors, published, theirs, slack))
        derived = derived_variance(name)
        if derived is not None:
            slack = 1e-5 * derived + 1e-12
            rows.append(Comparison(f"variance of {name}", variances, errors, derived, slack=slack, source="derived"))
    for number, (name, (temperature, published, halves)) in enumerate(MEANS.items()):
        means, errors, _, _ = _moments(name, temperature, draws, (seed, 100 + number))
        theirs = errors * np.sqrt(draws / PUBLISHED_DRAWS) if temperature != 1 else 0.0
        label = f"mean of {name} at {temperature:g}"
        rows.append(Comparison(label, means, errors, published, theirs, np.array(halves)))
        if temperature != 1:
            derived = quadrature_mean(temperature, relaxed=name == "gumbel_softmax")
            rows.append(Comparison(label, means, errors, derived, slack=1e-7, source="derived"))
    return rows


def _moments(name: str, temperature: float, draws: int, seed: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Means and variances of the gradient to theta, each with its standard errors, `[4]`."""
    targets = tf.constant(TARGETS)
    # A constant taken off the objective is a baseline.
    baseline = PROBS * (1 - TARGETS) ** 2 + (1 - PROBS) * TARGETS**2 if "baseline" in name else np.zeros(4)
    gradients, _ = lab.sample_gradients(
        name.partition(",")[0],
        lambda one_hot: (one_hot[..., 1] - targets) ** 2 - tf.constant(baseline),
        np.stack([np.zeros(4), THETAS], -1),
        draws,
        seed,
        temperature=temperature,
    )
    reports = [lab.Audit.of(gradients[:, setting, 1:], np.zeros(1)) for setting in range(4)]
    return (
        np.array([report.mean[0] for report in reports]),
        np.array([report.mean_standard_error[0] for report in reports]),
        np.array([report.variance for report in reports]),
        np.array([report.variance_standard_error for report in reports]),
    )


def derived_variance(name: str) -> np.ndarray | None:
    """Closed forms, by enumeration of the coin; ARM's, which ARSM is for a coin, by quadrature. None for REBAR."""
    one, zero, spread = (1 - TARGETS) ** 2, TARGETS**2, PROBS * (1 - PROBS)
    # The gradient if the coin came up 1, and if 0.
    by_coin: dict[str, tuple[Any, Any]] = {
        "score_function": (one * (1 - PROBS), -zero * PROBS),
        "score_function, baseline E f": ((one - zero) * (1 - PROBS) ** 2, (one - zero) * PROBS**2),
        "straight_through": (spread * 2 * (1 - TARGETS), spread * -2 * TARGETS),
        "reinmax": ((1 - TARGETS) * (spread + (1 - PROBS) ** 2), -TARGETS * (spread + PROBS**2)),
    }
    if name in by_coin:
        first, second = by_coin[name]
        return spread * (first - second) ** 2
    if name == "leave_one_out":
        return (1 - 2 * TARGETS) ** 2 * spread * (0.5 - spread)
    if name == "disarm":
        # The two draws differ twice as often as the rarer side comes up, and then the gradient is always the same.
        rarer = np.minimum(PROBS, 1 - PROBS)
        return ((one - zero) * (1 - rarer) / 2) ** 2 * 2 * rarer * (1 - 2 * rarer)
    if name == "arsm":
        uniform = (np.arange(1_000_000) + 0.5)[:, None] / 1_000_000
        values = np.where(uniform > 1 - PROBS, one, zero) - np.where(uniform < PROBS, one, zero)
        return np.var(values * (uniform - 0.5), axis=0)
    return None


def quadrature_mean(temperature: float, relaxed: bool) -> np.ndarray:
    """Mean gradient of the (straight-through) Gumbel-softmax over its logistic noise."""
    uniform = (np.arange(1_000_000) + 0.5)[:, None] / 1_000_000
    sample = 1 / (1 + np.exp(-(THETAS + np.log(uniform) - np.log1p(-uniform)) / temperature))
    seen = sample if relaxed else np.round(sample)
    return np.mean(sample * (1 - sample) * 2 * (seen - TARGETS), axis=0) / temperature


def _course() -> Comparison:
    """Losses of Adam with learning rate 0.01 on the exact gradient, both targets in one program."""
    targets = tf.constant(list(COURSES), tf.float64)
    theta = tf.Variable(np.zeros(len(COURSES)))
    optimizer = keras.optimizers.Adam(0.01, epsilon=1e-8)
    optimizer.build([theta])
    exact = samplers.create("exact")

    @tf.function(jit_compile=True)
    def losses() -> tf.Tensor:
        found = tf.zeros([COURSE_STEPS[-1], len(COURSES)], tf.float64)
        for step in tf.range(COURSE_STEPS[-1]):
            with tf.GradientTape() as tape:
                logits = tf.stack([tf.zeros_like(theta), theta], -1)
                loss = exact.expectation(lambda one_hot: (one_hot[..., 1] - targets) ** 2, logits, (0, 0))
                total = tf.reduce_sum(loss)
            optimizer.apply(tape.gradient(total, [theta]), [theta])
            after = tf.sigmoid(theta) * (1 - 2 * targets) + targets**2
            found = tf.tensor_scatter_nd_update(found, [[step]], [after])
        return found

    ours = losses().numpy()[np.array(COURSE_STEPS) - 1].T.ravel()
    # Published to seven digits from single precision, it seems: two units of the last.
    known = np.concatenate(list(COURSES.values()))
    return Comparison("loss of exact, Adam", ours, np.zeros_like(ours), known, slack=2e-7)
