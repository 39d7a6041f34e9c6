"""What a sampler does while an agent trains, as metrics `sampler/*`; measured in the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from rlsample import lab, ops
from rlsample.distributions import CategoricalDistribution
from rlsample.rollouts.in_graph_collector import InGraphCollector
from rlsample.rollouts.recurrent.sequences import one_step
from rlsample.types import TensorLike

RELAXATION = ("sampler/one_hot_gap", "sampler/relaxed_entropy")
GRADIENT = tuple(f"sampler/gradient_{name}" for name in ("snr", *lab.OnlineAudit._fields[1:]))


def relaxation_metrics(policy: CategoricalDistribution, seed: TensorLike) -> dict[str, tf.Tensor]:
    """How relaxed the samples behind the gradient of a policy's sampler are, if it has any: float32 scalars.

    Args:
        policy: the distribution for a batch of observations.
        seed: int32 `[2]`.

    Returns:
        The metrics `RELAXATION`; none for a sampler that differentiates no relaxed sample.

    Examples:
        >>> from rlsample.rollouts.sampler_metrics import relaxation_metrics
        >>> head = heads.CategoricalHead(3, sampler="straight_through_gumbel_softmax", temperature=0.5)
        >>> metrics = relaxation_metrics(head.distribution(tf.zeros([64, 3])), seed=(0, 1))
        >>> {name: round(float(value), 2) for name, value in metrics.items()}
        {'sampler/one_hot_gap': 0.2, 'sampler/relaxed_entropy': 0.44}
    """
    found = lab.relaxation(policy.sampler, policy.logits, seed, temperature=policy.temperature)
    return {} if found is None else dict(zip(RELAXATION, found, strict=True))


def gradient_metrics(report: lab.OnlineAudit) -> dict[str, tf.Tensor]:
    """The metrics `GRADIENT`: float32 scalars.

    Examples:
        >>> from rlsample.rollouts.sampler_metrics import gradient_metrics
        >>> sampler, values = samplers.create("reinmax"), tf.constant([1.0, 0.0, 4.0])
        >>> objective = lambda one_hot: tf.linalg.matvec(one_hot, values)
        >>> report = lab.online(sampler, objective, tf.zeros([32, 3]), seed=(0, 1), num_draws=16)
        >>> list(gradient_metrics(report))[:3]
        ['sampler/gradient_snr', 'sampler/gradient_cosine', 'sampler/gradient_bias']
    """
    return dict(zip(GRADIENT, report, strict=True))


class OneStepAudit(NamedTuple):
    """Measures the gradients of a single step through an environment: of its reward and of what the critic says then.

        f(one_hot) = r(s, one_hot) + discount * V(s'(s, one_hot)), V = 0 where the episode ends

    Attributes:
        values: (what is learned, observations before and after the step `[2, B, ...]`) -> V `[2, B]`.
        discount: of V.
        draws: gradient estimates of one measurement.

    Examples:
        >>> from envs.cartpole import CartPole
        >>> from rlsample.rollouts.in_graph_collector import InGraphCollector
        >>> from rlsample.rollouts.sampler_metrics import OneStepAudit
        >>> collector = InGraphCollector(CartPole(), num_envs=32)
        >>> upright = lambda learned, observation: -(observation[..., 2] ** 2)  # for V
        >>> policy = heads.CategoricalHead(2, sampler="straight_through").distribution(tf.zeros([32, 2]))
        >>> audit = OneStepAudit(values=upright, discount=0.99, draws=16)
        >>> metrics = audit.metrics(None, policy, collector, collector.start((0, 1)).state, tf.constant([0, 2]))
        >>> sorted(metrics)[:2]
        ['sampler/gradient_bias', 'sampler/gradient_cosine']
    """

    values: Callable[[Any, tf.Tensor], tf.Tensor]
    discount: float
    draws: int

    def metrics(
        self, learned: Any, policy: CategoricalDistribution, collector: InGraphCollector, state: Any, seed: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The metrics `GRADIENT`, in the given states of the environments, for the policy there."""
        draw_seed, step_seed = tf.unstack(ops.split(seed, 2))
        observation, _ = collector.observe(state)

        def objective(one_hot: tf.Tensor) -> tf.Tensor:
            _, following, reward, terminated = collector.env.step(state, one_hot, step_seed)
            steps = tf.nest.map_structure(lambda *parts: tf.stack(parts), observation, collector.seen(following))
            beyond = self.values(learned, steps)[1]
            return tf.cast(reward, tf.float32) + self.discount * tf.where(terminated, tf.zeros_like(beyond), beyond)

        draws, temperature = max(2, self.draws), policy.temperature
        report = lab.online(policy.sampler, objective, policy.logits, draw_seed, draws, temperature=temperature)
        return gradient_metrics(report)


class CriticAudit(NamedTuple):
    """Measures the gradients of what a critic says of an action.

    Attributes:
        value: (what is learned, observations `[B, ...]`, one-hots `[B, K]` or `[B, F, K]`) -> `[B]`.
        draws: gradient estimates of one measurement.

    Examples:
        >>> from rlsample.rollouts.sampler_metrics import CriticAudit
        >>> audit = CriticAudit(lambda table, observation, one_hot: tf.reduce_sum(table * one_hot, -1), draws=4)
        >>> policy = distributions.CategoricalDistribution(tf.zeros([1, 3]), samplers.create("exact"))
        >>> float(audit.measure(tf.constant([1.0, 2.0, 4.0]), policy, None, (0, 1))["sampler/gradient_cosine"])
        1.0
    """

    value: Callable[[Any, Any, tf.Tensor], tf.Tensor]
    draws: int

    def metrics(
        self, learned: Any, policy: CategoricalDistribution, collector: InGraphCollector, state: Any, seed: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The metrics `GRADIENT`, in the given states of the environments, for the policy there.

        What is learned is given with its replay, as `off_policy.in_graph.Replayed` has it.
        """
        observation, _ = collector.observe(state)
        if "memory" in learned.begun:
            observation = one_step(observation, learned.begun["memory"])
        return self.measure(learned.learned, policy, observation, seed)

    def measure(
        self, learned: Any, policy: CategoricalDistribution, observation: Any, seed: TensorLike
    ) -> dict[str, tf.Tensor]:
        """The metrics `GRADIENT` for the policy at some observations."""

        def value(one_hot: tf.Tensor) -> tf.Tensor:
            return self.value(learned, observation, one_hot)

        draws, temperature = max(2, self.draws), policy.temperature
        return gradient_metrics(lab.online(policy.sampler, value, policy.logits, seed, draws, temperature=temperature))
