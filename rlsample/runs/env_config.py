"""Which environment a run is in, and how it is made."""

from __future__ import annotations

import copy
import functools
import multiprocessing
import os
import re
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import Any, Literal

import pydantic
from pydantic import Field, JsonValue

from rlsample import checks
from rlsample.rollouts.environments import hanging
from rlsample.runs import env_packages
from rlsample.runs.block import Block

_SECRET = re.compile(r"api_?key|secret|passw(or)?d|credential|(^|_)token$", re.IGNORECASE)

_OWN_OPTIONS = frozenset({"id", "num_envs", "vectorization_mode", "vector_kwargs", "wrappers"})

_CODE = frozenset({"functional", "wrap", "entry_point", "vector_entry_point", "additional_wrappers"})
"""Options by which a registration names the code of an environment. A configuration, which is a file, names none."""

_LIMIT = "max_episode_steps"

_LIMITS = ("max_steps", "max_cycles")
"""What packages of several agents, with limits of their own, call them."""

NEAREST_IDS = 3
"""How many registered ids an unknown one is answered with: there are more than a message is read for."""


class EnvConfig(Block):
    """Which environment, and how many of it side by side.

    Examples:
        >>> env = runs.EnvConfig(id="CartPole-v1", num_envs=4)
        >>> env.make().num_envs, env.own_limit()
        (4, 500)
    """

    id: str = Field(description="A registered Gymnasium id.")
    num_envs: int = Field(default=8, ge=1, description="Environments stepped together while training.")
    kwargs: dict[str, JsonValue] = Field(default={}, description="Passed on to the environment.")
    wrappers: tuple[str | dict[str, JsonValue], ...] | None = Field(
        default=None,
        validate_default=True,
        description="Around each environment, the innermost first: names of gymnasium.wrappers, minigrid.wrappers or "
        "rlsample.wrappers, or {name, options}; by default what is usual for MiniGrid, else none.",
    )
    vectorization_mode: Literal["sync", "async", "vector_entry_point"] | None = Field(
        default=None,
        description="As in gymnasium.make_vec; by default the environment's own vector form where it has one.",
    )
    step_seconds: float | None = Field(
        default=600.0,
        ge=1,
        description="How long all environments may take to be made, reset or stepped once, before the run is ended and "
        "the one that hangs is named; null waits for ever.",
    )

    @pydantic.field_validator("id")
    @classmethod
    def _registered(cls, value: str) -> str:
        import gymnasium

        if ":" in value:
            module, _, plain = value.partition(":")
            hint = f"A file imports nothing: give --import {module} and env.id={plain} (from Python, import {module})."
            raise checks.invalid("an id without a module in it", id=value, hint=hint)
        if value not in gymnasium.registry:
            env_packages.register(env_packages.package_of(value))
        if value not in gymnasium.registry:
            hint = "If another package registers it: --import MODULE, the module that does (from Python, import it)."
            raise checks.unknown("environment", value, gymnasium.registry, limit=NEAREST_IDS, hint=hint)
        return value

    @pydantic.field_validator("wrappers", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        for each in value if isinstance(value, tuple) else ():
            if not isinstance(each, (str, dict)):
                raise checks.invalid("a wrapper's name or a mapping with the key 'name'", wrapper=each)
        return value

    @pydantic.field_validator("wrappers")
    @classmethod
    def _known(cls, value: tuple[Any, ...] | None, info: pydantic.ValidationInfo) -> tuple[Any, ...]:
        if value is None:
            return env_packages.package_of(info.data.get("id", "")).wrappers
        for each in value:
            env_packages.wrapper(each)
        return value

    @property
    def note(self) -> str:
        """A sentence about the usual wrappers, where they are on."""
        package = env_packages.package_of(self.id)
        return package.note if self.wrappers == package.wrappers else ""

    @pydantic.field_validator("kwargs")
    @classmethod
    def _harmless(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for key in _OWN_OPTIONS.intersection(value):
            raise checks.invalid("options of the environment itself", kwargs=key)
        for key in _CODE.intersection(value):
            raise checks.invalid("no code to be named in a configuration", kwargs=key, hint="Register an environment.")
        for secret in filter(_SECRET.search, _keys(value)):
            raise ValueError(
                f"Expected no secret in a configuration, which is saved and tracked. Received: {secret}. "
                "Let the environment read it from an environment variable."
            )
        return value

    def make(self, num_envs: int | None = None, max_episode_steps: int | None = None, **options: Any) -> Any:
        """Returns a new `gymnasium.vector.VectorEnv`.

        Args:
            num_envs: how many; by default the field's.
            max_episode_steps: cuts episodes that are longer, in environments that are stepped one by one too.
            **options: go to `gymnasium.make_vec` and win over the fields.
        """
        import gymnasium

        from rlsample.rollouts.environments.faults import made
        from rlsample.rollouts.environments.guard import Guard
        from rlsample.rollouts.environments.masks import mask_in_info

        words: dict[str, Any] = {"num_envs": num_envs or self.num_envs, "vectorization_mode": self.vectorization_mode}
        words |= self.kwargs | options
        target: Any = self.id
        spec, mode = gymnasium.spec(self.id), words["vectorization_mode"]
        if mode == "async" and self.in_graph:
            hint = "Leave env.vectorization_mode out: one program steps all environments."
            rule = "no processes for an environment written in TensorFlow, which does not survive a fork"
            raise checks.invalid(rule, vectorization_mode=mode, id=self.id, hint=hint)
        # Asked for where there is none, Gymnasium says so itself.
        native = mode is None and spec.vector_entry_point is not None
        wrap = self._in_graph_wrappers()
        if mode == "vector_entry_point" or (native and (wrap is not None or not self.wrappers)):
            if wrap is not None:
                words["wrap"] = wrap
            if max_episode_steps is not None:
                name, count = env_packages.package_of(self.id).step_limit
                own = words.get(name) or count * (spec.max_episode_steps or max_episode_steps)
                words[name] = min(count * max_episode_steps, own)
        else:
            wrappers: list[Any] = [_apart, functools.partial(Guard, env_id=self.id, count=_Count())]
            if mode == "async":
                wrappers.append(_as_own_process)
                # An error in such a process is raised; that it is shown as a warning too would bury what is said.
                warnings.filterwarnings("ignore", category=UserWarning, module=r"gymnasium\.vector\.async_vector_env")
            if max_episode_steps is not None:
                wrappers.append(functools.partial(gymnasium.wrappers.TimeLimit, max_episode_steps=max_episode_steps))
            if self.wrappers:
                wrappers.append(mask_in_info)
            for each in self.wrappers or ():
                made_by, arguments = env_packages.wrapper(each)
                wrappers.append(functools.partial(made_by, **arguments))
            words["wrappers"] = [*wrappers, *words.get("wrappers", ())]
            words["vectorization_mode"] = mode or "sync"
            target = _keeping_its_limit(spec)
        envs = made(self.id, self.step_seconds, lambda: gymnasium.make_vec(target, **words))
        envs.unwrapped.step_seconds = self.step_seconds
        return envs

    def _in_graph_wrappers(self) -> Any:
        """What puts the wrappers around an in-graph environment; None if there are none, or not all of them can."""
        named: list[dict[str, Any]]
        named = [{"name": each} if isinstance(each, str) else each for each in self.wrappers or ()]
        if not named or not self.in_graph:
            return None
        from rlsample.wrappers import IN_GRAPH, InGraphWrappers  # TensorFlow, which the others do without.

        if not all(each["name"] in IN_GRAPH for each in named):
            return None
        options = ({key: value for key, value in each.items() if key != "name"} for each in named)
        return InGraphWrappers([(each["name"], rest) for each, rest in zip(named, options, strict=True)])

    @property
    def in_graph(self) -> bool:
        """Whether it is written in TensorFlow."""
        import gymnasium

        return "functional" in gymnasium.spec(self.id).kwargs

    def own_limit(self) -> int | None:
        """Steps after which the environment cuts its episodes, as far as its registration or the kwargs tell."""
        import gymnasium

        spec = gymnasium.spec(self.id)
        options = spec.kwargs | self.kwargs
        limits = (options.get(name) for name in (_LIMIT, *_LIMITS))
        return spec.max_episode_steps or next((limit for limit in limits if isinstance(limit, int)), None)


class _Count:
    """0, 1, 2, ... at each call."""

    def __init__(self) -> None:
        self._next = -1

    def __call__(self) -> int:
        self._next += 1
        return self._next


def _keeping_its_limit(spec: Any) -> Any:
    """A registration whose environment has an argument `max_episode_steps` of its own, as lbforaging's do.

    Gymnasium would take it for the limit that it has under that name itself, and not pass it on.
    """
    if _LIMIT not in spec.kwargs:
        return spec
    import gymnasium

    spec = copy.deepcopy(spec)
    entry = spec.entry_point
    create = entry if callable(entry) else gymnasium.envs.registration.load_env_creator(entry)
    spec.entry_point = functools.partial(create, **{_LIMIT: spec.kwargs.pop(_LIMIT)})
    return spec


def _apart(env: Any) -> Any:
    """Takes the rewards of several agents apart, and mends what their packages say of ends."""
    from rlsample.rollouts.several_agents.agents import is_several
    from rlsample.rollouts.several_agents.gymnasium_tuples import SeveralAgents

    return SeveralAgents(env) if is_several(env.observation_space, env.action_space) else env


def _as_own_process(env: Any) -> Any:
    """Makes an environment's own process leave Ctrl-C to the run, be interrupted by it alone, and end with it."""
    if multiprocessing.parent_process() is not None:
        hanging.let_be_interrupted()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        threading.Thread(target=_end_with_the_run, daemon=True).start()
    return env


def _end_with_the_run() -> None:
    """Waits for the end of the run, however it ends: a process that hangs would be left over."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _keys(value: Any) -> Iterator[str]:
    """Yields the keys of a tree of mappings and sequences."""
    if isinstance(value, dict):
        yield from value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _keys(item)
