"""How fast a training epoch is: here, in plain PyTorch and in Keras, against what the machine can do at most."""
