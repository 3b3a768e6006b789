"""The data sets, one a file: each finds its images and splits them."""
