"""The control problem as data.

Nothing here knows a mesh or a finite-element engine. Functions of space take x of shape (dim, n) and return n values.
"""

from .conditions import Condition, Dirichlet, Neumann, Robin
from .controls import Actuators, Boundary, Control, Distributed
from .equations import Elliptic, Semilinear, Weak
from .problem import ControlProblem
from .stated import check_number
from .terms import L1, Box, Linear, Term, Tikhonov, Tracking

__all__ = [
    "L1",
    "Actuators",
    "Boundary",
    "Box",
    "Condition",
    "Control",
    "ControlProblem",
    "Dirichlet",
    "Distributed",
    "Elliptic",
    "Linear",
    "Neumann",
    "Robin",
    "Semilinear",
    "Term",
    "Tikhonov",
    "Tracking",
    "Weak",
    "check_number",
]
