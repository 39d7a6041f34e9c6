"""One estimator, one file, one registry key: logits -> Sample.

sampler = samplers.create("straight_through_gumbel_softmax")
sample = sampler(logits, seed, temperature=0.5)
value = sampler.expectation(lambda one_hot: critic(observation, one_hot), logits, seed)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlsample.registry import Registry
from rlsample.samplers.arsm import ARSM
from rlsample.samplers.base import Sampler
from rlsample.samplers.categorical import Categorical
from rlsample.samplers.control_variates import ControlVariate
from rlsample.samplers.decoupled_straight_through import DecoupledStraightThrough
from rlsample.samplers.disarm import DisARM
from rlsample.samplers.entmax import Entmax
from rlsample.samplers.exact import Exact
from rlsample.samplers.fini import Fini
from rlsample.samplers.gapped_straight_through import GappedStraightThrough
from rlsample.samplers.gumbel_rao import GumbelRao
from rlsample.samplers.gumbel_softmax import GumbelSoftmax
from rlsample.samplers.indecater import IndeCateR
from rlsample.samplers.lambda_mix import LambdaMix
from rlsample.samplers.leave_one_out import LeaveOneOut
from rlsample.samplers.perturbed_argmax import PerturbedArgmax
from rlsample.samplers.rebar import REBAR
from rlsample.samplers.reinmax import ReinMax
from rlsample.samplers.reinmax_control_variate import ReinMaxControlVariate
from rlsample.samplers.reinmax_rao import ReinMaxRao
from rlsample.samplers.relax import RELAX
from rlsample.samplers.score_function import ScoreFunction
from rlsample.samplers.softmax import Softmax
from rlsample.samplers.straight_through import StraightThrough
from rlsample.samplers.straight_through_gumbel_softmax import StraightThroughGumbelSoftmax
from rlsample.samplers.unordered_set import UnorderedSet
from rlsample.samplers.zgr import ZGR

SAMPLERS: dict[str, type[Sampler]] = {
    "arsm": ARSM,
    "categorical": Categorical,
    "decoupled_straight_through": DecoupledStraightThrough,
    "disarm": DisARM,
    "entmax": Entmax,
    "exact": Exact,
    "fini": Fini,
    "gapped_straight_through": GappedStraightThrough,
    "gumbel_rao": GumbelRao,
    "gumbel_softmax": GumbelSoftmax,
    "indecater": IndeCateR,
    "lambda_mix": LambdaMix,
    "leave_one_out": LeaveOneOut,
    "perturbed_argmax": PerturbedArgmax,
    "rebar": REBAR,
    "reinmax": ReinMax,
    "reinmax_control_variate": ReinMaxControlVariate,
    "reinmax_rao": ReinMaxRao,
    "relax": RELAX,
    "score_function": ScoreFunction,
    "softmax": Softmax,
    "straight_through": StraightThrough,
    "straight_through_gumbel_softmax": StraightThroughGumbelSoftmax,
    "unordered_set": UnorderedSet,
    "zgr": ZGR,
}

_registry = Registry("sampler", Sampler, SAMPLERS)


def create(config: str | Mapping[str, Any] | Sampler) -> Sampler:
    """Builds a sampler from its name, from `{"name": ..., **options}`, or returns one that is built already.

    Raises:
        ValueError: an unknown name (with the nearest one suggested), an option the sampler does not take, or a value
            it refuses.

    Examples:
        >>> samplers.create("reinmax")
        ReinMax()
        >>> sampler = samplers.create({"name": "gumbel_rao", "num_samples": 20})
        >>> sampler.to_config()
        {'name': 'gumbel_rao', 'num_samples': 20}
        >>> samplers.create("reinmx")
        Traceback (most recent call last):
            ...
        ValueError: Unknown sampler 'reinmx'. Did you mean 'reinmax'? Choose one of: ...
    """
    return _registry.create(config)


def get(name: str) -> type[Sampler]:
    """The sampler class of that name: ours, a registered one, or one from the entry points `rlsample.samplers`.

    Raises:
        ValueError: there is none (names the nearest), or the package it is in cannot be imported.

    Examples:
        >>> samplers.get("exact")
        <class 'rlsample.samplers.exact.Exact'>
    """
    return _registry.get(name)


def names() -> list[str]:
    """Every name that `create` takes.

    Examples:
        >>> [name for name in samplers.names() if "reinmax" in name]
        ['reinmax', 'reinmax_control_variate', 'reinmax_rao']
    """
    return _registry.names()


def register(sampler: type[Sampler]) -> type[Sampler]:
    """Adds a sampler class under its `name`; may be used as a decorator.

    Raises:
        ValueError: not a subclass of `Sampler`, no name, or the name is taken.

    Examples:
        >>> @samplers.register
        ... @dataclasses.dataclass(frozen=True, kw_only=True)
        ... class Greedy(samplers.Sampler):
        ...     name = "greedy"
        ...     def draw(self, logits, seed, temperature):
        ...         action = ops.mode(logits)
        ...         one_hot = tf.one_hot(action, logits.shape[-1])
        ...         return action, ops.with_softmax_gradient(one_hot, logits, ops.softmax(logits))
        >>> samplers.create("greedy")([0.0, 1.0, 2.0], seed=(0, 1)).action.numpy()
        np.int32(2)
    """
    return _registry.register(sampler)


__all__ = ["SAMPLERS", "ControlVariate", "Sampler", "create", "get", "names", "register"]
