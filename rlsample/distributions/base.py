"""What the distribution of a policy answers, whatever its form."""

from __future__ import annotations

import abc
import inspect
from collections.abc import Callable
from typing import Any, Self

import tensorflow as tf

from rlsample import checks, ops
from rlsample.samplers import Sampler
from rlsample.samplers.objectives import mean_over_draws, objective_values
from rlsample.spaces.conversion import dotted
from rlsample.types import Objective, Sample, TensorLike


class Distribution(abc.ABC):
    """The distribution of one action (of one or several factors) for every row of a batch.

    An action is an integer `[...]` if it has one factor without an axis of its own, else integers `[..., F]`; as a
    one-hot it is `[..., K]` or `[..., F, K]`. Probabilities are those of the whole action: `[...]` in both cases. All
    of it runs in eager, graph and XLA code; rows that nothing can be drawn from raise in eager code and come out as
    action -1 and NaN in compiled code.

    Attributes:
        event_ndims: axes of one action as a one-hot, 1 or 2.
        dtype: of one-hots and of probabilities.
        pathwise: whether draws carry a gradient.

    Examples:
        >>> policy = distributions.CategoricalDistribution([[0.0, 1.0, 2.0]], "reinmax")
        >>> isinstance(policy, distributions.Distribution), policy.event_shape, policy.pathwise
        (True, TensorShape([3]), True)
        >>> print(policy.probs().numpy(), policy.entropy().numpy(), policy.mode().action.numpy())
        [[0.09  0.245 0.665]] [0.832] [2]
        >>> print(policy.expectation(lambda one_hot: tf.linalg.matvec(one_hot, [1.0, 0.0, 4.0]), seed=(0, 1)).numpy())
        [4.]
    """

    event_ndims: int
    dtype: tf.DType
    pathwise: bool
    _given: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Keeps what the constructor is given, variables included, for `arguments`."""
        distribution = super().__new__(cls)
        distribution._given = args, kwargs
        return distribution

    @property
    def arguments(self) -> dict[str, Any]:
        """What the constructor was given, by name; without the defaults."""
        args, kwargs = self._given
        arguments = inspect.signature(type(self).__init__).bind(self, *args, **kwargs).arguments
        return {name: value for name, value in arguments.items() if value is not self}

    @property
    @abc.abstractmethod
    def event_shape(self) -> tf.TensorShape:
        """Shape of one action as a one-hot, `[K]` or `[F, K]`."""

    @abc.abstractmethod
    def sample(self, seed: TensorLike, sample_shape: TensorLike = ()) -> Sample:
        """Draws.

        Args:
            seed: stateless seed, int32 `[2]`.
            sample_shape: axes to put in front of the batch's, filled with independent draws.

        Returns:
            `Sample(action, one_hot)`; `one_hot` carries the gradient if `pathwise`.
        """

    @abc.abstractmethod
    def mode(self) -> Sample:
        """The most probable action, without noise and without gradient."""

    def log_prob(self, action: TensorLike) -> tf.Tensor:
        """Log-mass of actions; -inf (gradient 0) for illegal ones.

        A one-hot, hard or relaxed, stands for the action at its largest entries: the result is the mass of that
        action, never a relaxed density, and has no gradient to the one-hot. (Two samplers, `softmax` and `entmax`,
        return the probabilities themselves as one-hots, whose largest entry is the mode: pass their integers.)

        Args:
            action: integers `[...]` or `[..., F]`, or one-hots, float `[..., K]` or `[..., F, K]`; either may have
                sample axes in front.

        Returns:
            `[...]`; NaN for a one-hot with NaN or with a row that has no positive entry.

        Raises:
            ValueError: another dtype, a shape that does not fit, or integers known to be out of range.
        """
        action = tf.convert_to_tensor(action)
        integers, rank = action.dtype.is_integer, action.shape.rank
        event = self.event_shape[: self.event_ndims - integers]
        fits = rank is None or (rank >= len(event) and action.shape[rank - len(event) :].is_compatible_with(event))
        if not fits or not (integers or action.dtype.is_floating):
            one_hots = dotted(tuple(self.event_shape))
            raise checks.invalid(
                f"action to be integers {dotted(tuple(self.event_shape[:-1]))} or one-hots (floats) {one_hots}",
                dtype=action.dtype.name,
                shape=tuple(action.shape),
            )
        return self._log_prob(action) if integers else self._log_prob_of_one_hot(action)

    def _log_prob_of_one_hot(self, one_hot: tf.Tensor) -> tf.Tensor:
        stands = tf.reduce_any(one_hot > 0, -1) & ~tf.reduce_any(tf.math.is_nan(one_hot), -1)
        stands = stands if self.event_ndims == 1 else tf.reduce_all(stands, -1)
        log_prob = self._log_prob(self.action(one_hot))
        return tf.where(stands, log_prob, tf.constant(float("nan"), log_prob.dtype))

    @abc.abstractmethod
    def _log_prob(self, action: tf.Tensor) -> tf.Tensor:
        """What `log_prob` gives for integer actions."""

    @abc.abstractmethod
    def probs(self) -> tf.Tensor:
        """Probability of each category of each factor, `[..., K]` or `[..., F, K]`: the mean of the one-hot action."""

    @abc.abstractmethod
    def entropy(self) -> tf.Tensor:
        """Entropy of the action in nats, `[...]`."""

    @abc.abstractmethod
    def kl_divergence(self, other: Any) -> tf.Tensor:
        """Kullback-Leibler divergence from this distribution to another of its kind, `[...]`."""

    def action(self, draw: TensorLike) -> tf.Tensor:
        """The integer action that a draw `[..., (F,) K]`, hard or relaxed, stands for: its largest entry, int32."""
        return tf.argmax(draw, -1, output_type=tf.int32)

    def expectation(self, objective: Objective, seed: TensorLike, num_samples: int = 1) -> tf.Tensor:
        """Estimates E[objective(one_hot)] with a gradient to the parameters and to what `objective` closes over.

        Args:
            objective: one_hot `[..., K]` or `[..., F, K]` -> values `[...]`, one for every row. Where draws carry a
                gradient (`pathwise`), one value for the whole batch will do, such as the mean over it.
            seed: stateless seed, int32 `[2]`.
            num_samples: how many independent draws to average.

        Raises:
            ValueError: an objective that returns integers, or values of another shape.
        """
        checks.check_count("num_samples", num_samples)
        seeds = [seed] if num_samples == 1 else tf.unstack(ops.split(seed, num_samples), num_samples)
        return mean_over_draws([self._values(objective, self.sample(each).one_hot) for each in seeds])

    def _estimated_by(
        self, sampler: Sampler, objective: Objective, logits: tf.Tensor, seed: TensorLike, **options: Any
    ) -> tf.Tensor:
        """`expectation` by a sampler, from logits `[..., K]` or `[..., F, K]`."""
        if logits.shape.rank == 2 == self.event_ndims:
            # To the sampler, which does not know of factors, the first axis is the batch's.
            one = logits[None]
            return sampler.expectation(lambda x: self._values(objective, x[0])[None], one, seed, **options)[0]
        return sampler.expectation(lambda x: self._values(objective, x), logits, seed, **options)

    def _values(self, objective: Objective, one_hot: tf.Tensor) -> tf.Tensor:
        """What the objective says of a draw, checked; see `expectation`."""
        batch_ndims = 0 if self.pathwise else one_hot.shape.rank - self.event_ndims
        return objective_values(objective, one_hot, batch_ndims=batch_ndims)

    def to_tfp(self, **options: Any) -> Any:
        """The same as a TensorFlow Probability distribution over one-hots; see `rlsample.tfp.PolicyDistribution`.

        If this distribution was made from variables, the other reads them at each use.

        Args:
            **options: validate_args, allow_nan_stats and name, as of every distribution there.
        """
        # The one import of the library that points up, and at the last moment: it loads TensorFlow Probability.
        from rlsample import tfp

        return tfp.wrap(self, **options)


def check_pair(first: Distribution, second: Any, kind: type[Any]) -> None:
    """Raises ValueError unless two distributions are of one kind and one event shape, as a divergence needs."""
    if not isinstance(second, kind) or not first.event_shape.is_compatible_with(second.event_shape):
        shapes = {"first": first.event_shape, "second": getattr(second, "event_shape", type(second).__name__)}
        raise checks.invalid(f"two {kind.__name__}s of one event shape", **shapes)


def kept(compute: Callable[[Any], tf.Tensor]) -> property:
    """A property that is computed once, and once more for each graph it is first asked for in.

    A tensor of one graph cannot be used in another, nor in eager code; eager tensors can be used in any.
    """
    name = compute.__name__

    def get(self: Any) -> tf.Tensor:
        here = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        graph, value = self.__dict__.get(name, (None, None))
        if value is None or (graph is not None and graph is not here):
            value = compute(self)
            self.__dict__[name] = here, value
        return value

    return property(get, doc=compute.__doc__)
