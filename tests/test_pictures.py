"""The pictures of the documentation: what they show is what is there."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

import envs  # noqa: F401 (registers them)
from rlsample import ops
from scripts import animation, pictures


@pytest.mark.parametrize("name", ["argmax", "simplex", "estimates"])
def test_a_picture_is_drawn(name, tmp_path):
    assert pictures.main(["--folder", str(tmp_path), "--only", name]) == 0
    assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"


def test_argmax_jumps_where_the_logits_meet():
    just = np.float32(1e-6)
    assert ops.mode(np.array([[just, 0.0], [0.0, just]], np.float32)).numpy().tolist() == [0, 1]
    np.testing.assert_allclose(pictures.first_weight(np.array([0.0]), 0.1), 0.5)
    np.testing.assert_allclose(pictures.first_weight(np.array([0.2]), 0.1), 1 / (1 + np.exp(-2)), rtol=1e-6)


def test_relaxed_draws_move_to_the_corners_as_the_temperature_falls():
    largest = [pictures.relaxed_draws(temperature).max(-1).mean() for temperature in pictures.TEMPERATURES]
    assert largest == sorted(largest)
    assert largest[-1] > 0.95


def test_the_chord_loss_straightens_a_critic():
    def away_from_the_chord(values):
        return np.abs(values - np.linspace(values[0], values[-1], len(values))).mean()

    (curved, _), (straight, slopes) = (pictures.edge_values(weight, steps=300) for weight in (0.0, 1.0))
    assert away_from_the_chord(straight) < 0.5 * away_from_the_chord(curved)
    assert np.sign(slopes.mean()) == np.sign(straight[-1] - straight[0])


def test_an_episode_that_has_ended_stands_still():
    env = gym.make("rlsample/CartPole-v1", render_mode="rgb_array")
    right = SimpleNamespace(model=None, act=lambda observation: 1)  # falls within some ten steps
    frames = animation.play(right, env, steps=40, seed=0)
    changes = [bool((one != other).any()) for one, other in itertools.pairwise(frames)]
    end = changes.index(False)
    assert 8 <= end <= 12
    assert len(frames) == 40
    assert not any(changes[end:])
    assert (frames[end] == frames[end - 1] // 2 + 127).all()


def test_an_animation_has_every_frame(tmp_path):
    frames = [np.full((8, 8, 3), 10 * index, np.uint8) for index in range(5)]
    animation.write([animation.beside(frame, frame) for frame in frames], tmp_path / "it.gif", 40)
    with Image.open(tmp_path / "it.gif") as picture:
        assert (picture.n_frames, picture.size, picture.info["duration"]) == (5, (16 + animation.GAP, 8), 40)
