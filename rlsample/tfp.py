"""Policies as TensorFlow Probability distributions over one-hots.

    policy = head.distribution(logits).to_tfp()
    draw = policy.sample(seed=seed)        one-hot, differentiable where the sampler is
    policy.log_prob(draw)                  the mass of the action drawn, never a relaxed density

Importing this module imports TensorFlow Probability; nothing else in the library does.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from rlsample import checks, ops
from rlsample.distributions import (
    AutoregressiveDistribution,
    CategoricalDistribution,
    Distribution,
    OrdinalDistribution,
    SubsetDistribution,
    UnorderedSubsetDistribution,
)
from rlsample.ops.softmax import compute_dtype
from rlsample.types import Objective, TensorLike

# The arguments of each kind that are tensors, with the axes that are not batch axes: F factors (where an action has
# several), K categories, S entries of a state.
PARAMETERS: dict[type[Distribution], dict[str, str]] = {
    CategoricalDistribution: {"logits": "FK", "temperature": "", "mask": "FK"},
    AutoregressiveDistribution: {"context": "S", "temperature": "", "mask": "FK"},
    OrdinalDistribution: {"location": "F", "scale": "F", "sharpness": "", "mask": "FK"},
    SubsetDistribution: {"logits": "K", "temperature": "", "mask": "K"},
    UnorderedSubsetDistribution: {"logits": "K", "mask": "K"},
}


def wrap(distribution: Distribution, **options: Any) -> PolicyDistribution:
    """The TensorFlow Probability distribution that `Distribution.to_tfp` gives.

    Args:
        distribution: of a kind that `PARAMETERS` names, or of a subclass of one; add a row for a kind of your own.
        **options: validate_args, allow_nan_stats and name, as of every distribution there.

    Raises:
        ValueError: a distribution of another kind.

    Examples:
        >>> policy = tfp.wrap(distributions.CategoricalDistribution([[0.0, 1.0, 2.0]]))
        >>> print(policy.entropy().numpy(), policy.mode().numpy())
        [0.832] [[0. 0. 1.]]
    """
    wrapper = _wrapper(type(distribution))
    return wrapper(**distribution.arguments, **options)


class PolicyDistribution(tfp.distributions.AutoCompositeTensorDistribution):
    """A distribution whose events are actions as one-hots, `[K]` or `[F, K]`.

    Its parameters are the arguments of the distribution it is made from. Those that are tensors may be variables,
    which are read at each use. `log_prob(draw)` is the log-mass of the discrete action at the largest entries of
    `draw`, as `Distribution.log_prob` says; `log_prob_of_action` takes integers.

    Examples:
        >>> policy = distributions.CategoricalDistribution([[0.0, 1.0, 2.0]], "reinmax").to_tfp()
        >>> print(policy.sample(seed=(0, 1)).numpy(), policy.log_prob_of_action([2]).numpy())
        [[0. 0. 1.]] [-0.408]
        >>> policy.batch_shape, policy.event_shape
        (TensorShape([1]), TensorShape([3]))
    """

    _kind: type[Distribution]
    _axes: dict[str, str]

    def _start(self, validate_args: bool, allow_nan_stats: bool, name: str | None, **arguments: Any) -> None:
        """What the constructor of each kind does; see `_wrapper`."""
        name = name or self._kind.__name__
        options = {"validate_args": validate_args, "allow_nan_stats": allow_nan_stats}
        with tf.name_scope(name) as scope:
            distribution = self._kind(**arguments)  # refuses bad arguments now rather than at the first use
            for key, value in arguments.items():
                if key in self._axes:
                    # Numbers in the dtype to compute in; a mask may be integers.
                    hint = None if key == "mask" else compute_dtype(distribution.dtype)
                    arguments[key] = _as_parameter(value, hint)
                setattr(self, f"_{key}", arguments[key])
            self._names = tuple(arguments)
            self._event_ndims = distribution.event_ndims
            kinds = tfp.distributions.NOT_REPARAMETERIZED, tfp.distributions.FULLY_REPARAMETERIZED
            super().__init__(
                dtype=distribution.dtype,
                reparameterization_type=kinds[distribution.pathwise],
                parameters={**arguments, **options, "name": name},
                name=scope,
                **options,
            )

    @property
    def distribution(self) -> Any:
        """The distribution that this one stands for, made from the current values of the parameters."""
        return self._kind(**{key: getattr(self, f"_{key}") for key in self._names})

    def action(self, draw: TensorLike) -> tf.Tensor:
        """The integer action that a draw stands for: int32 `[...]` or `[..., F]`."""
        return self.distribution.action(draw)

    def log_prob_of_action(self, action: TensorLike) -> tf.Tensor:
        """Log-mass of integer actions `[...]` or `[..., F]`; -inf for illegal ones."""
        action = tf.convert_to_tensor(action)
        if action.dtype.is_floating:
            hint = "For one-hots (floats): log_prob."
            raise checks.invalid("action to be integers", dtype=action.dtype.name, hint=hint)
        return self.distribution.log_prob(action)

    def expectation(self, objective: Objective, seed: TensorLike, num_samples: int = 1) -> tf.Tensor:
        """Estimates E[objective(one_hot)] with the sampler's gradient; see `Distribution.expectation`."""
        return self.distribution.expectation(objective, seed, num_samples)

    def relaxed_log_density(self, draw: TensorLike) -> tf.Tensor:
        """Log-density of a relaxed draw; see `CategoricalDistribution.relaxed_log_density`."""
        return self.distribution.relaxed_log_density(draw)

    def logits_parameter(self) -> tf.Tensor:
        """Logits of independent factors, -inf at illegal categories, of what is drawn from."""
        return self.distribution.drawn_logits

    def probs_parameter(self) -> tf.Tensor:
        """Probability of each category of each factor."""
        return self.distribution.probs()

    def _sample_n(self, n: TensorLike, seed: Any = None) -> tf.Tensor:
        if seed is None:
            seed = tfp.random.sanitize_seed(None)
        return self.distribution.sample(checks.check_seed(seed), [n]).one_hot

    def _log_prob(self, value: tf.Tensor) -> tf.Tensor:
        fits = value.shape[-self._event_ndims :].is_compatible_with(self.event_shape)
        if not value.dtype.is_floating or not fits:
            raise checks.invalid(
                f"value to be a one-hot of event shape {self.event_shape} (floats)",
                dtype=value.dtype.name,
                shape=tuple(value.shape),
                hint="For integers: log_prob_of_action.",
            )
        return self.distribution.log_prob(value)

    def _entropy(self) -> tf.Tensor:
        return self.distribution.entropy()

    def _mode(self) -> tf.Tensor:
        return self.distribution.mode().one_hot

    def _mean(self) -> tf.Tensor:
        return self.distribution.probs()

    def _event_shape(self) -> tf.TensorShape:
        return self.distribution.event_shape

    def _event_shape_tensor(self) -> tf.Tensor:
        shape = self.event_shape
        return tf.constant(shape) if shape.is_fully_defined() else tf.shape(self._mode())[-self._event_ndims :]

    def _default_event_space_bijector(self) -> None:
        return None


