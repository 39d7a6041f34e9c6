"""Polynomial programming: 128 coins that should all come up 0, trained by each estimator.

    minimise E |z - 0.45|^p over independent coins z, p = 1.5, 2, 3 side by side

The task of Tucker et al. (2017) as Liu et al. (2023, arXiv 2304.08612) set it: 128 pairs of logits from
U(-0.01, 0.01), batches of 64, Adam with learning rate 0.001, 40 epochs of 200 steps. The optimum is 0.45^p.
Straight-through stops at the probability q at which its mean gradient q 0.55^(p - 1) - (1 - q) 0.45^(p - 1) is 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from rlsample import ops, samplers

COINS, BATCH, STEPS, EPOCHS, LEARNING_RATE = 128, 64, 200, 40, 1e-3
TARGET = 0.45
EXPONENTS = np.array([1.5, 2.0, 3.0])


class Course(NamedTuple):
    """Losses of a training run, mean over each epoch's steps.

    Attributes:
        discrete: the exact expectation, float64 `[epochs, 3 exponents, 128 coins]`.
        surrogate: the mean of the objective at the samples, `[epochs, 3]`: of relaxed ones if the sampler relaxes.
    """

    discrete: np.ndarray
    surrogate: np.ndarray


def expected_loss(probability: Any, exponents: Any = EXPONENTS) -> Any:
    """E |z - 0.45|^p for coins with that probability of 1."""
    return probability * (1 - TARGET) ** exponents + (1 - probability) * TARGET**exponents


def straight_through_plateau(exponents: np.ndarray = EXPONENTS) -> np.ndarray:
    """The loss at the fixed point of the mean straight-through gradient at temperature 1."""
    up, down = (1 - TARGET) ** (exponents - 1), TARGET ** (exponents - 1)
    return expected_loss(down / (up + down), exponents)


def noisy_plateau(temperature: float, relaxed: bool) -> np.ndarray:
    """The loss at the fixed point of the mean (straight-through) Gumbel-softmax gradient, by quadrature.

    Returns:
        `[2, 3 exponents]`: the expectation over coins, and that over the relaxed samples.
    """
    uniform = (np.arange(200_000) + 0.5) / 200_000
    noise = np.log(uniform) - np.log1p(-uniform)

    def at(margin: float, exponent: float) -> tuple[float, float, float]:
        sample = 1 / (1 + np.exp(-(margin + noise) / temperature))
        seen = sample if relaxed else np.round(sample)
        slope = exponent * np.abs(seen - TARGET) ** (exponent - 1) * np.sign(seen - TARGET)
        gradient = np.mean(sample * (1 - sample) * slope) / temperature
        loss = expected_loss(1 / (1 + np.exp(-margin)), exponent)
        return float(gradient), loss, float(np.mean(np.abs(sample - TARGET) ** exponent))

    plateaus = []
    for exponent in EXPONENTS:
        low, high = -5.0, 5.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (low, middle) if at(middle, exponent)[0] > 0 else (middle, high)
        plateaus.append(at(low, exponent)[1:])
    return np.array(plateaus).T


def exact_course(seed: int = 0, epochs: int = EPOCHS) -> np.ndarray:
    """The losses of Adam on the exact gradient, written out in NumPy: `[epochs, 3]`."""
    logits = _initial(seed)
    first, second, losses = np.zeros_like(logits), np.zeros_like(logits), []
    slope = (1 - TARGET) ** EXPONENTS - TARGET**EXPONENTS
    for step in range(1, epochs * STEPS + 1):
        probability = 1 / (1 + np.exp(logits[..., 1] - logits[..., 0]))
        losses.append(expected_loss(probability, EXPONENTS[:, None]).mean(-1))
        gradient = probability * (1 - probability) * slope[:, None] / COINS
        gradient = np.stack([gradient, -gradient], -1)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        root = np.sqrt(second / (1 - 0.999**step)) + 1e-8
        logits -= LEARNING_RATE * first / (1 - 0.9**step) / root
    return np.array(losses).reshape(epochs, STEPS, -1).mean(1)


def _initial(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.01, 0.01, (len(EXPONENTS), COINS, 2))


def train(config: str | dict[str, Any], temperature: float = 1.0, epochs: int = EPOCHS, seed: int = 0) -> Course:
    """Trains the coins of all three exponents, as rows of one compiled program.

    The objective is that of all 128 coins together, so that an estimator that sees only its value has to tell them
    apart. `exact`, which cannot list 2^128 outcomes, takes them one by one, without a batch; `leave_one_out` makes one
    group of the batch.
    """
    sampler = samplers.create(config)
    logits = tf.Variable(_initial(seed).astype(np.float32))
    optimizer = keras.optimizers.Adam(LEARNING_RATE, epsilon=1e-8)
    optimizer.build([logits])
    rows = [] if sampler.name in ("exact", "leave_one_out") else [BATCH]
    exponents = tf.constant(EXPONENTS[:, None], tf.float32)

    def objective(one_hot: tf.Tensor) -> tf.Tensor:
        losses = tf.abs(one_hot[..., 0] - TARGET) ** exponents
        return losses if sampler.name == "exact" else tf.reduce_mean(losses, -1)

    @tf.function(jit_compile=True)
    def epoch(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        discrete, surrogate = tf.zeros([len(EXPONENTS), COINS]), tf.zeros([len(EXPONENTS)])
        for step in tf.range(STEPS):
            child = ops.fold_in(ops.fold_in((seed, 7), number), step)
            with tf.GradientTape() as tape:
                copies = tf.broadcast_to(logits, [*rows, *logits.shape])
                value = sampler.expectation(objective, copies, child, temperature=temperature)
                value = tf.reduce_mean(value, -1) if sampler.name == "exact" else value
                loss = tf.reduce_mean(tf.reshape(value, [-1, len(EXPONENTS)]), 0)
                total = tf.reduce_sum(loss)
            discrete += tf.cast(expected_loss(ops.softmax(logits)[..., 0], exponents), tf.float32) / STEPS
            surrogate += loss / STEPS
            optimizer.apply(tape.gradient(total, [logits]), [logits])
        return discrete, surrogate

    courses = [epoch(tf.constant(number)) for number in range(epochs)]
    discrete, surrogate = zip(*courses, strict=True)
    return Course(np.array(discrete, np.float64), np.array(surrogate, np.float64))
