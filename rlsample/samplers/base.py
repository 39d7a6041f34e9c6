"""What every sampler is: a frozen, validated config that draws, and that knows the gradient of an expectation."""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar, NamedTuple

import tensorflow as tf

from rlsample import checks, ops
from rlsample.registry import Configurable
from rlsample.samplers.objectives import mean_over_draws, objective_values
from rlsample.samplers.shapes import row_temperature
from rlsample.types import Objective, Sample, TensorLike

UNBIASED = (
    "never",
    "linear at temperature 1",
    "linear",
    "quadratic in the values",
    "quadratic at temperature 1",
    "quadratic",
    "always",
)
"""What an estimator may claim: unbiased for no objective, for those linear or at most quadratic in the one-hot (at a
temperature of 1 alone, or at any) or in the value of an ordered category, or for every one."""


class PreparedLogits(NamedTuple):
    """The arguments of a draw or an estimate, checked and ready for arithmetic.

    Attributes:
        logits: float32 or float64 `[..., K]` from `ops.legal_logits`: row maximum 0, illegal entries at a floor.
        temperature: a tensor of the dtype of `logits`, scalar or `[..., 1]`; None means 1.
        given: the logits as they were given; one-hots come back in their dtype.
        mask: boolean, broadcasts to the logits, True = legal; or None.
    """

    logits: tf.Tensor
    temperature: tf.Tensor | None
    given: tf.Tensor
    mask: tf.Tensor | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampler(Configurable, abc.ABC):
    """Draws from softmax(logits) and estimates gradients of expectations under it.

    A subclass is one published estimator in one file: a frozen dataclass whose fields are its options, checked in
    `__post_init__`. It implements `draw`; one without a pathwise gradient implements `estimate` too. What several
    estimators share stands in an abstract class between; an estimator is never the parent of another.

    Attributes:
        name: the registry key, which is also the module's name.
        pathwise: whether `Sample.one_hot` carries a gradient to the logits.
        relaxed: whether `Sample.one_hot` is a point inside the simplex rather than exactly one-hot.
        draws_from_logits: whether actions are drawn from softmax(logits), whatever the temperature. A subclass that
            overrides `drawn_logits` sets it to False.
        uses_temperature: whether the gradient depends on the temperature.
        family: a word for tables and pictures.
        unbiased: for which objectives the estimator claims to be unbiased, a key of `UNBIASED`.

    Examples:
        >>> sampler = samplers.create("straight_through")
        >>> sampler([[0.0, 1.0, 2.0]], seed=(0, 1), mask=[True, True, False]).one_hot.numpy()
        array([[0., 1., 0.]], dtype=float32)
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0])
        >>> print(sampler.expectation(objective, [[0.0, 1.0, 2.0]], seed=(0, 1), num_samples=100).numpy())
        [3.19]
        >>> sampler.pathwise, sampler.unbiased
        (True, 'linear at temperature 1')
    """

    pathwise: ClassVar[bool] = True
    relaxed: ClassVar[bool] = False
    draws_from_logits: ClassVar[bool] = True
    uses_temperature: ClassVar[bool] = True
    family: ClassVar[str] = "others"
    unbiased: ClassVar[str] = "never"

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.unbiased not in UNBIASED:
            raise TypeError(str(checks.unknown("claim `unbiased`", cls.unbiased, UNBIASED)))
        if "drawn_logits" in vars(cls) and cls.draws_from_logits:
            # Whoever reads the flag draws from softmax(logits) without asking the sampler.
            raise TypeError(f"Expected {cls.__name__}, which overrides drawn_logits, to set draws_from_logits = False.")

    @abc.abstractmethod
    def draw(self, logits: tf.Tensor, seed: tf.Tensor, temperature: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws from prepared logits.

        Args:
            logits: float32 or float64 `[..., K]` from `ops.legal_logits`: row maximum 0, illegal entries at a floor.
            seed: int32 `[2]`.
            temperature: a tensor of the dtype of `logits`, scalar or `[..., 1]`; None means 1.

        Returns:
            (action int32 `[...]`, -1 for a row that holds NaN; one_hot `[..., K]` in the dtype of `logits`).
        """

    def estimate(self, objective: Objective, prepared: PreparedLogits, seeds: list[tf.Tensor]) -> tf.Tensor:
        """Estimates E[objective(one_hot)] from checked arguments, with this sampler's gradient of it.

        Here the pathwise estimate: the mean of the objective at the samples, which may be one value for the batch.

        Args:
            objective: as in `expectation`, whose values `objective_values` checks.
            prepared: logits `[..., (F,) K]` with temperature and mask.
            seeds: int32 `[2]` each, one per draw.

        Returns:
            `[...]`, of the shape the objective returns.
        """
        draws = [self.sample(prepared, seed).one_hot for seed in seeds]
        return mean_over_draws([objective_values(objective, one_hot, batch_ndims=0) for one_hot in draws])

    def __call__(
        self, logits: TensorLike, seed: TensorLike, *, temperature: TensorLike = 1.0, mask: TensorLike | None = None
    ) -> Sample:
        """Draws one sample per row.

        Args:
            logits: float `[..., K]`, unnormalised log-probabilities; -inf marks an illegal category.
            seed: stateless seed, int32 `[2]`; the same seed gives the same sample in eager, graph and XLA.
            temperature: finite and above 0; a number, or a tensor or variable, scalar or of the batch shape `[...]`.
                Changing a tensor or a variable never retraces.
            mask: boolean, broadcasts to the logits, True = legal. Illegal categories are never drawn, and have
                probability and gradient exactly 0.

        Returns:
            `Sample(action, one_hot)`, `one_hot` in the dtype of the logits. Noise is drawn and arithmetic done in
            float32 at least.

        Raises:
            ValueError: a bad shape, dtype, temperature, seed or mask; eagerly also a row with NaN, +inf or nothing
                legal. Compiled code marks such a row: action -1, one_hot NaN (`checks.usable_rows` gives the flag).
        """
        return self.sample(self.prepare(logits, temperature, mask), checks.check_seed(seed))

    def expectation(
        self,
        objective: Objective,
        logits: TensorLike,
        seed: TensorLike,
        *,
        temperature: TensorLike = 1.0,
        mask: TensorLike | None = None,
        num_samples: int = 1,
    ) -> tf.Tensor:
        """Estimates E[objective(one_hot)], with this sampler's gradient of it.

        Gradients reach the logits and everything that `objective` closes over. A pathwise sampler averages the
        objective at its samples.

        Args:
            objective: one_hot of the shape of `logits` -> values, one for every row: `[...]`. If the values have
                fewer axes than the logits have rows, the missing axes are the factors of one joint action:
                `[B, F, K]` -> `[B]`. The first axis is never one of them, and values are not broadcast.
                A pathwise sampler also takes one value for the whole batch, `[]`, such as the mean over it. The
                others weigh the score of every row by its own value, and refuse that.
            logits: float `[..., K]` or `[..., F, K]`. One policy without a batch is `[K]`, for a joint action
                `[1, F, K]`.
            seed: stateless seed, int32 `[2]`.
            temperature: as in `__call__`.
            mask: as in `__call__`.
            num_samples: how many independent draws to average.

        Returns:
            The estimate, of the shape the objective returns.

        Raises:
            ValueError: as in `__call__`, or an objective whose values do not have the shape of leading logits axes,
                or lack the first of them where every row needs a value.
        """
        seeds = independent_seeds(seed, self.num_draws(checks.check_count("num_samples", num_samples)))
        return self.estimate(objective, self.prepare(logits, temperature, mask), seeds)

    def num_draws(self, num_samples: int) -> int:
        """How many seeds `estimate` is given when `expectation` is asked for `num_samples`."""
        return num_samples

    def draws(
        self,
        logits: TensorLike,
        seed: TensorLike,
        num_samples: int,
        *,
        temperature: TensorLike = 1.0,
        mask: TensorLike | None = None,
    ) -> list[Sample]:
        """Independent samples; the only one of `num_samples=1` is that of `__call__` with the same seed."""
        seeds = independent_seeds(seed, checks.check_count("num_samples", num_samples))
        prepared = self.prepare(logits, temperature, mask)
        return [self.sample(prepared, each) for each in seeds]

    def prepare(self, logits: TensorLike, temperature: TensorLike, mask: TensorLike | None) -> PreparedLogits:
        """Checks the arguments of a draw; see `__call__`."""
        logits, mask = checks.check_logits(logits, mask)
        legal = ops.legal_logits(logits, mask)
        return PreparedLogits(legal, row_temperature(temperature, legal), logits, mask)

    def sample(self, prepared: PreparedLogits, seed: tf.Tensor) -> Sample:
        """Draws one sample per row from checked arguments; see `__call__`."""
        action, one_hot = self.draw(prepared.logits, seed, prepared.temperature)
        if not tf.executing_eagerly():
            one_hot = tf.where(action[..., None] < 0, tf.constant(float("nan"), one_hot.dtype), one_hot)
        return Sample(action, tf.cast(one_hot, prepared.given.dtype))

    def drawn_logits(
        self, logits: tf.Tensor, *, temperature: TensorLike = 1.0, mask: TensorLike | None = None
    ) -> tf.Tensor:
        """Logits `[..., K]` of the distribution that actions are drawn from: the given ones, whatever the temperature.

        Whatever speaks of the probability of an action (log_prob, entropy, PPO's ratio) must use these.
        """
        return logits

    def advantages(self, values: tf.Tensor) -> tf.Tensor | None:
        """What multiplies the score of one draw: `[...]` from the objective's values `[...]` at that draw.

        None for an estimator that is not the score function of one draw after the other. Those that are also estimate
        under a distribution whose factors depend on each other: it needs its own draws and their log-probability.
        """
        return None

    @property
    def relaxation(self) -> Sampler | None:
        """The sampler of the relaxed samples whose derivative is this one's gradient; None if there are none."""
        return self if self.relaxed else None

    @property
    def enumeration_limit(self) -> int | None:
        """The number of outcomes up to which the estimate is a sum over all of them; None for one made of draws."""
        return None


def independent_seeds(seed: TensorLike, number: int) -> list[tf.Tensor]:
    """One seed, int32 `[2]`, per draw; for a single draw the given seed itself."""
    return [checks.check_seed(seed)] if number == 1 else tf.unstack(ops.split(seed, number), number)
