"""How well white cells are found, and what crops of them are worth."""
