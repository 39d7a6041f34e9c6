"""Reinforcement-learning policies for TensorFlow and Keras 3 in which a discrete action is a differentiable value."""
