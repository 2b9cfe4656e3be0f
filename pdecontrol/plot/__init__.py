"""Figures from elements and arrays; the one room that needs matplotlib."""

from .animation import animate
from .figures import draw
from .levels import Levels, draw_levels
from .panels import Panel
from .pieces import pieces_around
from .results import Convergence, Entries, draw_result

__all__ = [
    "Convergence",
    "Entries",
    "Levels",
    "Panel",
    "animate",
    "draw",
    "draw_levels",
    "draw_result",
    "pieces_around",
]
