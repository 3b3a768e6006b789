"""One run, from its config to its directory; ``restore`` is the one way to open an old one."""
