"""Independent streams of random numbers, derived from one seed and what each is for.

    streams = Streams(config.seed)
    envs.reset(seed=streams.integer("environments"))
    generator = streams.generator("replay")

Two consumers that share a stream are not independent: uniform actions drawn by the generator that an environment was
seeded with are known to the environment. Nor may seeds be consecutive: a vector environment gives seed + i to its i-th
copy, so that runs with seeds 1 and 2 would share all but one of their episodes.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from rlsample import checks

PURPOSES = (
    "weights",
    "environments",
    "first states",
    "turns",
    "actions",
    "warm-up actions",
    "replay",
    "updates",
    "evaluation environments",
    "evaluation actions",
)
"""What random numbers are drawn for. The order is part of what a seed means: new ones go to the end."""


@dataclasses.dataclass(frozen=True)
class Streams:
    """The streams of one run.

    Attributes:
        seed: of the run, a whole number >= 0.

    Source: NumPy's `SeedSequence`, whose spawn keys give independent streams.

    Examples:
        >>> from rlsample.streams import Streams
        >>> streams = Streams(seed=1)
        >>> streams.integer("environments"), streams.integer("weights")
        (1645468115, 1511999270)
        >>> streams.pair("actions")
        array([ 278071048, 1018743176], dtype=int32)
        >>> streams.generator("replay").integers(100, size=3)
        array([ 6, 95, 41])
    """

    seed: int

    def __post_init__(self) -> None:
        checks.check_count("seed", self.seed, minimum=0)

    def integer(self, purpose: str, index: int = 0) -> int:
        """A seed in [0, 2^31), for Gymnasium and Keras; `index` tells the members of a population apart."""
        return int(self._sequence(purpose, index).generate_state(1, np.uint32)[0] >> 1)

    def pair(self, purpose: str, index: int = 0) -> np.ndarray:
        """A stateless seed, int32 `[2]`."""
        return self._sequence(purpose, index).generate_state(2, np.uint32).view(np.int32)

    def generator(self, purpose: str, index: int = 0) -> np.random.Generator:
        """A NumPy generator."""
        return np.random.default_rng(self._sequence(purpose, index))

    def _sequence(self, purpose: str, index: int) -> np.random.SeedSequence:
        if purpose not in PURPOSES:
            raise checks.unknown("purpose of random numbers", purpose, PURPOSES)
        return np.random.SeedSequence(self.seed, spawn_key=(PURPOSES.index(purpose), index))
