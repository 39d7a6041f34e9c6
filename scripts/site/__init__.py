"""What the site takes from the code: reference, configuration keys, docstrings as reStructuredText."""
