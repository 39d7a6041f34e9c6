"""Who takes part: each agent's name, what it sees of the joint observation, and its factor of the joint action.

An environment of several agents is, to everything below, one whose action has a factor for each of them. Its spaces
are those of Gymnasium, an entry for each agent in both:

    Dict and Dict       by their names: PettingZoo's environments, once `FromPettingZoo` made one of theirs
    Tuple and Tuple     `agent_0`, `agent_1`, ...: lbforaging, rware
    Dict and Box        with an axis for the agents in front: those written in TensorFlow
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from rlsample import checks
from rlsample.rollouts.environments.masks import without_mask
from rlsample.spaces import Factors, factorise
from rlsample.spaces.features import described, width

if TYPE_CHECKING:
    from rlsample.networks.flattening import Flattening


@dataclasses.dataclass(frozen=True, eq=False)
class Agents:
    """The agents of an environment.

    Attributes:
        names: in the order of the factors of the joint action.
        factors: of the joint action, one for each of N agents; smaller sets of actions are padded to K.
        flattening: joint observations -> joint features.
        places: int `[N, D]`, where in the joint features each agent's own are; their number for padding.

    Examples:
        >>> from envs.speaker_listener import SpeakerListener
        >>> from rlsample.rollouts.several_agents.agents import Agents
        >>> game = SpeakerListener(targets=4)
        >>> agents = Agents.of(game.observation_space, game.action_space)
        >>> agents.names, agents.factors.sizes
        (('speaker_0', 'listener_0'), (4, 4))
        >>> agents.read({"speaker_0": "reinmax"}, default="exact")
        ['reinmax', 'exact']
    """

    names: tuple[str, ...]
    factors: Factors
    flattening: Flattening
    places: np.ndarray

    @classmethod
    def of(cls, observation_space: gym.Space, action_space: gym.Space) -> Self:
        """Reads the agents from the spaces of one environment.

        Raises:
            ValueError: spaces that are not those of several agents; names the agent whose space does not fit.
        """
        from rlsample.networks.flattening import flattening  # Keras, which who only steps environments does without.

        actions = named(action_space)
        for name, space in actions.items():
            if not isinstance(space, spaces.Discrete):
                raise checks.invalid(f"the actions of agent {name!r} to be Discrete", action_space=space)
        observation_space = without_mask(observation_space)
        together = flattening(observation_space)
        sizes = _feature_sizes(observation_space, list(actions))
        total, longest = together.size, max(sizes.values())
        starts = dict(zip(sizes, np.cumsum([0, *sizes.values()]).tolist(), strict=False))
        places = np.full((len(actions), longest), total)
        for row, name in zip(places, actions, strict=True):
            row[: sizes[name]] = starts[name] + np.arange(sizes[name])
        return cls(tuple(actions), factorise(action_space), together, places)

    @property
    def space(self) -> spaces.Box:
        """Of the joint features."""
        return spaces.Box(-np.inf, np.inf, (self.flattening.size,))

    def features(self, observation: Any) -> np.ndarray:
        """The joint features of a batch of joint observations, as `observations.read` has them: float32 `[B, all]`."""
        return self.flattening.in_numpy(observation)

    def read(self, per_agent: Mapping[str, Any], default: Any) -> list[Any]:
        """A value for each agent, in their order, from a mapping by names.

        Raises:
            ValueError: a name that no agent has.
        """
        check_names(per_agent, self.names)
        return [per_agent.get(name, default) for name in self.names]


def check_names(given: Iterable[str], names: Iterable[str]) -> None:
    """Raises ValueError for the first name that no agent has.

    Examples:
        >>> from rlsample.rollouts.several_agents.agents import check_names
        >>> check_names(["speaker_0", "speaker_1"], ["speaker_0", "listener_0"])
        Traceback (most recent call last):
            ...
        ValueError: Unknown agent 'speaker_1'. Did you mean 'speaker_0'? Choose one of: listener_0, speaker_0.
    """
    known = list(names)
    for name in given:
        if name not in known:
            raise checks.unknown("agent", name, known)


def named(space: gym.Space) -> dict[str, gym.Space]:
    """The space of each agent: by the keys of a Dict, or numbered for a Tuple.

    Raises:
        ValueError: it is neither, or empty.

    Examples:
        >>> from rlsample.rollouts.several_agents.agents import named
        >>> named(gym.spaces.Tuple([gym.spaces.Discrete(2), gym.spaces.Discrete(3)]))
        {'agent_0': Discrete(2), 'agent_1': Discrete(3)}
    """
    match space:
        case spaces.Dict() if space.spaces:
            return {str(name): part for name, part in space.spaces.items()}
        case spaces.Tuple() if space.spaces:
            return {f"agent_{index}": part for index, part in enumerate(space.spaces)}
    hint = "Agents for one agent, such as ppo, take the others."
    raise checks.invalid("a Tuple or Dict space, with an entry for each agent", space=space, hint=hint)


def is_several(observation_space: gym.Space, action_space: gym.Space) -> bool:
    """Whether both spaces are a Tuple, or both a Dict, of the same agents.

    Examples:
        >>> from rlsample.rollouts.several_agents.agents import is_several
        >>> seen, done = gym.spaces.Box(-1.0, 1.0, (4,)), gym.spaces.Discrete(5)
        >>> is_several(seen, done), is_several(gym.spaces.Tuple([seen, seen]), gym.spaces.Tuple([done, done]))
        (False, True)
    """
    kinds = (spaces.Dict, spaces.Tuple)
    if not (isinstance(action_space, kinds) and isinstance(observation_space, kinds)):
        return False
    same_kind = isinstance(action_space, spaces.Dict) == isinstance(observation_space, spaces.Dict)
    return same_kind and bool(action_space.spaces) and named(observation_space).keys() == named(action_space).keys()


def _feature_sizes(space: gym.Space, names: list[str]) -> dict[str, int]:
    """How many features each agent sees, in the order in which they lie side by side."""
    if isinstance(space, spaces.Box) and len(space.shape) > 1 and space.shape[0] == len(names):
        return dict.fromkeys(names, int(np.prod(space.shape[1:])))
    if isinstance(space, spaces.Dict | spaces.Tuple) and (parts := named(space)).keys() == set(names):
        # As `tf.nest` has them: those of a Dict in the order of their names.
        order = sorted(parts) if isinstance(space, spaces.Dict) else list(parts)
        return {name: width(described(parts[name])) for name in order}
    raise checks.invalid(f"an observation of each of the agents {names}", observation_space=space)
