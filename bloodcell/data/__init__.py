"""A folder of images becomes batches, and says what it is."""
