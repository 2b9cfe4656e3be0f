"""The control problem as data.

Nothing here knows a mesh or a finite-element engine. Functions of space take x of shape (dim, n) and return n values.
"""

from .conditions import Condition, Dirichlet, Neumann, Robin
from .controls import Actuators, Boundary, Coefficient, Control, Distributed
from .equations import Elliptic, Weak, burgers
from .functions import Convection, FunctionOfState, Quasilinear, Semilinear
from .problem import ControlProblem
from .stated import check_number
from .terms import L1, Box, Linear, Term, Tikhonov, Tracking

__all__ = [
    "L1",
    "Actuators",
    "Boundary",
    "Box",
    "Coefficient",
    "Condition",
    "Control",
    "ControlProblem",
    "Convection",
    "Dirichlet",
    "Distributed",
    "Elliptic",
    "FunctionOfState",
    "Linear",
    "Neumann",
    "Quasilinear",
    "Robin",
    "Semilinear",
    "Term",
    "Tikhonov",
    "Tracking",
    "Weak",
    "burgers",
    "check_number",
]
