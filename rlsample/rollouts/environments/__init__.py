"""What environments say, held to their contract: observations, masks, rewards, faults, calls that do not come back."""
