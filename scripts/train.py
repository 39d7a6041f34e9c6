"""Trains an agent from a configuration.

    python -m scripts.train agents/configs/cartpole.yaml sampler=reinmax temperature.start=2.0 --run-dir runs/mine

Ends with 0 when it trained to the end, with 1 when the environment failed, with 2 when what it was given cannot
be used, and with 130 or 143 when Ctrl-C or SIGTERM stopped it, after saving what it had learned.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rlsample.rollouts.environment_faults import EnvironmentFault
from rlsample.rollouts.evaluation import Evaluation
from rlsample.runs import ConfigError, Run, RunConfig, RunFolderError, config_to_yaml, load_config
from rlsample.runs.agents import Agents, import_modules, make_policy
from rlsample.runs.describe import help_text
from rlsample.runs.numbers import shown
from rlsample.runs.run import PICTURE
from scripts.arguments import add_import_option, import_words, move_modules
from scripts.catalogue import known_agents


def main(arguments: Sequence[str] | None = None, agents: Agents | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = _parser().parse_intermixed_args(arguments)
    agents = agents or known_agents()
    words, imports = move_modules(options.overrides, options.imports)
    try:
        import_modules(imports)
        config = load_config(options.config, words, agents=agents)
        agent = agents.module(config.agent.name)
        make_policy(agent, config)
        with Run(options.run_dir or _default_folder(options.config, config), config) as run:
            print(config_to_yaml(config), flush=True)
            outcome = run.finish(agent.train(config, run))
    except (ConfigError, RunFolderError) as error:
        print(error, file=sys.stderr)
        return 2
    except EnvironmentFault as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    _show(run, outcome, imports)
    return run.exit_code


class _Parser(argparse.ArgumentParser):
    """Shows every field of a configuration below its own help, which importing the agents takes."""

    def format_help(self) -> str:
        """The help text."""
        agents = known_agents()
        blocks = [f"fields of the agent {name}:\n{help_text(agents[name], 'agent.')}" for name in agents]
        return "\n\n".join([super().format_help(), f"fields of a configuration:\n{help_text(RunConfig)}", *blocks, ""])


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m scripts.train",
        description="Trains an agent.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, help="a YAML file, such as agents/configs/cartpole.yaml")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="laid over the file: sampler=reinmax temperature.start=2.0"
    )
    parser.add_argument("--run-dir", type=Path, help="where the run goes; by default a new folder in runs/")
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
    again = " ".join(["python -m scripts.evaluate", str(run.folder), *import_words(imports)])
    table.add_row("again", again)
    # Wide enough for every path: one that was cut short, or broken into lines by a table, could not be copied.
    Console(width=max(Console().width, 2 * len(again)), soft_wrap=True).print(table)


if __name__ == "__main__":
    sys.exit(main())
