"""What the net of the package is worth: its card as a page, and its part of the report."""
