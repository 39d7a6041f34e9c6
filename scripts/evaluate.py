"""Evaluates the policy of a run folder.

    python -m scripts.evaluate runs/mine --episodes 100 --video
    python -m scripts.evaluate runs/mine env=rlsample/CartPole-v1

Ends with 0, with 1 when the environment failed, or with 2 when the folder holds no run that can be evaluated so.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import gymnasium

from rlsample.rollouts.environments.faults import EnvironmentFault
from rlsample.runs import ConfigError, RunConfig, load_config
from rlsample.runs.agents import Agents, import_modules, make_policy
from rlsample.runs.loading import check_config
from rlsample.runs.numbers import shown
from rlsample.runs.run_folder import CHECKPOINT, CONFIG

from .arguments import add_import_option, move_modules, spoken, whole_number
from .catalogue import known_agents

if TYPE_CHECKING:
    from rlsample.rollouts.evaluation import SupportsAct

LARGEST_SEED = 2**31 - 1
VIDEO_HINT = "Install the extra `video`: pip install 'rlsample[video]'"


def main(arguments: Sequence[str] | None = None, agents: Agents | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = command_line().parse_intermixed_args(arguments)
    agents = agents or known_agents()
    try:
        options.words, options.imports = move_modules(options.words, options.imports)
        import_modules(options.imports)
        check_config(options.run / CONFIG, options.words, agents=agents, inherit=False)
        if options.video and importlib.util.find_spec("moviepy") is None:
            raise ConfigError(f"A video needs moviepy. {VIDEO_HINT}")
        return _evaluate(options, agents)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except EnvironmentFault as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _evaluate(options: argparse.Namespace, agents: Agents) -> int:
    # These load TensorFlow: all that can be told without has been.
    from rlsample.runs import evaluate
    from rlsample.runs.checkpoint import CheckpointError
    from rlsample.runs.checkpoint import load as load_weights

    try:
        config = load_config(options.run / CONFIG, options.words, agents=agents, inherit=False)
        policy = make_policy(agents.module(config.agent.name), config)
        step = load_weights(options.run / CHECKPOINT, model=policy.model)
        # First, so that a video that cannot be made is not told after all episodes were played.
        video = _record(policy, config, options.run / "video", options.seed) if options.video else None
        outcome = evaluate(policy, config, episodes=options.episodes, seed=options.seed)
        print(
            f"{config.env.id} after {step:,} steps: "
            f"return {shown(outcome.mean_return)} ± {shown(outcome.std_return)} over {outcome.episodes} episodes"
        )
        if video is not None:
            print(video)
            _keep(video, config, options.run, step)
    except CheckpointError as error:
        print(error, file=sys.stderr)
        if options.words:
            changed = "a network of its own and an environment of the same spaces"
            print(f"Expected what was trained: {changed}. Received: {' '.join(options.words)}.", file=sys.stderr)
        return 2
    return 0


def command_line() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(prog=spoken("evaluate"), description="Evaluates a run.")
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument(
        "words",
        nargs="*",
        metavar="key=value",
        help="laid over the configuration of the run: env=rlsample/CartPole-v1 plays there what has the same spaces",
    )
    parser.add_argument("--episodes", type=whole_number(1), help="how many to play; by default as in the run")
    parser.add_argument(
        "--seed", type=whole_number(0, LARGEST_SEED), help="of the environments; by default from the run's"
    )
    parser.add_argument("--video", action="store_true", help="record one episode into the run folder")
    add_import_option(parser)
    return parser


def _record(policy: SupportsAct, config: RunConfig, folder: Path, seed: int | None) -> Path:
    """Plays one episode in front of a camera; returns the path of the video."""
    from rlsample.runs import evaluate

    def film(env: gymnasium.Env) -> gymnasium.Env:
        return gymnasium.wrappers.RecordVideo(env, str(folder), episode_trigger=lambda episode: episode == 0)

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*Overwriting existing videos")
            evaluate(
                policy,
                config,
                episodes=1,
                seed=seed,
                num_envs=1,
                vectorization_mode="sync",
                render_mode="rgb_array",
                wrappers=[film],
            )
    except gymnasium.error.DependencyNotInstalled as error:
        raise ConfigError(f"{error} {VIDEO_HINT}") from error
    except (gymnasium.error.Error, TypeError, ValueError) as error:
        raise ConfigError(f"{config.env.id} cannot be recorded: {error}") from error
    return next(folder.glob("*.mp4"))


def _keep(video: Path, config: RunConfig, folder: Path, step: int) -> None:
    """Keeps the video with Weights & Biases, in the group of the run, if artifacts are asked for."""
    from rlsample.runs.wandb_tracker import open_wandb

    tracker = open_wandb(config, folder, print, job_type="evaluation") if config.tracking.artifacts else None
    if tracker is not None:
        tracker.keep("video", step, [video])
        tracker.close()


if __name__ == "__main__":
    sys.exit(main())
