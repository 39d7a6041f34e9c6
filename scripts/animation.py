"""Plays the policy of a run beside the same policy before it was trained, and writes both as an animated picture.

    python -m scripts.train short_horizon_cartpole --run-dir runs/shown
    python -m scripts.animation runs/shown docs/images/cartpole.gif

The environment has to draw itself as `rgb_array`; those written in TensorFlow do, without another package.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import gymnasium as gym
import numpy as np

if TYPE_CHECKING:
    from rlsample.rollouts.evaluation import SupportsAct

GAP = 4
"""White pixels between the two."""

SAMPLED = 8
"""Frames whose colours are looked at."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.animation", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, help="the folder of a run")
    parser.add_argument("picture", type=Path, help="the GIF to write")
    parser.add_argument("--steps", type=int, default=200, help="environment steps that are shown; by default 200")
    parser.add_argument("--every", type=int, default=2, help="steps from one frame to the next; by default 2")
    parser.add_argument("--shrink", type=int, default=2, help="how many pixels become one, each way; by default 2")
    parser.add_argument("--seed", type=int, default=0, help="of the environment")
    options = parser.parse_args(arguments)
    from rlsample import runs
    from rlsample.runs.agents import make_policy

    from .catalogue import known_agents

    run, agents = runs.load(options.run), known_agents()
    untrained = make_policy(agents.module(run.config.agent.name), run.config)
    env = gym.make(run.config.env.id, render_mode="rgb_array", **run.config.env.kwargs)
    shown = [play(policy, env, options.steps, options.seed)[:: options.every] for policy in (untrained, run.policy)]
    frames = [beside(*pair)[:: options.shrink, :: options.shrink] for pair in zip(*shown, strict=True)]
    write(frames, options.picture, 1000 * options.every // env.metadata["render_fps"])
    env.close()
    print(f"{options.picture}: {len(frames)} frames, {options.picture.stat().st_size:,} bytes")
    return 0


def play(policy: SupportsAct, env: gym.Env, steps: int, seed: int) -> list[np.ndarray]:
    """What so many steps look like, uint8 `[H, W, 3]` each; an episode that has ended stands still, half as bright."""
    observation, _ = env.reset(seed=seed)
    frames = [np.asarray(env.render())]
    for _ in range(steps - 1):
        observation, _, terminated, truncated, _ = env.step(policy.act(observation))
        frames.append(np.asarray(env.render()))
        if terminated or truncated:
            break
    return frames + [frames[-1] // 2 + 127] * (steps - len(frames))


def beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two pictures of one height with a gap between them."""
    return np.concatenate([left, np.full((len(left), GAP, 3), 255, np.uint8), right], 1)


def write(frames: list[np.ndarray], path: Path, milliseconds: int) -> None:
    """Writes an animation that repeats for ever, in few colours: those of some frames all over it."""
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in frames]
    some = [frames[index] for index in np.linspace(0, len(frames) - 1, SAMPLED).astype(int)]
    colours = Image.fromarray(np.concatenate(some, 0)).quantize(32)
    made = [picture.quantize(palette=colours, dither=Image.Dither.NONE) for picture in pictures]
    path.parent.mkdir(parents=True, exist_ok=True)
    made[0].save(path, save_all=True, append_images=made[1:], duration=milliseconds, loop=0, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
