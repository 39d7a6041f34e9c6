"""PPO of several agents: what each agent's advantages and gradients are, and that two come to understand each other."""

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

from agents import multi_agent_ppo as agent
from rlsample import runs
from rlsample.rollouts.several_agents.collector import JointTransition
from rlsample.rollouts.several_agents.registration import register
from rlsample.rollouts.transitions import Transition
from rlsample.runs import ConfigError, agents
from tests.helpers_agents import AGENTS, small_config
from tests.helpers_runs import Silent
from tests.test_several_agents import Leaving

STEPS, ENVS, COUNT = 6, 3, 2


def learner(env="rlsample/Foraging-v0", **settings):
    config = small_config("multi_agent_ppo", agent={"discount": 0.9, "trace_decay": 0.8} | settings, env={"id": env})
    return agent.Learner(config, gym.make_vec(env, num_envs=ENVS), num_turns=4)


def rollout(of, seed=0, **columns):
    """Random steps: the first agent of environment 0 is done after three, of environment 1 cut off after two."""
    generator, (count, categories) = np.random.default_rng(seed), of.policy.factors.event_shape
    size = of.policy.agents.flattening.size
    features = generator.random((STEPS + 1, ENVS, size), np.float32)
    present, terminated = np.ones((STEPS, ENVS, COUNT), bool), np.zeros((STEPS, ENVS, COUNT), bool)
    present[3:, 0, 0], terminated[2:, 0, 0] = False, True
    present[2:, 1, 0] = False
    truncated, valid = np.zeros((STEPS, ENVS), bool), np.ones((STEPS, ENVS), bool)
    truncated[2, 2], valid[3, 2] = True, False
    mask = generator.random((STEPS, ENVS, count, categories)) < 0.7
    mask[..., 0] = True
    everything = {
        "observation": features[:-1],
        "mask": mask,
        "action": (generator.random(mask.shape) * mask).argmax(-1).astype(np.int32),
        "reward": generator.normal(size=(STEPS, ENVS, COUNT)).astype(np.float32),
        "next_observation": features[1:],
        "next_mask": mask,
        "terminated": terminated,
        "truncated": truncated,
        "present": present,
        "valid": valid,
    }
    return JointTransition(**{name: tf.constant(value) for name, value in (everything | columns).items()})


def slow_advantages(steps, value, following, discount, decay):
    """The definition, agent by agent: sum over later rows of its stay of (discount decay)^k delta."""
    columns = {name: np.asarray(column) for name, column in steps._asdict().items()}
    advantage = np.zeros_like(value)
    for env in range(ENVS):
        for own in range(COUNT):
            for start in range(STEPS):
                factor = 1.0
                for step in range(start, STEPS):
                    ended = columns["terminated"][step, env, own]
                    ahead = 0.0 if ended else following[step, env, own]
                    delta = columns["reward"][step, env, own] + discount * ahead - value[step, env, own]
                    advantage[start, env, own] += factor * delta
                    last = step + 1 == STEPS or not columns["present"][step + 1, env, own]
                    if ended or columns["truncated"][step, env] or last:
                        break
                    factor *= discount * decay
    return advantage


@pytest.mark.parametrize("critic", ["own", "joint"])
def test_the_advantages_of_each_agent_are_those_of_its_stay(critic):
    of = learner(critic=critic)
    state, steps = of.start(0), rollout(of)
    columns, _ = of._columns(state, steps)
    value = np.stack([of.critic(state.critic, row)[..., 0] for row in steps.observation])
    following = np.stack([of.critic(state.critic, row)[..., 0] for row in steps.next_observation])
    expected = slow_advantages(steps, value, following, 0.9, 0.8)
    there = (steps.present & steps.valid[..., None]).numpy()
    np.testing.assert_allclose(columns["advantage"].numpy()[there], expected[there], atol=1e-5)
    np.testing.assert_array_equal(columns["valid"], there)
    logits = np.stack([of.network(state.policy, row) for row in steps.observation])
    for place in np.ndindex(STEPS, ENVS, COUNT):
        legal = steps.mask.numpy()[place]
        log_prob = logits[place] - np.log(np.exp(logits[place][legal]).sum())
        np.testing.assert_allclose(columns["log_prob"][place], log_prob[steps.action[place]], atol=1e-5)


def slow_slopes(of, logits, value, rows):
    """The loss of one minibatch and its slopes at logits and values, by loops over rows and agents."""
    agent, there = of.agent, rows["valid"]
    loss, slope, value_slope = 0.0, np.zeros_like(logits), np.zeros_like(value)
    scaled = np.zeros_like(value)
    for own in range(COUNT):
        mine = rows["advantage"][there[:, own], own]
        scaled[:, own] = (rows["advantage"][:, own] - mine.mean()) / (mine.std() + 1e-8)
    for row, own in zip(*np.nonzero(there), strict=True):
        legal, action = rows["mask"][row, own], rows["action"][row, own]
        probs = np.where(legal, np.exp(logits[row, own]), 0) / np.exp(logits[row, own][legal]).sum()
        safe = np.where(legal, np.maximum(probs, 1e-30), 1)
        score = -probs.copy()
        score[action] += 1
        ratio, gained = probs[action] / np.exp(rows["log_prob"][row, own]), scaled[row, own]
        clipped = np.clip(ratio, 1 - agent.clip_range, 1 + agent.clip_range)
        loss -= min(ratio * gained, clipped * gained)
        if ratio * gained <= clipped * gained:
            slope[row, own] -= ratio * gained * score
        entropy = -(probs * np.log(safe)).sum()
        loss -= of.agent.entropy_coefficient * entropy
        slope[row, own] += of.agent.entropy_coefficient * probs * (np.log(safe) + entropy)
        error = value[row, own] - rows["target"][row, own]
        loss += agent.value_coefficient * error**2 / 2
        value_slope[row, own] = agent.value_coefficient * error
    return loss / there.sum(), slope / there.sum(), value_slope / there.sum()


