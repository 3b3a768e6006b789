"""Questions asked with all of the other rooms, and their answers."""
