"""Draws the pictures of the documentation's concepts, all of them from what the library computes.

python -m scripts.pictures --folder docs/images
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf

from rlsample import lab, networks, ops, samplers
from rlsample.learning.critics import ConcatenatingCritic, chord_loss

TEMPERATURES = (1.0, 0.3, 0.1)
LOGITS = np.array([0.0, 1.0, 2.0], np.float32)
WORTH = (1.0, 0.0, 4.0)
"""The policy, and what its actions are worth, of the pictures that compare estimators."""
ESTIMATORS = ("straight_through", "straight_through_gumbel_softmax", "reinmax", "leave_one_out")
ANNEALED = ("straight_through", "straight_through_gumbel_softmax", "gumbel_rao")
DRAWS = 20_000
GRID = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.pictures", description="Draws the pictures of the docs.")
    parser.add_argument("--folder", type=Path, default=Path("docs/images"))
    parser.add_argument("--only", choices=PICTURES, help="one of them")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in [options.only] if options.only else PICTURES:
        PICTURES[name](options.folder / f"{name}.png")
    return 0


def linear_worth(one_hot: tf.Tensor) -> tf.Tensor:
    """What an action is worth: `[..., 3]` -> `[...]`."""
    return tf.linalg.matvec(one_hot, tf.constant(WORTH, one_hot.dtype))


def squared_worth(one_hot: tf.Tensor) -> tf.Tensor:
    """The same squared, which has a curvature."""
    return linear_worth(one_hot) ** 2


def first_weight(difference: np.ndarray, temperature: float) -> np.ndarray:
    """Weight of the first of two categories in softmax([x1, x2] / temperature), against x1 - x2."""
    logits = np.stack([difference, np.zeros_like(difference)], -1).astype(np.float32)
    return samplers.create("softmax")(logits, (0, 0), temperature=temperature).one_hot.numpy()[:, 0]


def draw_argmax_jump(path: Path) -> None:
    """Draws the first entry of argmax's one-hot against x1 - x2: a jump at x1 = x2, flat elsewhere; and softmax's."""
    figure, (left, right) = panels(2, (10, 3.6))
    difference = np.linspace(-2, 2, 401)
    hard = 1 - ops.mode(np.stack([difference, np.zeros_like(difference)], -1)).numpy()
    left.plot(np.where(difference == 0, np.nan, difference), hard, color="black", label="argmax")
    right.plot(difference, np.zeros_like(difference), color="black", label="argmax: 0, undefined at the jump")
    for temperature in TEMPERATURES:
        weight = first_weight(difference, temperature)
        left.plot(difference, weight, label=f"softmax, temperature {temperature:g}")
        slope = weight * (1 - weight) / temperature
        right.plot(difference, slope, label=f"softmax, temperature {temperature:g}")
    left.set(title="weight of the first category", xlabel="x1 - x2")
    right.set(title="its derivative", xlabel="x1 - x2")
    right.set_ylim(top=4)
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=8, loc="upper left")
    save(figure, path)


def relaxed_draws(temperature: float, number: int = 1000) -> np.ndarray:
    """Draws of the Gumbel-softmax of the pictures' policy: `[number, 3]`."""
    logits = np.tile(LOGITS, (number, 1))
    return samplers.create("gumbel_softmax")(logits, (0, 1), temperature=temperature).one_hot.numpy()


def draw_simplex(path: Path) -> None:
    """Draws relaxed actions as points of a triangle whose corners are the one-hots, one panel a temperature."""
    figure, row = panels(len(TEMPERATURES), (10, 3.4))
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(0.75)]])
    for axes, temperature in zip(row, TEMPERATURES, strict=True):
        axes.plot(*corners[[0, 1, 2, 0]].T, color="black", linewidth=1)
        axes.plot(*(relaxed_draws(temperature) @ corners).T, ".", markersize=4, alpha=0.3)
        for corner, name, side in zip(corners, ("1", "2", "3"), ((-8, -12), (8, -12), (0, 6)), strict=True):
            axes.annotate(name, corner, side, textcoords="offset points", ha="center")
        axes.set(title=f"temperature {temperature:g}", aspect="equal")
        axes.axis("off")
    save(figure, path)


def estimates(sampler: str, number: int = 400) -> np.ndarray:
    """Gradients of E[objective] to the logits, one a row: `[number, 3]`."""
    return lab.sample_gradients(sampler, squared_worth, LOGITS, number, (0, 1), jit_compile=False)[0]


