"""Figures from elements and arrays; the one room that needs matplotlib."""

from .panels import draw
from .results import Convergence, draw_result

__all__ = ["Convergence", "draw", "draw_result"]
