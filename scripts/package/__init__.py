"""A release: wheel and source distribution, what has to be in them, and what they do in fresh environments."""
