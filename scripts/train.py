"""Trains an agent from a configuration.

    python -m scripts.train agents/configs/cartpole.yaml sampler=reinmax temperature.start=2.0 --run-dir runs/mine
    python -m scripts.train --resume runs/mine total_steps=60000

Ends with 0 when it trained to the end, with 1 when it failed (environment, disk, divergence), with 2 when what it was
given cannot be used, and with 130 or 143 when Ctrl-C or SIGTERM stopped it, after saving what it had learned. A failure
is told in a few lines: what happened, what is kept, how to go on; its traceback goes to the run folder. An environment
that hangs is a failure after `env.step_seconds`, and some seconds after a signal.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from rlsample.rollouts.environments import guard, hanging
from rlsample.rollouts.environments.faults import EnvironmentFault
from rlsample.runs import ConfigError, RunConfig, RunFolderError, config_to_yaml, load_config, load_resumed
from rlsample.runs.agents import Agents, import_modules
from rlsample.runs.loading import check_config
from rlsample.runs.numbers import shown
from rlsample.runs.run_folder import CONFIG, PICTURE, TRACEBACK, check_free
from rlsample.runs.scale_config import check_scale
from rlsample.runs.tracking import check_packages

from .arguments import add_import_option, import_words, move_modules, spoken
from .catalogue import known_agents
from .console import protect_output
from .fields import fields_help

if TYPE_CHECKING:
    from rlsample.rollouts.evaluation import Evaluation
    from rlsample.runs import Run


def main(arguments: Sequence[str] | None = None, agents: Agents | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = command_line()
    options = parser.parse_intermixed_args(arguments)
    agents, run = agents or known_agents(), None
    words, imports = move_modules(options.words, options.imports)
    try:
        import_modules(imports)
        if options.help:
            print(parser.format_help(), fields_help(words, agents), sep="\n")
            return 0
        path, words = _source(options, words)
        checked = check_config(path, words, agents=agents, inherit=options.resume is None)
        check_packages(checked.tracking)
        check_scale(checked.scale)
        if options.run_dir is not None:
            check_free(options.run_dir)
        from rlsample.runs.training import carry_out, fit  # Loads TensorFlow: all that can be told without has been.

        config, policy = fit(_load(options, path, words, agents), agents)
        print(config_to_yaml(config))
        print(f"The policy has {policy.model.count_params():,} parameters. {config.env.note}".strip(), flush=True)
        run = _open(options, path, config)
        hanging.end_process = functools.partial(_end, run, imports)
        outcome = carry_out(run, agents)
    except (ConfigError, RunFolderError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if run is None and not isinstance(error, EnvironmentFault):
            raise
        print(_failure(error, run, imports), file=sys.stderr)
        if options.traceback:
            traceback.print_exc()
        return 1 if run is None else run.exit_code or 1
    finally:
        hanging.end_process = hanging.say_that_it_cannot_be_interrupted
    _show(run, outcome, imports)
    return run.exit_code


def _end(run: Run, imports: list[str], reason: str) -> None:
    """Ends the process, whose main thread hangs where it cannot be interrupted."""
    outside = f"{reason} It hangs outside of Python, so that the process is ended."
    text = f"{outside} {guard.hanging_in(threading.main_thread())}"
    print(_failure(EnvironmentFault(text), run, imports), file=sys.stderr, flush=True)
    os._exit(run.exit_code or 1)


def _failure(error: Exception, run: Run | None, imports: list[str]) -> str:
    """What a person needs to know of a run that failed."""
    known = isinstance(error, (EnvironmentFault, ValueError, OSError))
    lines = [str(error) if known else f"{type(error).__name__}: {error}"]
    if run is None or not run.folder.is_dir():
        return lines[0]
    lines.append(f"The run failed after {run.step:,} steps.")
    if run.saved_step is not None:
        again = " ".join([spoken("train"), "--resume", str(run.folder), *import_words(imports)])
        lines.append(f"What it had learned after {run.saved_step:,} is kept. To go on from there: {again}")
    try:
        (run.folder / TRACEBACK).write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        lines.append(f"The traceback is in {run.folder / TRACEBACK}.")
    except OSError as problem:
        lines.append(f"The traceback could not be written ({problem.strerror}); --traceback shows it.")
    return "\n".join(lines)


def _source(options: argparse.Namespace, words: list[str]) -> tuple[Path, list[str]]:
    """The file of the configuration, and the words that are laid over it."""
    if options.resume is not None:
        if options.run_dir is not None:
            raise ConfigError("Expected --resume RUN or --run-dir RUN, not both: a run goes on in its own folder.")
        return options.resume / CONFIG, words
    if not words:
        raise ConfigError("Expected a configuration, such as cartpole, or --resume RUN. Received: neither.")
    return Path(words[0]), words[1:]


def _load(options: argparse.Namespace, path: Path, words: list[str], agents: Agents) -> RunConfig:
    load = load_config if options.resume is None else load_resumed
    return load(path, words, agents=agents)


def _open(options: argparse.Namespace, path: Path, config: RunConfig) -> Run:
    from rlsample.runs import Run

    if options.resume is not None:
        return Run(options.resume, config, resume=True)
    return Run(options.run_dir or _default_folder(path, config), config)


def command_line() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(prog=spoken("train"), description="Trains an agent.", add_help=False)
    parser.add_argument(
        "-h", "--help", action="store_true", help="show this, and every field of CONFIG with its default and choices"
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="CONFIG key=value",
        help="a YAML file, or a name such as cartpole, and what is laid over it: sampler=reinmax temperature.start=2.0",
    )
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="RUN",
        help="go on with the run in this folder; takes total_steps=N, no CONFIG",
    )
    parser.add_argument("--run-dir", type=Path, help="where the run goes; by default a new folder in runs/")
    parser.add_argument("--traceback", action="store_true", help="show the traceback of a failure, too")
    add_import_option(parser)
    return parser


def _default_folder(path: Path, config: RunConfig) -> Path:
    return Path("runs") / f"{path.stem}-{config.sampler.name}-seed{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}"


def _show(run: Run, outcome: Evaluation | None, imports: list[str]) -> None:
    title = "stopped early" if run.stopping else "trained"
    table = Table(show_header=False, title=title, title_justify="left", box=None)
    if outcome is not None:
        kind = "deterministic" if run.config.evaluation.deterministic else "sampled"
        table.add_row("return", f"{shown(outcome.mean_return)} ± {shown(outcome.std_return)}")
        table.add_row("over", f"{outcome.episodes} {kind} episodes")
    table.add_row("steps", f"{run.step:,}")
    table.add_row("run folder", str(run.folder))
    table.add_row("picture", str(run.folder / PICTURE))
    again = " ".join([spoken("evaluate"), str(run.folder), *import_words(imports)])
    table.add_row("again", again)
    if run.stopping:
        table.add_row("go on", " ".join([spoken("train"), "--resume", str(run.folder), *import_words(imports)]))
    # Wide enough for every path: one that was cut short, or broken into lines by a table, could not be copied.
    Console(width=max(Console().width, 2 * len(again)), soft_wrap=True).print(table)


if __name__ == "__main__":
    protect_output()
    sys.exit(main())
