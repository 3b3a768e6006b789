"""The run directory: written in one place, read by everyone."""
