"""A batch becomes logits."""
