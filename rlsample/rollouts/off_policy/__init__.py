"""Learning from a replay of what was seen: what is kept, drawn and updated between steps of the environments."""
