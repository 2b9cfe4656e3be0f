"""Linear solvers for sequences of systems: recycled Krylov spaces, orderings, and the choice among them."""
