"""TODO ladder."""
