"""The control problem as data.

Nothing here knows a mesh or a finite-element engine. Functions of space take x of shape (dim, n) and return n values.
"""

from .conditions import Condition, Dirichlet, Neumann, Robin
from .controls import Actuators, Boundary, Coefficient, Control, Distributed, InitialValue
from .equations import Elliptic, Parabolic, Scheme, Weak, burgers
from .functions import Convection, FunctionOfState, Quasilinear, Semilinear
from .interfaces import Interface
from .problem import ControlProblem
from .stated import Stated, check_number
from .terms import L1, Box, Linear, Term, Tikhonov, Times, Tracking

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
    "InitialValue",
    "Interface",
    "Linear",
    "Neumann",
    "Parabolic",
    "Quasilinear",
    "Robin",
    "Scheme",
    "Semilinear",
    "Stated",
    "Term",
    "Tikhonov",
    "Times",
    "Tracking",
    "Weak",
    "burgers",
    "check_number",
]
