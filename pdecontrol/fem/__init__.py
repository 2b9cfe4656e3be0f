"""Exact solution maps by finite elements."""
