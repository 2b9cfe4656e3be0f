"""The control problem as data.

Nothing here knows a mesh or a finite-element engine. Functions of space take x of shape (dim, n) and return n values.
"""

from .conditions import Condition, Dirichlet, Neumann, Robin
from .controls import Actuators, Boundary, Control, Distributed, InitialValue
from .equations import Elliptic, Parabolic, Scheme, Semilinear, Weak
from .problem import ControlProblem
from .stated import Stated, check_number
from .terms import L1, Box, Linear, Term, Tikhonov, Times, Tracking

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
    "InitialValue",
    "Linear",
    "Neumann",
    "Parabolic",
    "Robin",
    "Scheme",
    "Semilinear",
    "Stated",
    "Term",
    "Tikhonov",
    "Times",
    "Tracking",
    "Weak",
    "check_number",
]
