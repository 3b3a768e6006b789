"""What a net of one laboratory is worth in another: trained on one set, tested on the others, all ways."""