@pytest.mark.parametrize("critic", ["own", "joint"])
@pytest.mark.parametrize("shared", [False, True])
def test_loss_and_gradient_are_those_of_loops_over_rows_and_agents(critic, shared):
    of = learner(critic=critic, shared_network=shared, clip_values=False, entropy_coefficient=0.1)
    state, generator = of.start(0), np.random.default_rng(1)
    columns, _ = of._columns(state, rollout(of))
    columns = {name: tf.reshape(each, [STEPS * ENVS, *each.shape[2:]]) for name, each in columns.items()}
    # As after some updates: some ratios are clipped, and no value is at its target.
    moved = generator.normal(size=columns["log_prob"].shape, scale=0.4).astype(np.float32)
    columns |= {"log_prob": columns["log_prob"] + moved}
    policy = state.policy + tf.constant(generator.normal(size=state.policy.shape, scale=0.1).astype(np.float32))
    state = state._replace(policy=policy)
    standard = columns | {"advantage": of._standardized(columns["advantage"], columns["valid"])}
    weights = state.policy, state.critic
    with tf.GradientTape() as tape:
        tape.watch(weights)
        loss, metrics = of._loss(state, agent.ppo.Minibatch(**standard))
    gradient = tape.gradient(loss, weights)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(weights)
        logits = of.network(state.policy, columns["observation"])
        value = of.critic(state.critic, columns["observation"])[..., 0]
    rows = {name: column.numpy() for name, column in columns.items()}
    expected, slope, value_slope = slow_slopes(of, logits.numpy().astype(float), value.numpy().astype(float), rows)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    assert 0.1 < metrics["policy/clip_fraction"] < 0.9
    for ours, target, upstream, weight in zip(gradient, (logits, value), (slope, value_slope), weights, strict=True):
        theirs = tape.gradient(target, weight, output_gradients=tf.constant(upstream, tf.float32))
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_a_game_in_tensorflow_pays_everybody_and_ends_for_all():
    of = learner()
    steps = rollout(of)
    box = of.spaces[0].shape
    shared = Transition(
        observation=tf.reshape(steps.observation, [STEPS, ENVS, *box]),
        mask=None,
        action=steps.action,
        reward=steps.reward[..., 0],
        next_observation=tf.reshape(steps.next_observation, [STEPS, ENVS, *box]),
        next_mask=None,
        terminated=steps.terminated[..., 1],
        truncated=steps.truncated,
        valid=None,
    )
    joint = of._of_everybody(shared)
    np.testing.assert_array_equal(joint.observation, steps.observation)
    np.testing.assert_array_equal(joint.reward, tf.stack([steps.reward[..., 0]] * 2, -1))
    assert not joint.terminated.numpy().any()
    assert joint.present is None


def test_a_team_learns_from_the_mean():
    of, seen = learner(rewards="team", num_epochs=1), []
    of._columns = lambda state, joint: seen.append(joint.reward) or agent.ppo.Learner._columns(of, state, joint)
    steps = rollout(of)
    of.learn(of.start(0), steps, tf.constant([1, 2]), tf.ones([ENVS], tf.bool))
    mean = steps.reward.numpy().mean(-1)
    np.testing.assert_allclose(seen[0], np.stack([mean, mean], -1), rtol=1e-6)


def test_who_is_away_learns_nothing():
    away = np.ones((STEPS, ENVS, COUNT), bool)
    away[:, :, 1] = False
    of = learner(entropy_coefficient=0.1)
    state = of.start(0)
    after, _, _ = of.learn(state, rollout(of, present=away), tf.constant([1, 2]), tf.ones([ENVS], tf.bool))
    moved = of.network.split(after.policy - state.policy)
    half = len(moved) // 2
    assert all(np.abs(each).max() > 0 for each in moved[:half])
    assert all(np.abs(each).max() == 0 for each in moved[half:])


@pytest.mark.parametrize("env", ["test/Leaving-v0", "mpe2/simple_speaker_listener-v4"])
def test_agents_that_leave_and_packages_are_trained(env):
    register("test/Leaving-v0", Leaving)
    run = Silent()
    agent.train(small_config("multi_agent_ppo", env={"id": env, "num_envs": 4}, total_steps=256), run)
    assert run.records[-1]["step"] == 256
    assert {"agents/return/first", "agents/return/speaker_0"} & set().union(*run.records)


@pytest.mark.slow
def test_a_population_has_its_members_in_one_program():
    run = Silent()
    agent.train(small_config("multi_agent_ppo", agent={"population": 2}), run)
    assert {"members/return_00", "members/return_01"} <= set(run.records[-1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"env": {"id": "CartPole-v1"}}, "a Tuple or Dict space, with an entry for each agent"),
        (
            {"env": {"id": "rlsample/Foraging-v0", "num_envs": 3}, "agent": {"num_steps": 5}},
            "a multiple of agent.num_m",
        ),
    ],
)
def test_what_it_cannot_train_is_told(settings, message):
    with pytest.raises(ConfigError, match=message):
        agents.make_policy(agent, small_config("multi_agent_ppo", **settings))


@pytest.mark.slow
@pytest.mark.parametrize("critic", ["own", "joint"])
def test_speaker_and_listener_agree_on_a_code(critic):
    words = [f"agent.critic={critic}", "tracking.wandb=disabled"]
    config = runs.load_config("agents/configs/multi_agent_ppo_speaker_listener.yaml", words, agents=AGENTS)
    assert runs.evaluate(agent.train(config, Silent()), config).mean_return >= 0.7  # 1 but where two share a word
