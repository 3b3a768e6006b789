"""What any program needs; it knows nothing of this field."""
