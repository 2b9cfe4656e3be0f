"""Figures from elements and arrays; the one room that needs matplotlib."""

from .animation import animate
from .figures import draw
from .panels import Panel
from .results import Convergence, draw_result

__all__ = ["Convergence", "Panel", "animate", "draw", "draw_result"]
