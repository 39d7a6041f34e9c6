"""The audit of the samplers' gradients: `python -m scripts.audit`."""