@functools.cache
def _wrapper(kind: type[Distribution]) -> type[PolicyDistribution]:
    """The subclass whose constructor takes the arguments of `kind`, by name.

    TFP copies, slices and flattens a distribution by the signature of its constructor: so each kind needs its own.
    """
    rows = [PARAMETERS[each] for each in kind.__mro__ if each in PARAMETERS]
    if not rows:
        kinds = " or ".join(each.__name__ for each in PARAMETERS)
        raise checks.invalid(f"a {kinds}", kind=kind.__name__, hint="Add a row for it to rlsample.tfp.PARAMETERS.")
    axes = rows[0]

    def construct(self: PolicyDistribution, **arguments: Any) -> None:
        self._start(**arguments)

    def properties(cls: type, dtype: Any, num_classes: int | None = None) -> dict[str, Any]:
        return {
            key: tfp.util.ParameterProperties(event_ndims=functools.partial(_count, own)) for key, own in axes.items()
        }

    self, *own = inspect.signature(kind.__init__).parameters.values()
    options = {"validate_args": False, "allow_nan_stats": True, "name": None}
    by_name = inspect.Parameter.KEYWORD_ONLY
    arguments = [each.replace(kind=by_name) for each in own]
    arguments += [inspect.Parameter(key, by_name, default=value) for key, value in options.items()]
    construct.__signature__ = inspect.Signature([self, *arguments])  # type: ignore[attr-defined]
    body: dict[str, Any] = {
        "__init__": construct,
        "__doc__": PolicyDistribution.__doc__,
        "__module__": __name__,
        "_kind": kind,
        "_axes": axes,
        "_parameter_properties": classmethod(properties),
    }
    metaclass: Any = type(PolicyDistribution)
    return metaclass(kind.__name__, (PolicyDistribution,), body)


def _count(axes: str, policy: PolicyDistribution) -> int:
    """How many axes of a parameter are not batch axes."""
    return len(axes.replace("F", "") if policy._event_ndims == 1 else axes)


def _as_parameter(value: Any, dtype_hint: tf.DType | None) -> Any:
    """A tensor, or the variable itself, whose value is then read at each use; None stays None."""
    value = value.value if isinstance(value, keras.Variable) else value
    return value if value is None or isinstance(value, tf.Variable) else tf.convert_to_tensor(value, None, dtype_hint)


@tfp.distributions.RegisterKL(PolicyDistribution, PolicyDistribution)
def _kl_divergence(first: PolicyDistribution, second: PolicyDistribution, name: str | None = None) -> tf.Tensor:
    with tf.name_scope(name or "kl_divergence"):
        return first.distribution.kl_divergence(second.distribution)


def _kl_to_or_from_tfp(first: Any, second: Any, name: str | None = None) -> tf.Tensor:
    """Between a single categorical factor and TFP's own, whether its events are one-hots or integers."""
    for each in (first, second):
        if isinstance(each, PolicyDistribution) and each._event_ndims == 2:
            raise checks.invalid("one factor, as TFP's distribution has", event_shape=each.event_shape)
    with tf.name_scope(name or "kl_divergence"):
        return ops.kl_divergence(first.logits_parameter(), second.logits_parameter())


for _other in (tfp.distributions.Categorical, tfp.distributions.OneHotCategorical):
    tfp.distributions.RegisterKL(PolicyDistribution, _other)(_kl_to_or_from_tfp)
    tfp.distributions.RegisterKL(_other, PolicyDistribution)(_kl_to_or_from_tfp)
