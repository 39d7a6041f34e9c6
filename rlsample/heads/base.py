"""What every policy head has: an action space, a temperature, a sampling state, and a distribution for its output."""

from __future__ import annotations

import abc
import random
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf

from rlsample import checks, ops, spaces
from rlsample.distributions import Distribution
from rlsample.heads.trunk import Trunk
from rlsample.spaces import config as space_config
from rlsample.types import Sample, TensorLike


class PolicyHead(Trunk):
    """Features -> the parameters of a distribution over actions. A Keras layer; base class of the heads.

        logits = head(features)                       a tensor: functional models, .keras files and export work
        sample = head.sample(logits, seed)            .one_hot is differentiable where the sampler is
        action = head.to_env(sample.action)           what `env.step` takes

    (`to_env` takes one-hots too. With the samplers `softmax` and `entmax`, whose `.one_hot` is the probabilities
    themselves, give it `.action`.) Every method takes the tensor that calling the head returned, and beside it a mask
    of legal categories. That tensor is called `logits`; the two heads that return parameters of another kind say so.
    `head.distribution(logits)` answers everything else: probabilities, entropy, divergence, expectations. Only
    `sample` and `expectation` draw.

    Attributes:
        action_space: the Gymnasium space of one action.
        factors: the space as categorical factors: sizes, padding, masks in every form (`factors.mask`).
        temperature: the current temperature, a float32 scalar variable that is not trained: `head.temperature.assign(
            schedule(step))` never retraces, compiled functions included. With `trainable_temperature` a tensor.

    Args:
        action_space: the space.
        temperature: its first value.
        trainable_temperature: learn the temperature, as exp of a weight.
        seed: start of the sampling state, see `next_seed`; None draws one (`keras.utils.set_random_seed` decides).
        **kwargs: hidden_sizes, activation, kernel_gain (see `Trunk`) and those of every Keras layer.

    Raises:
        ValueError: a space with a part that is not discrete, or an option out of range.

    Examples:
        >>> head = heads.for_space(gym.spaces.Discrete(3, start=5), hidden_sizes=(16,), temperature=0.5)
        >>> logits = head(tf.zeros([4, 8]))
        >>> sample = head.sample(logits, seed=(0, 1), mask=[True, False, True])
        >>> isinstance(head, heads.PolicyHead), sample.one_hot.shape, head.to_env(head.mode(logits).action)
        (True, TensorShape([4, 3]), array([5, 5, 5, 5]))
    """

    def __init__(
        self,
        action_space: gym.Space,
        *,
        temperature: float = 1.0,
        trainable_temperature: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.action_space = action_space
        self.factors = spaces.factorise(action_space)
        self.initial_temperature = checks.check_positive("temperature", temperature)
        self.trainable_temperature = bool(trainable_temperature)
        self._temperature = self.add_weight(
            name="log_temperature" if trainable_temperature else "temperature",
            shape=(),
            dtype="float32",
            autocast=False,
            trainable=self.trainable_temperature,
            initializer=keras.initializers.Constant(np.log(temperature) if trainable_temperature else temperature),
        )
        # Python's generator is the one `keras.utils.set_random_seed` seeds for Keras's own unseeded layers.
        self.seed = random.getrandbits(31) if seed is None else checks.check_count("seed", seed, 0)
        self._sampling_state = self.add_weight(
            name="sampling_state",
            shape=(2,),
            dtype="int64",
            autocast=False,
            trainable=False,
            initializer=lambda shape, dtype=None: tf.constant([self.seed, 0], tf.int64),
        )

    @property
    def temperature(self) -> Any:
        """The current temperature: a variable to assign to, or exp(weight) if it is trained."""
        return tf.exp(self._temperature) if self.trainable_temperature else self._temperature

    @abc.abstractmethod
    def distribution(self, logits: TensorLike, mask: TensorLike | None = None) -> Distribution:
        """The distribution of the action: sample, mode, log_prob, probs, entropy, kl_divergence and expectation.

        `.to_tfp()` gives it as a TensorFlow Probability distribution over one-hots.

        Args:
            logits: what calling the head returned.
            mask: boolean `[..., K]` or `[..., F, K]`, True = legal; `head.factors.mask` makes one from any other form.

        Raises:
            ValueError: logits or a mask of a shape or dtype that does not fit; in eager code also a row with nothing
                legal, at the latest when something is drawn.
        """

    def _check_event(self, logits: TensorLike, event: Sequence[int]) -> None:
        """Raises ValueError for what does not end in the axes `event`, such as features in the place of logits."""
        shape = tf.TensorShape(getattr(logits, "shape", np.shape(logits)))
        if not shape[-len(event) :].is_compatible_with(tf.TensorShape(event)):
            rule = f"logits that end in {tuple(event)}"
            raise checks.invalid(rule, shape=tuple(shape), hint="Pass what calling the head returned.")

    def sample(self, logits: TensorLike, seed: TensorLike, mask: TensorLike | None = None) -> Sample:
        """Draws one action per row.

        Args:
            logits: what calling the head returned.
            seed: stateless seed, int32 `[2]`; `head.next_seed()` for one of the head's own.
            mask: as in `distribution`.

        Returns:
            `Sample(action, one_hot)`: int32 `[...]` or `[..., F]`, float `[..., K]` or `[..., F, K]`.
        """
        return self.distribution(logits, mask).sample(seed)

    def mode(self, logits: TensorLike, mask: TensorLike | None = None) -> Sample:
        """The most probable action of every row, without noise."""
        return self.distribution(logits, mask).mode()

    def next_seed(self) -> tf.Tensor:
        """A fresh stateless seed, int32 `[2]`, from the head's sampling state, which advances by one.

        The state is a weight (`sampling_state`: seed and count), so it is in `.keras` files, `.weights.h5` files and
        checkpoints, and a restored head goes on with the noise it would have drawn.
        """
        state = tf.convert_to_tensor(self._sampling_state)
        self._sampling_state.assign_add([0, 1])
        return ops.fold_in(tf.bitcast(state[0], tf.int32), state[1])

    def to_env(self, draw: Any) -> Any:
        """Turns draws (float one-hots or integer actions) into the environment's actions; see `Factors.to_env`."""
        return self.factors.to_env(draw)

    def from_env(self, actions: Any) -> np.ndarray:
        """Turns the environment's actions into integer actions, int32 `[...]` or `[..., F]`; see `Factors.from_env`."""
        return self.factors.from_env(actions)

    def get_config(self) -> dict[str, Any]:
        """Everything needed to make the layer again, without its weights."""
        return {
            **super().get_config(),
            "action_space": space_config.to_config(self.action_space),
            "temperature": self.initial_temperature,
            "trainable_temperature": self.trainable_temperature,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PolicyHead:
        """Makes the layer from what `get_config` returned."""
        return cls(**{**config, "action_space": space_config.from_config(config["action_space"])})
