"""The control problem as data.

Nothing here knows a mesh or a finite-element engine. Functions of space take x of shape (dim, n) and return n values.
"""

from .conditions import Condition, Dirichlet, Neumann, Robin
from .controls import Actuators, Boundary, Coefficient, Control, Distributed, InitialValue
from .equations import Elliptic, Parabolic, Scheme, Weak, burgers
from .functions import Convection, FunctionOfState, Quasilinear, Semilinear
from .interfaces import Interface
from .parametric import Parametric
from .problem import ControlProblem
from .shapes import Circle, Ellipse, LevelSet, Moving, Polygon, Shape, Sphere, Star
from .stated import Stated, check_number
from .terms import L1, Box, Linear, Term, Tikhonov, Times, Tracking

__all__ = [
    "L1",
    "Actuators",
    "Boundary",
    "Box",
    "Circle",
    "Coefficient",
    "Condition",
    "Control",
    "ControlProblem",
    "Convection",
    "Dirichlet",
    "Distributed",
    "Ellipse",
    "Elliptic",
    "FunctionOfState",
    "InitialValue",
    "Interface",
    "LevelSet",
    "Linear",
    "Moving",
    "Neumann",
    "Parabolic",
    "Parametric",
    "Polygon",
    "Quasilinear",
    "Robin",
    "Scheme",
    "Semilinear",
    "Shape",
    "Sphere",
    "Star",
    "Stated",
    "Term",
    "Tikhonov",
    "Times",
    "Tracking",
    "Weak",
    "burgers",
    "check_number",
]
