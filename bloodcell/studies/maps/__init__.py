"""Do heat maps show what a net looks at? All held-out photographs, and the same nets with random weights."""
