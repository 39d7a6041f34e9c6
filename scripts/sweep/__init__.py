"""Searches for good values of a configuration's keys: ranges in a YAML file, trials that are runs."""
