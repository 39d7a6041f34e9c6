"""Command-line entry points, run as `python -m scripts.<name>` from the root of the clone."""
