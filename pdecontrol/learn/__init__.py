"""Training data for learned maps: random fields, families of equations, datasets on disk."""
