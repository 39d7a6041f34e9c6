"""Policy heads inside code that knows nothing of this library; `docs/custom_agents.md` explains them."""
