"""Trial spaces and networks that satisfy boundary conditions and jumps of the state exactly, without a mesh."""
