"""Networks of agents: Keras models from features to values or logits."""
