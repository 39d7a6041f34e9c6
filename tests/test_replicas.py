"""Gradients on several devices: those of one, to rounding."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from rlsample.learning.replicas import mean_over_replicas, mirrored

TWO_DEVICES = """
import json
import numpy as np
import tensorflow as tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
found = {}

"""
MEAN = """
from rlsample.learning.replicas import mean_over_replicas, mirrored

rows, valid = tf.constant([1.0, 2.0, 3.0, 4.0, 50.0, 60.0]), tf.constant([True, True, True, False, True, False])
compiled = tf.function(
    lambda columns: tf.math.divide_no_nan(
        tf.reduce_sum(columns["x"] * tf.cast(columns["valid"], tf.float32)),
        tf.reduce_sum(tf.cast(columns["valid"], tf.float32)),
    ),
    jit_compile=True,
)
columns = {"x": rows, "valid": valid}
strategy = mirrored(2)
counted = tf.function(lambda: mean_over_replicas(strategy, compiled, columns, valid), autograph=False)()
plain = tf.function(lambda: mean_over_replicas(strategy, tf.reduce_mean, rows), autograph=False)()
found["counted"], found["plain"] = float(counted), float(plain)
"""
PPO = """
from agents import ppo
from tests.helpers_runs import Silent
from tests.test_scale import configure

found["learned"] = []
for devices in (1, 2):
    hyper = {"jit_compile": True, "learning_rate": 0.01}
    run = Silent()
    policy = ppo.train(configure({"devices": devices}, turns=2, agent=hyper), run)
    found["learned"].append([np.asarray(weight).ravel().tolist() for weight in policy.model.trainable_variables])
"""
REPLAY = """
from agents import relaxed_actor_critic
from rlsample import runs
from rlsample.runs.shipped import known_agents
from tests.helpers_runs import Silent

found["replayed"] = []
for devices in (1, 2):
    words = ["env.id=CartPole-v1", "total_steps=300", "sampler=exact", f"scale.devices={devices}", "env.num_envs=2"]
    words += ["agent.batch_size=32", "agent.warmup_steps=30", "agent.critic=linear", "temperature=1.0"]
    words += ["network.hidden_sizes=[16]"]
    run = Silent()
    policy = relaxed_actor_critic.train(runs.load_config("cartpole", words, agents=known_agents()), run)
    weights = [np.asarray(weight).ravel().tolist() for weight in policy.model.trainable_variables]
    found["replayed"].append([weights, run.records[-1]["losses/critic"], run.records[-1]["policy/coefficient"]])
"""


def on_two_devices(*code):
    """What a process with two logical CPUs finds."""
    lines = [TWO_DEVICES, *code, "print(json.dumps(found))"]
    out = subprocess.run([sys.executable, "-c", "\n".join(lines)], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(out.stdout.splitlines()[-1])


def test_two_devices_learn_what_one_does():
    """Two rollouts, 32 steps of Adam at a rate that moves the weights by 0.1 and more."""
    found = on_two_devices(MEAN, PPO)
    assert found["counted"] == pytest.approx((1 + 2 + 3 + 50) / 4)
    assert found["plain"] == pytest.approx(20.0)
    one, two = ([np.array(weight) for weight in weights] for weights in found["learned"])
    for here, there in zip(one, two, strict=True):
        np.testing.assert_allclose(there, here, atol=2e-5)


@pytest.mark.slow
def test_two_devices_learn_from_a_replay_what_one_does():
    found = on_two_devices(REPLAY)
    (one, *measured), (two, *measured_by_two) = found["replayed"]
    np.testing.assert_allclose(measured_by_two, measured, rtol=1e-3)
    for here, there in zip(one, two, strict=True):
        np.testing.assert_allclose(there, here, atol=2e-4)


def test_more_devices_than_there_are_and_rows_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"Expected as many devices as are asked for. Received: devices=99"):
        mirrored(99)

    class Three:
        num_replicas_in_sync = 3

    with pytest.raises(ValueError, match=r"Expected rows that the devices share evenly. Received: rows=4, devices=3"):
        mean_over_replicas(Three(), tf.reduce_mean, tf.zeros([4]))


WORKER = """
import json, os, sys

index, ports = int(sys.argv[1]), sys.argv[2:]
cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
import tensorflow as tf

strategy = tf.distribute.MultiWorkerMirroredStrategy()
from rlsample.learning.replicas import mean_over_replicas

rows = tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [8.0, 9.0]])
compiled = tf.function(lambda part: tf.reduce_mean(tf.square(part), 0), jit_compile=True)
print(json.dumps(tf.function(lambda: mean_over_replicas(strategy, compiled, rows), autograph=False)().numpy().tolist()))
"""


@pytest.mark.slow
def test_two_processes_compute_the_mean_of_one():
    ports = [str(free_port()), str(free_port())]
    options = {"stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, str(index), *ports], **options) for index in range(2)]
    for worker in workers:
        out, _ = worker.communicate(timeout=300)
        assert worker.returncode == 0
        np.testing.assert_allclose(json.loads(out.splitlines()[-1]), [(1 + 9 + 25 + 64) / 4, (4 + 16 + 36 + 81) / 4])


def free_port():
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]
