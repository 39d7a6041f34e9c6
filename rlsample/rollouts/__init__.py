"""From a policy and an environment to experience: acting, collecting, the training loop, evaluation."""
