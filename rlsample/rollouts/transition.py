"""One step in an environment: what every collector gives."""

from __future__ import annotations

from typing import Any, NamedTuple


class Transition(NamedTuple):
    """One step of `B` environments; stacked, T steps with T in front. NumPy on the host, tensors in compiled code.

    Attributes:
        observation: what was acted on: a tree of arrays `[B, ...]`, as `spaces.observations.specs` has them.
        mask: bool `[B, K]` or `[B, F, K]`, what was legal there; None where everything always is.
        action: int32 `[B]` or `[B, F]`, factor indices.
        reward: float32 `[B]`.
        next_observation: what the action led to: the last observation of the episode where it ended.
        next_mask: what is legal there; everything that exists where the task ended. None if nobody asks.
        terminated: bool `[B]`, the task ended: no value beyond.
        truncated: bool `[B]`, only the time did: the value of `next_observation` counts.
        valid: bool `[B]`, False where the environment ignored the action to reset itself; no loss may use such a row.
            None where all rows count.

    Examples:
        >>> from rlsample.rollouts.gymnasium_collector import GymnasiumCollector
        >>> envs = gym.make_vec("CartPole-v1", num_envs=2)
        >>> collector = GymnasiumCollector(envs, spaces.factorise(envs.single_action_space), seed=0)
        >>> transition = collector.step(np.array([0, 1]))
        >>> transition.action, transition.reward, transition.valid
        (array([0, 1], dtype=int32), array([1., 1.], dtype=float32), array([ True,  True]))
    """

    observation: Any
    mask: Any
    action: Any
    reward: Any
    next_observation: Any
    next_mask: Any
    terminated: Any
    truncated: Any
    valid: Any


class DistantTransition(NamedTuple):
    """A `Transition` that was collected elsewhere, with what its learner cannot know of it.

    Attributes:
        log_prob: float32 `[B]`, of the action under the policy that drew it, where that may be an earlier one than the
            one that learns; `()` where it is the newest.
        memory: of networks with a memory, what each remembered before the first of T steps: float32 `[1, B, S]` each,
            zeros where an episode begins; `()` without a memory.

    Examples:
        >>> from rlsample.rollouts.transition import DistantTransition
        >>> step = dict.fromkeys(DistantTransition._fields) | {"action": np.array([1]), "log_prob": np.array([-0.7])}
        >>> DistantTransition(**step).log_prob
        array([-0.7])
    """

    observation: Any
    mask: Any
    action: Any
    reward: Any
    next_observation: Any
    next_mask: Any
    terminated: Any
    truncated: Any
    valid: Any
    log_prob: Any = ()
    memory: Any = ()

    @property
    def lags(self) -> bool:
        """Whether an earlier policy may have collected it."""
        return not isinstance(self.log_prob, tuple)
