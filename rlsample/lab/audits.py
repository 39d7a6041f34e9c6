"""Bias, variance, cosine and error of an estimator, with standard errors."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from rlsample import checks, samplers
from rlsample.lab.gradients import exact_gradient, sample_gradients
from rlsample.types import Objective, TensorLike


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Audit:
    """What N independent gradient estimates say about an estimator.

    With g an estimate as one flat vector, E[g] its mean, C its covariance, g* the exact gradient and |.| the Euclidean
    length. A gradient has the units of the objective, and so has the bias; variance and mean squared error have their
    square. What is `relative` has no units: it is divided by |g*| or |g*|^2, and infinite or NaN where g* is 0. The
    cosine is NaN where g* or the mean is 0.

    Attributes:
        bias: |E[g] - g*|, with the sample mean for E[g]. It is not 0 for an unbiased estimator, but about
            `bias_standard_error`.
        bias_standard_error: sqrt(trace(C) / N), the root mean square of what `bias` would be without any; the standard
            deviation of `bias` is at most this.
        variance: trace(C) = E |g - E[g]|^2.
        variance_standard_error: of `variance`.
        cosine: between E[g] and g*: whether the estimator points the right way on average.
        cosine_standard_error: of `cosine`, to second order in the error of the mean; a bound where the cosine is 1.
        mean_squared_error: E |g - g*|^2: the variance plus the square of the bias.
        mean_squared_error_standard_error: of `mean_squared_error`.
        seconds: wall-clock time of one estimate, amortised over the rows of a compiled call, objective included;
            NaN if it was not measured.
        num_draws: N.
        mean: E[g], float64 of the shape of the logits.
        mean_standard_error: of each component of `mean`.
        exact: g*, likewise.

    Examples:
        >>> estimates = np.array([[1.0, 0.0], [3.0, 0.0], [2.0, 3.0]])
        >>> report = lab.Audit.of(estimates, exact=np.array([1.0, 0.0]))
        >>> round(report.bias, 3), report.variance, report.mean.tolist()
        (1.414, 4.0, [2.0, 1.0])
    """

    bias: float
    bias_standard_error: float
    variance: float
    variance_standard_error: float
    cosine: float
    cosine_standard_error: float
    mean_squared_error: float
    mean_squared_error_standard_error: float
    seconds: float
    num_draws: int
    mean: np.ndarray
    mean_standard_error: np.ndarray
    exact: np.ndarray

    @property
    def relative_bias(self) -> float:
        """|E[g] - g*| / |g*|: `bias` relative to the length of the exact gradient."""
        return _ratio(self.bias, self._size)

    @property
    def relative_bias_standard_error(self) -> float:
        """`bias_standard_error` / |g*|."""
        return _ratio(self.bias_standard_error, self._size)

    @property
    def relative_variance(self) -> float:
        """trace(C) / |g*|^2: `variance` relative to the square of that length. Its root is the relative noise."""
        return _ratio(self.variance, self._size**2)

    @property
    def relative_variance_standard_error(self) -> float:
        """`variance_standard_error` / |g*|^2."""
        return _ratio(self.variance_standard_error, self._size**2)

    @property
    def relative_mean_squared_error(self) -> float:
        """E |g - g*|^2 / |g*|^2: 1 is an error as large as the gradient itself."""
        return _ratio(self.mean_squared_error, self._size**2)

    @property
    def relative_mean_squared_error_standard_error(self) -> float:
        """`mean_squared_error_standard_error` / |g*|^2."""
        return _ratio(self.mean_squared_error_standard_error, self._size**2)

    @property
    def _size(self) -> float:
        return float(np.linalg.norm(self.exact))

    @property
    def signal_to_noise(self) -> float:
        """|E[g]| / sqrt(trace(C)): of one estimate; infinite without noise, NaN without signal and noise."""
        return _ratio(float(np.linalg.norm(self.mean)), float(np.sqrt(self.variance)))

    @classmethod
    def of(cls, gradients: np.ndarray, exact: np.ndarray, seconds: float = float("nan")) -> Audit:
        """Evaluates estimates `[N, ...]`, N at least 2, against the exact gradient `[...]`.

        Raises:
            ValueError: other shapes.
        """
        exact = np.asarray(exact, np.float64)
        if np.shape(gradients)[1:] != exact.shape or len(gradients) < 2:
            raise checks.invalid(
                f"gradients of the shape [N >= 2, *{list(exact.shape)}]", gradients_shape=np.shape(gradients)
            )
        number = len(gradients)
        estimates, target = np.asarray(gradients, np.float64).reshape(number, -1), exact.ravel()
        # From the first one, so that estimates without noise have variance exactly 0.
        mean = estimates[0] + (estimates - estimates[0]).mean(0)
        deviations = estimates - mean
        spread = (deviations**2).sum(1)
        errors = ((estimates - target) ** 2).sum(1)
        variance = float(spread.sum() / (number - 1))
        cosine, cosine_error = _cosine(deviations, mean, target, variance)
        root = np.sqrt(number)
        return cls(
            bias=float(np.linalg.norm(mean - target)),
            bias_standard_error=float(np.sqrt(variance) / root),
            variance=variance,
            # The second term is that of the mean, all there is where every deviation is of the same size.
            variance_standard_error=float(np.hypot(spread.std() / root, np.sqrt(2) * variance / number)),
            cosine=cosine,
            cosine_standard_error=cosine_error,
            mean_squared_error=float(errors.mean()),
            mean_squared_error_standard_error=float(errors.std() / root),
            seconds=seconds,
            num_draws=number,
            mean=mean.reshape(exact.shape),
            mean_standard_error=(np.sqrt((deviations**2).sum(0) / (number - 1)) / root).reshape(exact.shape),
            exact=exact,
        )


def audit(
    sampler: str | dict[str, Any] | samplers.Sampler,
    objective: Objective,
    logits: TensorLike,
    temperature: TensorLike = 1.0,
    num_draws: int = 10_000,
    *,
    mask: TensorLike | None = None,
    seed: TensorLike = (0, 0),
    num_samples: int = 1,
    jit_compile: bool = True,
) -> Audit:
    """Bias, variance, cosine, error and time of a sampler's gradient of E[objective(one_hot)].

    The exact gradient is that under softmax(logits), also for a sampler that draws from another distribution
    (`decoupled_straight_through`, `entmax`).

    Args:
        sampler: a sampler, or what `samplers.create` takes.
        objective: as in `sample_gradients`.
        logits: float `[K]`, `[F, K]` or any `[..., K]`: all of it counts as one policy with one gradient. In float64
            rounding is out of the picture.
        temperature: as in `Sampler.__call__`.
        num_draws: N, the number of independent estimates, at least 2.
        mask: boolean, broadcasts to the logits, True = legal.
        seed: stateless seed, int32 `[2]`.
        num_samples: draws averaged in one estimate.
        jit_compile: whether to compile with XLA; for an objective that XLA cannot.

    Returns:
        An `Audit`, whose attributes say what each number is.

    Raises:
        ValueError: as `exact_gradient` and the sampler do.

    Examples:
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0]) ** 2
        >>> report = lab.audit("straight_through", objective, [0.0, 1.0, 2.0], num_draws=10_000)
        >>> round(report.relative_bias, 3), round(report.cosine, 3)
        (0.324, 0.998)
    """
    logits = tf.convert_to_tensor(logits)
    exact = exact_gradient(objective, logits[None], mask)[0].numpy()
    gradients, seconds = sample_gradients(
        sampler,
        objective,
        logits,
        num_draws,
        seed,
        temperature=temperature,
        mask=mask,
        num_samples=num_samples,
        jit_compile=jit_compile,
    )
    return Audit.of(gradients, exact, seconds)


def _cosine(deviations: np.ndarray, mean: np.ndarray, exact: np.ndarray, variance: float) -> tuple[float, float]:
    """The cosine of mean and exact, and its standard error."""
    sizes = float(np.linalg.norm(mean)), float(np.linalg.norm(exact))
    if 0.0 in sizes:
        return float("nan"), float("nan")
    cosine = float(np.clip(mean @ exact / (sizes[0] * sizes[1]), -1, 1))
    slope = (exact / sizes[1] - cosine * mean / sizes[0]) / sizes[0]
    first = (deviations @ slope).std() / np.sqrt(len(deviations))
    # At a cosine of 1 the first order vanishes.
    second = variance / len(deviations) / sizes[0] ** 2 / 2
    return cosine, float(np.hypot(first, second))


def _ratio(numerator: float, denominator: float) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.divide(numerator, denominator))
