"""A page to try a net on: one HTML file that holds the net and all that it needs, and sends nothing anywhere."""
