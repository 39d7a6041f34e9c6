"""The searches of a sweep, one for each of its groups, in one SQLite file: Optuna's studies."""

from __future__ import annotations

import importlib.util
import types
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlsample.runs import ConfigError
from rlsample.streams import Streams

from ..variants import Variant
from .ranges import Between, Range, Sweep

if TYPE_CHECKING:
    import optuna

STORAGE = "trials.sqlite"


def check_installed() -> None:
    """Raises ConfigError if Optuna is not."""
    if importlib.util.find_spec("optuna") is None:
        raise ConfigError("A search needs Optuna. Install the extra `sweep`: pip install 'rlsample[sweep]'")


class Search:
    """Chooses the values of trials, and keeps what they came to.

    Every trial is chosen from the seed, its number and the trials before it alone: a sweep that was interrupted goes on
    as it would have, and every group begins with the same values.

    Args:
        folder: of the sweep.
        sweep: the ranges.
        seed: what the choices derive from.
    """

    def __init__(self, folder: Path, sweep: Sweep, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._sweep, self._streams = sweep, Streams(seed)
        self._storage = optuna.storages.RDBStorage(f"sqlite:///{folder / STORAGE}")
        self._studies = {
            group.name: optuna.create_study(
                study_name=group.name,
                storage=self._storage,
                direction="maximize",
                pruner=_pruner(sweep.pruning),
                load_if_exists=True,
            )
            for group in sweep.groups()
        }

    def __enter__(self) -> Search:
        """Opens it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        """Closes the file."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def trials(self, group: Variant) -> list[optuna.trial.FrozenTrial]:
        """All trials of a group, in order; those that ended and those that did not."""
        return self._studies[group.name].trials

    def ask(self, group: Variant) -> optuna.trial.Trial:
        """Chooses the values of the next trial."""
        study = self._studies[group.name]
        study.sampler = _sampler(self._sweep.method, self._streams.integer("search", len(study.trials)))
        return study.ask({key: _distribution(each) for key, each in self._sweep.ranges.items()})

    def reopen(self, group: Variant, number: int) -> optuna.trial.Trial:
        """A trial that was begun by an earlier call and has no end yet."""
        import optuna

        study = self._studies[group.name]
        study_id = self._storage.get_study_id_from_name(group.name)
        return optuna.trial.Trial(study, self._storage.get_trial_id_from_study_id_trial_number(study_id, number))

    def tell(self, group: Variant, number: int, value: float | None, pruned: bool = False) -> None:
        """Keeps what a trial came to; no value, and not pruned, is a failed one."""
        from optuna.trial import TrialState

        state = TrialState.PRUNED if pruned else TrialState.FAIL if value is None else TrialState.COMPLETE
        self._studies[group.name].tell(number, value if state == TrialState.COMPLETE else None, state=state)


def words_for(ranges: dict[str, Range], values: dict[str, Any]) -> list[str]:
    """The words of a trial, from what Optuna chose."""
    return [
        f"{key}={each.text(values[key]) if isinstance(each, Between) else values[key]}" for key, each in ranges.items()
    ]


def _distribution(each: Range) -> optuna.distributions.BaseDistribution:
    from optuna import distributions

    if not isinstance(each, Between):
        return distributions.CategoricalDistribution(each.ends)
    if isinstance(each.low, int) and isinstance(each.high, int):
        return distributions.IntDistribution(each.low, each.high, log=each.log, step=int(each.step or 1))
    return distributions.FloatDistribution(each.low, each.high, log=each.log, step=each.step)


def _sampler(method: str, seed: int) -> optuna.samplers.BaseSampler:
    from optuna import samplers

    return samplers.RandomSampler(seed) if method == "random" else samplers.TPESampler(seed=seed)


def _pruner(pruning: str) -> optuna.pruners.BasePruner:
    from optuna import pruners

    made: dict[str, type[Any]] = {
        "median": pruners.MedianPruner,
        "halving": pruners.SuccessiveHalvingPruner,
        "none": pruners.NopPruner,
    }
    return made[pruning]()


def complete(trials: Sequence[optuna.trial.FrozenTrial]) -> list[optuna.trial.FrozenTrial]:
    """The trials that came to their end, in order."""
    return [trial for trial in trials if trial.state.name == "COMPLETE"]


def best_first(trials: Sequence[optuna.trial.FrozenTrial]) -> list[optuna.trial.FrozenTrial]:
    """The trials that came to their end, the highest return first."""
    return sorted(complete(trials), key=lambda trial: (-trial.values[0], trial.number))
