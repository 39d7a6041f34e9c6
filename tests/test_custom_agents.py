"""The snippets of the page on custom agents do what it says; `test_pages.py` runs the page itself."""

from __future__ import annotations

import importlib
import inspect
import runpy

import gymnasium as gym
import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from agents.snippets import gradient_tape, joint_distribution, keras_fit, ppo_script
from rlsample import heads
from scripts.catalogue import known_agents
from tests.helpers_pages import ROOT, blocks, pages

PAGE = pages()["custom_agents"]


# ---- the three lines of PPO


def changed_lines():
    (_, diff), *others = blocks("custom_agents", "diff")
    assert not others
    old = [line[1:] for line in diff.splitlines() if line.startswith("-")]
    new = [line[1:] for line in diff.splitlines() if line.startswith("+")]
    return old, new


def original_agent():
    """The agent before the change: the page's minus lines in the place of its plus lines."""
    source = inspect.getsource(ppo_script.Agent)
    for old, new in zip(*changed_lines(), strict=True):
        assert source.count(new + "\n") == 1
        source = source.replace(new, old)

    def mlp(*sizes):
        hidden = [keras.layers.Dense(size, "tanh") for size in sizes[:-1]]
        return keras.Sequential([*hidden, keras.layers.Dense(sizes[-1])])

    namespace = vars(ppo_script) | {"mlp": mlp, "tfp": tfp}
    exec(source, namespace)
    return namespace["Agent"]


def test_three_lines_change_and_mean_the_same_for_discrete():
    assert len(changed_lines()[0]) == len(changed_lines()[1]) == 3
    envs = gym.make_vec("CartPole-v1", 4, vectorization_mode="sync")
    before, after = original_agent()(envs), ppo_script.Agent(envs)
    x = tf.constant(envs.reset(seed=0)[0])
    expected, found = before.get_action_and_value(x), after.get_action_and_value(x)
    assert [(part.shape, part.dtype) for part in found] == [(part.shape, part.dtype) for part in expected]
    for mine, theirs in zip(after.actor.trainable_variables, before.actor.trainable_variables, strict=True):
        mine.assign(theirs)
    action = tf.constant([0, 1, 1, 0])
    for index, (mine, theirs) in enumerate(
        zip(after.get_action_and_value(x, action), before.get_action_and_value(x, action), strict=True)
    ):
        if index < 3:  # the critics are different networks
            np.testing.assert_allclose(mine, theirs, rtol=1e-5)


@pytest.mark.parametrize(
    ("env_id", "steps", "gain"),
    [
        pytest.param("CartPole-v1", 5000, 1.4, marks=pytest.mark.slow),
        pytest.param("MultiDiscrete-v0", 5000, 1.4, marks=pytest.mark.slow),
        pytest.param("RaggedDict-v0", 5000, 1.25, marks=pytest.mark.slow),
    ],
)
def test_the_ppo_script_learns_in_any_space(env_id, steps, gain):
    own = not env_id.startswith("CartPole")
    options = {"env_id": f"envs:rlsample/{env_id}", "gamma": 0.0, "gae_lambda": 0.0} if own else {"env_id": env_id}
    history = ppo_script.train(ppo_script.Args(total_timesteps=steps, **options))
    assert history[-1] > gain * history[0]


# ---- the other snippets


@pytest.mark.parametrize(
    "sampler", ["straight_through_gumbel_softmax", pytest.param("reinmax", marks=pytest.mark.slow)]
)
def test_the_tape_loop_learns(sampler):
    assert gradient_tape.train(sampler, steps=150) > 0.8  # chance is 0.34


@pytest.mark.slow
def test_fit_learns_by_imitation_and_from_values():
    keras.utils.set_random_seed(0)
    observations, values = keras_fit.example()
    best = values.argmax(-1)
    cloned = keras_fit.imitate(gym.spaces.Discrete(4), observations, best)
    assert np.mean(cloned.predict(observations, verbose=0).argmax(-1) == best) > 0.95
    chooser = keras_fit.choose(observations, values)
    assert np.mean(chooser.predict(observations, verbose=0).argmax(-1) == best) > 0.85


@pytest.mark.slow
def test_imitation_in_a_ragged_space():
    keras.utils.set_random_seed(0)
    space = gym.spaces.Dict({"gear": gym.spaces.Discrete(2, start=3), "dial": gym.spaces.Discrete(5)})
    observations, values = keras_fit.example(num_rows=256, num_actions=5)
    actions = {"gear": 3 + (values[:, 0] > 0), "dial": values.argmax(-1)}
    model = keras_fit.imitate(space, observations, actions)
    head = model.layers[-1]
    found = head.to_env(head.mode(model(observations)).action)
    assert np.mean(found["gear"] == actions["gear"]) > 0.9
    assert np.mean(found["dial"] == actions["dial"]) > 0.9


def test_the_joint_distribution_factorises_and_its_gradient_reaches_the_first_choice():
    keras.utils.set_random_seed(0)
    manager = heads.CategoricalHead(3, kernel_gain=1.0)
    worker = heads.CategoricalHead(4, kernel_gain=1.0)
    observation = tf.random.stateless_normal([2, 5], (0, 1))
    with tf.GradientTape() as tape:
        joint = joint_distribution.skill_and_action(manager, worker, observation)
        draw = joint.sample(seed=(0, 2))
        value = tf.reduce_sum(draw["action"] * [0.0, 1.0, 2.0, 3.0])
    assert all(np.any(part != 0) for part in tape.gradient(value, manager.trainable_variables))
    skill = manager.distribution(manager(observation)).log_prob(draw["skill"])
    inputs = tf.concat([observation, draw["skill"]], -1)
    action = worker.distribution(worker(inputs)).log_prob(draw["action"])
    np.testing.assert_allclose(joint.log_prob(draw), skill + action, rtol=1e-6)
    total = sum(
        joint.prob({"skill": tf.one_hot([i, i], 3), "action": tf.one_hot([j, j], 4)})
        for i in range(3)
        for j in range(4)
    )
    np.testing.assert_allclose(total, 1.0, rtol=1e-5)


# ---- the files


def snippet_files():
    return sorted(path for path in (ROOT / "agents" / "snippets").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("path", snippet_files(), ids=lambda path: path.stem)
def test_snippets_are_short_documented_and_no_agents(path):
    assert len(path.read_text().splitlines()) < 120
    module = importlib.import_module(f"agents.snippets.{path.stem}")
    assert f"python -m {module.__name__}" in module.__doc__
    assert path.stem in PAGE.read_text()
    assert path.stem not in known_agents()


def test_a_snippet_runs_as_a_program(capsys):
    with pytest.warns(RuntimeWarning, match="found in sys.modules"):  # runpy's, since this file imports it too
        runpy.run_module("agents.snippets.joint_distribution", run_name="__main__")
    assert "joint log_prob" in capsys.readouterr().out
