"""How often the printed intervals hold the true value, by simulation."""
