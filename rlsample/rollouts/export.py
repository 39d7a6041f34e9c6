"""A trained policy as a SavedModel, which TensorFlow alone serves: observations in, actions and probabilities out.

    run.policy.export("served")

    served = tf.saved_model.load("served")                       # where rlsample need not be installed
    outcome = served.serve(observations)                         # {"action": ..., "probabilities": ...}
    outcome = served.serve_masked(observations, mask)            # only what is legal
    outcome = served.serve(observations, state)                  # a policy with a memory; goes on with outcome["state"]

All between the environment and the network is inside: how observations become features, and categories actions. There
is no noise in it; whoever wants to draw does so from the probabilities.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf

from rlsample import checks
from rlsample.spaces.observations import map_parts, specs
from rlsample.spaces.parts import Part

if TYPE_CHECKING:
    from rlsample.rollouts.policy import Policy

PROBABILITIES = "probabilities"
STATE = "state"


def export(policy: Policy, path: str | Path) -> None:
    """Writes a policy as a SavedModel, and checks it by running it.

    Its functions are `serve(observations)`, the default signature too, and `serve_masked(observations, mask)`, for a
    batch as a vector environment gives it: `[B, *shape]`, the parts of a Tuple or Dict one after another, in the order
    of `tf.nest`: keys sorted. Masks are bool `[B, K]`, or `[B, F, K]` for several factors, True = legal. With a memory
    the state comes after the observations, float32 `[B, S]`, zeros where an episode begins.

    They give a dictionary: `action`, the most probable one as the environment takes it, for a Tuple or Dict the parts
    `action_KEY`; `probabilities`, float32 of the shape of a mask; and with a memory `state`, for the next step.

    Args:
        policy: what to export, with its weights as they are.
        path: the folder to write.

    Raises:
        ValueError: two parts of an action would have one name, or the file does not do what the policy does.

    Examples:
        >>> from rlsample.rollouts.export import export
        >>> from rlsample.rollouts.policy import Policy
        >>> env = gym.make("CartPole-v1")
        >>> export(Policy(env.observation_space, env.action_space, samplers.create("categorical")), "served")
        >>> served = tf.saved_model.load("served")  # needs no rlsample
        >>> served.serve(np.zeros([3, 4], np.float32))["probabilities"].shape
        TensorShape([3, 2])
    """
    names = [name for name, _ in _actions(policy.factors.root, tf.zeros([1, policy.factors.num_factors], tf.int32))]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise checks.invalid("parts of the action whose names differ", twice=twice, hint="Call a key another name.")
    archive = keras.export.ExportArchive(name="policy")
    archive.track(policy.model)
    kinds = specs(policy.observation_space)
    signature = tf.nest.flatten(map_parts(_signature, policy.observation_space))
    mask = tf.TensorSpec([None, *policy.factors.event_shape], tf.bool, "mask")
    everything = policy.factors.mask(None, 1)
    everything = np.ones((1, *policy.factors.event_shape), bool) if everything is None else everything
    if policy.state_size:
        signature.append(tf.TensorSpec([None, policy.state_size], tf.float32, STATE))

    def serve_masked(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        *given, legal = inputs
        parts, state = (given[:-1], given[-1]) if policy.state_size else (given, None)
        pairs = zip(parts, tf.nest.flatten(kinds), strict=True)
        observation = tf.nest.pack_sequence_as(kinds, [tf.cast(part, kind.dtype) for part, kind in pairs])
        logits, state = policy.logits_and_state(policy.read_in_graph(observation), state)
        indices = policy.head.mode(logits, mask=legal).action
        probabilities = tf.cast(policy.head.distribution(logits, legal).probs(), tf.float32)
        outcome = dict(_actions(policy.factors.root, indices)) | {PROBABILITIES: probabilities}
        return outcome if state is None else outcome | {STATE: state}

    def serve(*given: tf.Tensor) -> dict[str, tf.Tensor]:
        return serve_masked(*given, tf.repeat(tf.constant(everything), tf.shape(given[0])[0], axis=0))

    archive.add_endpoint("serve", serve, input_signature=signature)
    archive.add_endpoint("serve_masked", serve_masked, input_signature=[*signature, mask])
    archive.write_out(str(path), verbose=False)
    _check(policy, path)


def _signature(path: str, part: gym.Space) -> tf.TensorSpec:
    """A batch of a part of the observations, in the environment's own dtype."""
    return tf.TensorSpec([None, *(part.shape or ())], part.dtype, re.sub(r"[^A-Za-z0-9_]+", "_", path).strip("_"))


def _actions(part: Part, indices: tf.Tensor, name: str = "action") -> Iterator[tuple[str, tf.Tensor]]:
    """`Factors.to_env` of factor indices `[B]` or `[B, F]`, part by part."""
    space = part.space
    if isinstance(space, (gym.spaces.Dict, gym.spaces.Tuple)):
        for key, child in part.children.items():
            yield from _actions(child, indices, f"{name}_{key}")
        return
    own = indices[:, part.first : part.stop] if indices.shape.rank == 2 else indices
    start = 0 if isinstance(space, gym.spaces.MultiBinary) else space.start
    yield name, tf.cast(tf.reshape(own, [-1, *space.shape]), space.dtype) + tf.cast(start, space.dtype)


def _check(policy: Policy, path: str | Path) -> None:
    # Held in a name: its variables go with it.
    served = tf.saved_model.load(str(path))
    observations = map_parts(_likely, policy.observation_space)
    state = [np.zeros((3, policy.state_size), np.float32)] if policy.state_size else []
    found = served.serve(*tf.nest.flatten(observations), *state)
    expected = policy.action_probabilities(observations)
    difference = float(np.abs(found[PROBABILITIES] - expected).max())
    if not difference <= 1e-5:
        raise checks.invalid(f"the files in {path} to give the policy's probabilities", largest_difference=difference)


def _likely(path: str, part: gym.Space) -> np.ndarray:
    """Three observations of about the size that a network is made for, however wide the bounds of the space."""
    generator = np.random.default_rng(len(path))
    if not isinstance(part, gym.spaces.Box):
        own = copy.deepcopy(part)
        own.seed(0)
        return np.stack([own.sample() for _ in range(3)])
    shape, low, high = (3, *part.shape), part.low.astype(np.float64), part.high.astype(np.float64)
    if part.dtype.kind == "f":
        return np.clip(generator.normal(size=shape), low, high).astype(part.dtype)
    low = np.maximum(low, -100).astype(np.int64)
    return generator.integers(low, np.minimum(high, low + 100).astype(np.int64), shape, endpoint=True).astype(
        part.dtype
    )
