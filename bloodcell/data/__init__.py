"""What goes in: folders of images, their index, splits, pixels and transforms."""
