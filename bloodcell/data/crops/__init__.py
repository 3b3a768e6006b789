"""White cells in a field: where they are, and the picture around one."""
