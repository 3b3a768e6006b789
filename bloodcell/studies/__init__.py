"""A question and its answer, with all of the other rooms but sweeps."""
