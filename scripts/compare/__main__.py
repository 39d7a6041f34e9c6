"""Compares variants of a run over seeds, in one environment or several.

    python -m scripts.compare agents/configs/studies/cartpole_agents.yaml
    python -m scripts.compare agents/configs/cartpole.yaml sampler=straight_through_gumbel_softmax,exact --seeds 10

The first names a study: variants, environments and seeds in a YAML file (docs/comparing.md). The second names a
configuration: a word `key=a,b,c` makes one variant for each value (of each such word: their product), other words go to
every run.

Each run is a process of its own, `python -m scripts.train`, and its folder stays: a finished run that is there, of the
same configuration, is not run again, and one that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import collections
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rlsample import checks
from rlsample.rollouts.environments.faults import EnvironmentFault
from rlsample.runs import ConfigError, RunConfig, config_to_dict, load_config
from rlsample.runs.agents import import_modules, make_policy
from rlsample.runs.loading import check_config
from rlsample.runs.numbers import shown
from rlsample.runs.run_folder import CONFIG
from rlsample.runs.scale_config import check_scale
from rlsample.runs.shipped import RUNS, STUDIES, find_config
from rlsample.runs.tracking import check_packages

from ..arguments import add_import_option, finite_number, move_modules, spoken, whole_number
from ..catalogue import known_agents
from ..console import protect_output
from ..engines import add_engine_options, launcher, lost, scale_of
from ..processes import carry_out
from ..runs_on_disk import check_same, read
from ..tables import markdown, show
from ..variants import split
from .outcomes import ComparedRun, Results, gather, outcome_of, write_csv
from .picture import draw
from .scores import scores_of
from .study import Planned, plan, unnormalised
from .tables import FEW_SEEDS, tables_of

UNDECIDED = "automatic"
"""The network that is chosen to suit the observations."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = command_line().parse_intermixed_args(arguments)
    words = []
    for word in options.words:
        values, options.imports = move_modules(split(word), options.imports)
        words.append(f"{word.partition('=')[0]}={','.join(value.partition('=')[2] for value in values)}")
    try:
        import_modules(options.imports)
        planned = plan(find_config(options.file, STUDIES, RUNS), words, options.seeds, options.threshold)
        folder = options.folder / planned.name
        jobs = list(jobs_of(planned, folder))
        scale_of(options)
        _check(jobs)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except EnvironmentFault as error:
        print(error, file=sys.stderr)
        return 1
    failures: list[str] = []
    tried: list[ComparedRun] = []

    def ended(job: ComparedRun, code: int) -> ComparedRun | None:
        if job.finished:
            _tell(job, planned.threshold)
        elif lost(code) and not job.told_to_stop and job not in tried:
            print(f"{job.folder}: its process was lost (exit code {code}); once more", flush=True)
            tried.append(job)
            return job
        else:
            failures.append(f"exit code {code}; its output is in {job.log}")
        return None

    try:
        with launcher(options) as launch:
            code = carry_out(iter(jobs), options.jobs, ended=ended, imports=options.imports, launch=launch)
    except (EnvironmentFault, ConfigError) as error:
        print(error, file=sys.stderr)
        return 1
    if code:
        print("Stopped early. The same command goes on.")
        return code
    if failures:
        print("\n".join(f"Expected every run to end well. Received: {each}." for each in failures), file=sys.stderr)
        return 1
    _show(gather(planned.tasks, jobs, planned.threshold), planned, folder)
    return 0


def jobs_of(planned: Planned, folder: Path) -> Iterator[ComparedRun]:
    """Yields the runs of a comparison, whose folders lie in `folder`."""
    for task in planned.tasks:
        place = folder if task.name is None else folder / task.name.replace("/", "-")
        for variant, config in planned.variants:
            for seed in planned.seeds:
                words = [*planned.shared, *task.words, *variant.words, f"seed={seed}"]
                run = place / variant.folder / f"seed{seed}"
                yield ComparedRun(config=config, words=words, folder=run, task=task, variant=variant, seed=seed)