def draw_estimates(path: Path) -> None:
    """Draws single estimates by two of their components, with their mean and the exact gradient; a panel a sampler."""
    figure, row = panels(len(ESTIMATORS), (12, 3.4), sharex=True, sharey=True)
    exact = lab.exact_gradient(squared_worth, LOGITS[None]).numpy()[0]
    # Where many estimates are the same point, a little noise shows how many.
    jitter = np.random.default_rng(0).normal(scale=0.12, size=(2, 400))
    for axes, sampler in zip(row, ESTIMATORS, strict=True):
        points = estimates(sampler)[:, 1:].T
        axes.plot(*(points + jitter), ".", markersize=4, alpha=0.3, label="single estimates")
        axes.plot(*points.mean(1), "x", color="black", markersize=10, markeredgewidth=2, label="their mean")
        axes.plot(*exact[1:], "o", color="tab:red", markersize=12, fillstyle="none", label="exact gradient")
        axes.set(title=sampler, xlabel="to logit 2")
        axes.title.set_fontsize(9)
    row[0].set(ylabel="to logit 3")
    row[0].legend(frameon=False, fontsize=8)
    save(figure, path)


def draw_temperatures(path: Path) -> None:
    """Draws relative bias and relative noise against the temperature, for the linear objective."""
    figure, (left, right) = panels(2, (10, 3.6))
    for sampler in ANNEALED:
        reports = [
            lab.audit(sampler, linear_worth, LOGITS, temperature, DRAWS, jit_compile=False) for temperature in GRID
        ]
        left.plot(GRID, [report.relative_bias for report in reports], "o-", markersize=4, label=sampler)
        right.plot(GRID, [np.sqrt(report.relative_variance) for report in reports], "o-", markersize=4, label=sampler)
    left.set(title="relative bias", xlabel="temperature", ylim=(0, None))
    right.set(title="relative noise", xlabel="temperature", ylim=(0, None))
    right.legend(frameon=False, fontsize=8)
    save(figure, path)


def edge_values(chord_weight: float, steps: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """A critic's values from one action to another, and its slopes along that edge: `[101]` each.

    It has learned random values of four actions in each of 64 states; the edge is that of the first state.

    Args:
        chord_weight: of the loss that asks it to be straight.
        steps: of its training.
    """
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    states, worth = generator.normal(size=(64, 4)), generator.normal(size=64 * 4)
    rows = tf.constant(np.repeat(states, 4, 0), tf.float32)
    actions, others = tf.tile(tf.eye(4), [64, 1]), tf.tile(tf.roll(tf.eye(4), 1, 0), [64, 1])
    network = networks.create({"name": "mlp", "hidden_sizes": [64, 64], "activation": "relu"})
    critic = ConcatenatingCritic(network, gym.spaces.Box(-1, 1, (4,)), event_shape=(4,))
    optimizer = keras.optimizers.Adam(3e-3)

    @tf.function
    def learn(seed: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((critic(rows, actions) - tf.cast(worth, tf.float32)) ** 2)
            loss += chord_weight * chord_loss(critic, rows, actions, others, seed)
        optimizer.apply(tape.gradient(loss, critic.trainable_variables), critic.trainable_variables)

    for step in range(steps):
        learn(tf.constant([0, step]))
    weight = tf.linspace(0.0, 1.0, 101)
    with tf.GradientTape() as tape:
        tape.watch(weight)
        edge = tf.stack([1 - weight, weight, tf.zeros([101]), tf.zeros([101])], -1)
        values = critic(tf.tile(rows[:1], [101, 1]), edge)
    return values.numpy(), tape.gradient(values, weight).numpy()


def draw_critics(path: Path) -> None:
    """Draws critics along the edge between two actions, with their slopes at its ends."""
    figure, row = panels(2, (10, 3.6), sharey=True)
    weight = np.linspace(0, 1, 101)
    for axes, chord_weight, title in zip(row, (0.0, 1.0), ("trained on values", "and on the chord"), strict=True):
        values, slopes = edge_values(chord_weight)
        axes.plot([0, 1], values[[0, -1]], "--", color="grey", label="the chord")
        axes.plot(weight, values, label="the critic")
        axes.plot([0, 1], values[[0, -1]], "o", color="black", label="the two actions")
        for end in (0, -1):
            near = np.array([weight[end] - 0.15, weight[end] + 0.15])
            line = values[end] + slopes[end] * (near - weight[end])
            axes.plot(near, line, color="tab:red", label="its slope at an action" if end == 0 else None)
        axes.set(title=title, xlabel="weight of the second action")
    row[0].set(ylabel="value")
    row[0].legend(frameon=False, fontsize=8)
    save(figure, path)


def panels(number: int, size: tuple[float, float], **options: Any) -> tuple[Any, Any]:
    """A figure and its row of axes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, row = pyplot.subplots(1, number, figsize=size, layout="constrained", **options)
    for axes in row:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, row


def save(figure: Any, path: Path) -> None:
    """Writes a figure and forgets it."""
    from matplotlib import pyplot

    figure.savefig(path, dpi=110)
    pyplot.close(figure)


PICTURES: dict[str, Callable[[Path], None]] = {
    "argmax": draw_argmax_jump,
    "simplex": draw_simplex,
    "estimates": draw_estimates,
    "temperature": draw_temperatures,
    "critics": draw_critics,
}

if __name__ == "__main__":
    sys.exit(main())
