"""Simplicial meshes and the piecewise polynomials on them."""
