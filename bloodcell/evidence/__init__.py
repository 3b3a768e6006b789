"""Arrays become numbers with intervals, and figures."""
