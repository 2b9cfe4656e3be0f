"""Training networks on samples, and the files it goes on from."""
