"""Ways to find the weights of networks."""
