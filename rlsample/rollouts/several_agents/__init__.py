"""Several agents in one environment: their spaces, packages that have them, collecting, and acting."""
