"""Words become objects; errors become one line."""
