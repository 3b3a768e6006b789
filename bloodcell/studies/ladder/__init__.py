"""What the split is worth: one net, one recipe, one number of images, under every protocol."""