def _check(jobs: Sequence[ComparedRun]) -> None:
    """Tells what is wrong with any run before the first one begins; first what takes no TensorFlow to know."""
    agents = known_agents()
    _check_folders_apart(jobs)
    for job in jobs:
        checked = check_config(job.config, job.words, agents=agents)
        check_packages(checked.tracking)
        check_scale(checked.scale)
    asked = [load_config(job.config, job.words, agents=agents) for job in jobs]
    for job, config in zip(jobs, asked, strict=True):
        _check_folder(job.folder, config)
    # Whether an agent can use a sampler, in an environment, does not depend on the seed.
    distinct = {(job.task.name, job.variant.name): config for job, config in zip(jobs, asked, strict=True)}
    unfinished = {(job.task.name, job.variant.name) for job in jobs if not job.finished}
    for place in sorted(unfinished, key=list(distinct).index):
        make_policy(agents.module(distinct[place].agent.name), distinct[place])


def _check_folders_apart(jobs: Sequence[ComparedRun]) -> None:
    """Each run needs a folder of its own: two in one would be one run, counted twice."""
    for folder, count in collections.Counter(job.folder for job in jobs).items():
        if count > 1:
            hint = "Values must not repeat, and names must differ by more than spaces and slashes."
            raise ConfigError(str(checks.invalid("a folder for each run", folder=str(folder), runs=count, hint=hint)))
    for job in jobs:
        if job.variant.folder in ("", ".", ".."):
            raise ConfigError(str(checks.invalid("a variant's name that can be a folder's", name=job.variant.name)))


def _check_folder(folder: Path, asked: RunConfig) -> None:
    """Makes sure that what is in a folder can stand for the run that is asked for, or that nothing is."""
    if (folder / CONFIG).exists():
        there = config_to_dict(load_config(folder / CONFIG, agents=known_agents(), inherit=False))
        wanted = config_to_dict(asked)
        # What nobody said of the network was decided when the run began.
        said = {key: value for key, value in wanted["network"].items() if value not in (None, UNDECIDED)}
        check_same("run", folder, there, wanted | {"network": there["network"] | said})


def command_line() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        prog=spoken("compare"), description="Compares variants over seeds and environments."
    )
    parser.add_argument("file", type=Path, help="a study, or a configuration such as cartpole")
    parser.add_argument("words", nargs="*", metavar="key=value[,value]", help="variants, and words for every run")
    parser.add_argument(
        "--seeds", type=whole_number(1), help="runs of each variant, seeds 1 to this; by default the study's, or 10"
    )
    parser.add_argument(
        "--threshold",
        type=finite_number,
        help="return that counts as solved; by default the study's, or the environment's own",
    )
    parser.add_argument("--jobs", type=whole_number(1), default=1, help="runs at a time")
    add_engine_options(parser)
    parser.add_argument("--folder", type=Path, default=Path("runs/compare"), help="where the runs go")
    add_import_option(parser)
    return parser


def _tell(job: ComparedRun, threshold: float | None) -> None:
    outcome = outcome_of(job, read(job.folder), threshold)
    place = "" if job.task.name is None else f"{outcome.environment} "
    reached = ""
    if outcome.threshold is not None:
        steps = "" if outcome.steps is None else f"{outcome.threshold:g} at {outcome.steps:,} steps"
        reached = f", {steps or f'never reached {outcome.threshold:g}'}"
    print(f"{place}{job.variant.name} seed {job.seed}: {shown(outcome.final_return)}{reached}", flush=True)


def _show(results: Results, planned: Planned, folder: Path) -> None:
    tables = list(tables_of(results))
    notes = [] if not planned.shared else [f"All with {' '.join(planned.shared)}"]
    missing = unnormalised(planned.tasks) if len(planned.tasks) > 1 else []
    if missing:
        notes.append(f"No score over all environments: `low` and `high` are missing for {', '.join(missing)}.")
    if len(planned.seeds) < FEW_SEEDS:
        notes.append(f"From fewer than {FEW_SEEDS} seeds an interval says little: --seeds {FEW_SEEDS} or more.")
    for table in tables:
        show(table)
    for note in notes:
        print(note)
    write_csv(folder / "outcomes.csv", results)
    text = "\n".join([*(markdown(table) for table in tables), *(f"{note}\n" for note in notes)])
    (folder / "comparison.md").write_text(text, encoding="utf-8")
    (folder / "scores.json").write_text(json.dumps(scores_of(results)) + "\n", encoding="utf-8")
    draw(results, folder / "comparison.png")
    print(f"In {folder}: comparison.md, comparison.png, outcomes.csv, scores.json")


if __name__ == "__main__":
    protect_output()
    sys.exit(main())
