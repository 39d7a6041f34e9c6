"""Two policy heads in one TensorFlow Probability joint distribution: first a skill, then an action that depends on it.

python -m agents.snippets.joint_distribution
"""

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from rlsample import heads


def skill_and_action(
    manager: heads.PolicyHead, worker: heads.PolicyHead, observation: tf.Tensor
) -> tfp.distributions.JointDistribution:
    """Over {"skill", "action"}, both one-hot: p(skill | observation) p(action | observation, skill)."""

    def action(skill: tf.Tensor) -> tfp.distributions.Distribution:
        return worker.distribution(worker(tf.concat([observation, skill], -1))).to_tfp()

    skill = manager.distribution(manager(observation)).to_tfp()
    return tfp.distributions.JointDistributionNamed({"skill": skill, "action": action})


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    manager = heads.CategoricalHead(3, hidden_sizes=(32,), kernel_gain=1.0)
    worker = heads.CategoricalHead(4, hidden_sizes=(32,), kernel_gain=1.0)
    with tf.GradientTape() as tape:
        joint = skill_and_action(manager, worker, tf.random.stateless_normal([2, 5], (0, 1)))
        draw = joint.sample(seed=(0, 2))
        value = tf.reduce_sum(draw["action"] * [0.0, 1.0, 2.0, 3.0])
    gradients = tape.gradient(value, manager.trainable_variables)
    print("skill", draw["skill"].numpy().argmax(-1), "action", draw["action"].numpy().argmax(-1))
    print("joint log_prob", joint.log_prob(draw).numpy())
    print("gradient of the action's value to the choice of skill", tf.linalg.global_norm(gradients).numpy())
