"""Draws why argmax has no gradient, and what a temperature does about it.

python -m scripts.pictures --folder docs/images
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rlsample import ops, samplers

TEMPERATURES = (1.0, 0.3, 0.1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.pictures", description="Draws the pictures of the docs.")
    parser.add_argument("--folder", type=Path, default=Path("docs/images"))
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    draw_argmax_jump(options.folder / "argmax.png")
    return 0


def first_weight(difference: np.ndarray, temperature: float) -> np.ndarray:
    """Weight of the first of two categories in softmax([x1, x2] / temperature), against x1 - x2."""
    logits = np.stack([difference, np.zeros_like(difference)], -1).astype(np.float32)
    return samplers.create("softmax")(logits, (0, 0), temperature=temperature).one_hot.numpy()[:, 0]


def draw_argmax_jump(path: Path) -> None:
    """Draws the first entry of argmax's one-hot against x1 - x2: a jump at x1 = x2, flat elsewhere; and softmax's."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    difference = np.linspace(-2, 2, 401)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
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
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="upper left")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
