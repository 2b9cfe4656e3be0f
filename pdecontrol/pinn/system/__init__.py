"""The optimality system at points."""
