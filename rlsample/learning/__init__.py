"""What agents learn by: returns, losses, replay, minibatches, critics, populations; with TensorFlow alone."""
