"""Which photograph each published image was made from, and which photographs overlap."""
