"""What agents learn by: returns, losses, replay, minibatches, critics, populations. Tensors in, tensors out; TensorFlow alone."""
