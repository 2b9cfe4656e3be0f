"""Linear algebra: solvers of sparse systems, their error bounds, Krylov methods and recycled spaces."""
