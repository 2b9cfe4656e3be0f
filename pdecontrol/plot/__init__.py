"""Figures from elements and arrays; the one room that needs matplotlib."""

from .animation import animate
from .figures import draw
from .panels import Panel
from .pieces import pieces_around
from .results import Convergence, Entries, draw_result

__all__ = ["Convergence", "Entries", "Panel", "animate", "draw", "draw_result", "pieces_around"]
