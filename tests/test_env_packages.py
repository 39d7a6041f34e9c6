"""Environments of other packages by their ids alone, and wrappers by name: what is observed, and what reads it."""

from __future__ import annotations

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

import envs as own_envs  # noqa: F401  registers rlsample/...
from rlsample import runs, samplers
from rlsample.rollouts.policy import Policy
from rlsample.runs import env_packages
from rlsample.runs.env_config import EnvConfig

# id -> (package that it needs, the network that is chosen)
IDS = {
    "FrozenLake-v1": ("gymnasium", "mlp"),
    "CliffWalking-v1": ("gymnasium", "mlp"),
    "Taxi-v4": ("gymnasium", "mlp"),
    "Blackjack-v1": ("gymnasium", "mlp"),
    "LunarLander-v3": ("Box2D", "mlp"),
    "MiniGrid-Empty-5x5-v0": ("minigrid", "joined"),
    "MinAtar/Breakout-v1": ("minatar", "convolutional"),
    "ALE/Breakout-v5": ("ale_py", "convolutional"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("env_id", IDS)
def test_an_id_is_enough(env_id):
    package, network = IDS[env_id]
    pytest.importorskip(package)
    envs = EnvConfig(id=env_id).make(num_envs=2, max_episode_steps=50)
    policy = Policy(envs.single_observation_space, envs.single_action_space, samplers.create("categorical"))
    assert policy.network.name == network
    observations, info = envs.reset(seed=1)
    ended = 0
    for step in range(60):
        mask = None if ended else info.get("action_mask")
        actions = policy.act(observations, mask, seed=step)
        assert envs.action_space.contains(np.asarray(actions, envs.action_space.dtype))
        observations, _, terminated, truncated, info = envs.step(actions)
        ended = (terminated | truncated).any()
        if ended:
            break
    assert ended
    envs.close()


# id -> words that make a short run of it; a network for screens takes seconds for each update without a GPU.
SHORT = {
    "FrozenLake-v1": [],
    "CliffWalking-v1": [],
    "Blackjack-v1": [],
    "LunarLander-v3": [],
    "ALE/Breakout-v5": ["agent.updates_per_step=0.01", "agent.batch_size=32", "agent.jit_compile=false"],
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("env_id", SHORT)
def test_training_begins_with_an_id_and_no_other_word(env_id, tmp_path):
    """The shipped configuration that `make train` takes, on another environment: it acts, learns and is evaluated."""
    pytest.importorskip(IDS[env_id][0])
    words = [f"env.id={env_id}", "total_steps=768", "evaluation.episodes=2", "evaluation.every=null"]
    words += ["tracking.wandb=disabled", "evaluation.max_episode_steps=200", *SHORT[env_id]]
    run = runs.train("agents/configs/cartpole.yaml", tmp_path / "run", *words, progress=False)
    losses, entropy = (np.asarray(run.metrics[name]) for name in ("losses/critic", "policy/entropy"))
    assert np.isfinite(losses).any()
    assert run.evaluation["episodes"] == 2
    assert np.isfinite(run.evaluation["mean_return"])
    assert entropy[np.isfinite(entropy)][-1] > 0.1 * np.log(run.policy.factors.num_categories)


def test_minigrids_text_is_left_out_with_a_word_and_other_wrappers_win():
    pytest.importorskip("minigrid")
    config = EnvConfig(id="MiniGrid-Empty-5x5-v0")
    assert config.wrappers == ({"name": "FilterObservation", "filter_keys": ["image", "direction"]},)
    assert "`mission` is left out" in config.note
    assert EnvConfig(**config.model_dump(mode="json")) == config
    images = EnvConfig(id="MiniGrid-Empty-5x5-v0", wrappers=["RGBImgPartialObsWrapper", "ImgObsWrapper"])
    assert images.make(1).single_observation_space.shape == (56, 56, 3)
    assert images.note == ""
    bare = EnvConfig(id="MiniGrid-Empty-5x5-v0", wrappers=[]).make(1)
    with pytest.raises(ValueError, match=r"observation\['mission'\].*reads no text.*FilterObservation.*env.wrappers"):
        Policy(bare.single_observation_space, bare.single_action_space, samplers.create("categorical"))


def test_wrappers_go_around_every_environment():
    stack = {"name": "FrameStackObservation", "stack_size": 3}
    envs = EnvConfig(id="rlsample/CartPole-v1", wrappers=[stack]).make(2)
    assert envs.reset(seed=1)[0].shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("wrapper", "message"),
    [
        ("FrameStack", "Unknown wrapper 'FrameStack'. Did you mean 'FrameStackObservation'"),
        ({"stack_size": 3}, "a wrapper's name or a mapping with the key 'name'"),
        ("ABC", "Unknown wrapper"),
    ],
)
def test_a_wrapper_that_is_none_is_told(wrapper, message):
    with pytest.raises(ValueError, match=message):
        EnvConfig(id="CartPole-v1", wrappers=[wrapper])


def test_a_package_that_is_not_installed_is_named_with_the_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "ale_py", None)
    for name in [name for name in gym.registry if name.startswith("ALE/")]:
        monkeypatch.delitem(gym.registry, name)
    with pytest.raises(ValueError, match=r"package to be installed. Received: missing='ale_py'. pip install"):
        EnvConfig(id="ALE/Pong-v5")
    assert env_packages.package_of("CartPole-v1").module == ""


def test_the_environments_of_this_library_are_known_without_an_import():
    code = "from rlsample.runs import EnvConfig; print(EnvConfig(id='rlsample/CartPole-v1').id)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "rlsample/CartPole-v1\n"
