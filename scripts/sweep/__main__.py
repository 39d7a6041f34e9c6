"""Searches for good values of a configuration's keys.

    python -m scripts.sweep agents/configs/sweeps/cartpole.yaml trials=20 --jobs 2
    python -m scripts.sweep agents/configs/sweeps/cartpole.yaml --best total_steps=60000

The file names a configuration and ranges of its keys (docs/searching.md). Each trial is a run, made by `scripts.train`
in a process of its own. Ctrl-C ends the trials under way with a checkpoint; the same command goes on, and with a larger
`trials=` further. `--best` trains the best trial's configuration; other words are laid over it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rlsample.rollouts.environments.faults import EnvironmentFault
from rlsample.runs import ConfigError, RunConfig, RunFolderError, load_config, yaml_files
from rlsample.runs.agents import import_modules, make_policy
from rlsample.runs.loading import check_config, load_block
from rlsample.runs.run_folder import lock
from rlsample.runs.scale_config import check_scale
from rlsample.runs.shipped import SWEEPS, find_config
from rlsample.runs.tracking import check_packages

from .. import train
from ..arguments import add_import_option, import_words, move_modules, spoken, whole_number
from ..catalogue import known_agents
from ..console import protect_output
from ..engines import Launch, add_engine_options, launcher, scale_of
from ..processes import carry_out
from ..runs_on_disk import check_same
from ..tables import show
from ..variants import check_apart, own_words, words_of
from .picture import draw
from .ranges import Sweep
from .results import best_of_each, counts, study_of, table_of
from .search import Search, check_installed
from .trials import Trials
from .wandb_file import wandb_sweep

SAVED, PICTURE, STUDY = "sweep.yaml", "sweep.png", "study.yaml"


class Asked(NamedTuple):
    """What is asked for.

    Attributes:
        sweep: the ranges.
        config: the configuration that is varied.
        words: laid over it in every trial.
        folder: where the trials go.
        imports: modules to import first.
    """

    sweep: Sweep
    config: Path
    words: list[str]
    folder: Path
    imports: list[str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = command_line().parse_intermixed_args(arguments)
    words, imports = move_modules(options.words, options.imports)
    try:
        import_modules(imports)
        own, others = own_words(words, Sweep)
        file = find_config(options.file, SWEEPS)
        sweep = load_block(Sweep, file, own)
        config = Path(os.path.relpath(file.parent / sweep.config))
        folder = options.folder or Path("runs/sweeps") / file.stem
        asked = Asked(sweep, config, [*words_of(sweep.words), *others], folder, imports)
        scale_of(options)
        _check(asked)
        if options.wandb:
            return _write_wandb(asked)
        check_installed()
        if options.best:
            return _train_best(asked, options.run_dir)
        folder.mkdir(parents=True, exist_ok=True)
        held = lock(folder)
        try:
            with launcher(options) as launch:
                return _search(asked, options.jobs, launch)
        finally:
            os.close(held)
    except (ConfigError, RunFolderError) as error:
        print(error, file=sys.stderr)
        return 2
    except EnvironmentFault as error:
        print(error, file=sys.stderr)
        return 1


def _check(asked: Asked) -> None:
    """Tells what takes neither TensorFlow nor Optuna to know."""
    sweep, agents = asked.sweep, known_agents()
    each = [word for group in sweep.groups() for word in group.words]
    check_apart([*each, *sweep.ends()], ["seed=0"], "no search for the best of several seeds")
    check_apart([*asked.words, *each], sweep.ends(), "each key in one place")
    check_apart(asked.words, each, "each key in one place")
    for group in sweep.groups():
        for end in sweep.ends():
            checked = check_config(asked.config, [*asked.words, *group.words, end], agents=agents)
            check_packages(checked.tracking)
            check_scale(checked.scale)


def _check_fit(asked: Asked) -> RunConfig:
    """Tells, before the first trial, which ends of ranges agent, sampler or temperature refuse.

    Returns:
        The configuration of the first group.
    """
    agents, first = known_agents(), []
    for group in asked.sweep.groups():
        words = [*asked.words, *group.words]
        for end in asked.sweep.ends():
            load_config(asked.config, [*words, end], agents=agents)
        config = load_config(asked.config, words, agents=agents)
        make_policy(agents.module(config.agent.name), config)
        first.append(config)
    return first[0]


def _search(asked: Asked, jobs: int, launch: Launch) -> int:
    _check_saved(asked, asked.folder / SAVED)
    config = _check_fit(asked)
    (asked.folder / SAVED).write_text(_searched(asked), encoding="utf-8")
    if config.evaluation.every is None and asked.sweep.pruning != "none":
        print("No trial will end early: there is nothing to judge it by before its end. Set evaluation.every.")
    with Search(asked.folder, asked.sweep, config.seed) as search:
        trials = Trials(asked.folder, asked.config, asked.words, asked.sweep, search, config.evaluation.every)
        code = carry_out(
            trials.jobs(), jobs, ended=trials.ended, watch=trials.watch, imports=asked.imports, launch=launch
        )
        if code:
            print("Stopped early. The same command goes on.")
        else:
            _show(asked, search, config.seed)
    return code


def _searched(asked: Asked) -> str:
    """What is searched, all but how often: two calls with the same go on with one sweep."""
    configuration = yaml_files.override(yaml_files.read(asked.config), asked.words)
    sweep = asked.sweep.model_dump(mode="json", exclude={"trials", "config", "words"})
    return yaml_files.dump({"sweep": sweep, "configuration": configuration})


def _check_saved(asked: Asked, path: Path) -> None:
    """Raises ConfigError if the folder holds a sweep of something else; says which keys differ."""
    if path.exists():
        there = yaml_files.read(path, inherit=False)
        check_same("sweep", asked.folder, there, yaml_files.parse(_searched(asked), str(path)))


def _show(asked: Asked, search: Search, seed: int) -> None:
    for line in counts(search, asked.sweep):
        print(line)
    best = best_of_each(search, asked.sweep)
    if not best:
        return
    show(table_of(search, asked.sweep))
    draw(search, asked.sweep, asked.folder / PICTURE)
    study = study_of(best, asked.config, asked.words, seed, asked.folder)
    (asked.folder / STUDY).write_text(study, encoding="utf-8")
    imports = import_words(asked.imports)
    again = shlex.join([str(asked.config), *asked.words, *best[0].words, *imports])
    print(f"The best again: {spoken('train')} {again}")
    print(f"Over seeds: {spoken('compare')} {shlex.join([str(asked.folder / STUDY), *imports])}")
    print(f"In {asked.folder}: {PICTURE}, {STUDY}, and the trials, each a run folder")


def _train_best(asked: Asked, run_dir: Path | None) -> int:
    path = asked.folder / SAVED
    if not path.exists():
        raise ConfigError(f"Expected a sweep in {asked.folder}. Received: none. Make it first, without --best.")
    there, here = yaml_files.read(path, inherit=False), yaml_files.parse(_searched(asked), str(path))
    check_same("sweep", asked.folder, there["sweep"], here["sweep"])  # Words may ask for another configuration.
    with Search(asked.folder, asked.sweep, seed=0) as search:
        best = best_of_each(search, asked.sweep)
    if not best:
        raise ConfigError(f"Expected a trial in {asked.folder} that came to its end. Received: none.")
    words = [*asked.words, *best[0].words]
    print(f"{spoken('train')} {shlex.join([str(asked.config), *words])}", flush=True)
    place = [] if run_dir is None else ["--run-dir", str(run_dir)]
    return train.main([str(asked.config), *words, *place, *import_words(asked.imports)])


def _write_wandb(asked: Asked) -> int:
    asked.folder.mkdir(parents=True, exist_ok=True)
    for group in asked.sweep.groups():
        path = asked.folder / f"wandb-{group.folder}.yaml"
        path.write_text(wandb_sweep(asked.sweep, group, asked.config, asked.words, asked.imports), encoding="utf-8")
        print(f"wandb sweep {path}")
    return 0


def command_line() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(prog=spoken("sweep"), description="Searches for good values of keys.")
    parser.add_argument("file", type=Path, help="a file of ranges, or a name such as cartpole")
    parser.add_argument(
        "words", nargs="*", metavar="key=value", help="trials=40 or another field of the file; words for every trial"
    )
    parser.add_argument("--jobs", type=whole_number(1), default=1, help="trials at a time")
    add_engine_options(parser)
    parser.add_argument("--folder", type=Path, help="where the trials go; by default runs/sweeps/<name of the file>")
    parser.add_argument("--best", action="store_true", help="print the best trial's configuration, and train it")
    parser.add_argument("--run-dir", type=Path, help="where that run goes; by default a new folder in runs/")
    parser.add_argument("--wandb", action="store_true", help="write the search as a sweep file of Weights & Biases")
    add_import_option(parser)
    return parser


if __name__ == "__main__":
    protect_output()
    sys.exit(main())
