"""Nonsmooth optimal control with partial differential equations, every answer with a certificate."""

from . import reference, verify
from .certificate import Certificate
from .driver import continuation, discretise, solve
from .errors import (
    AdvectionWarning,
    ConvergenceError,
    DataError,
    DatasetError,
    InitialValueWarning,
    MeshError,
    PdecontrolError,
    ProblemError,
    ResultFileError,
    SingularEquationError,
    StateError,
)
from .fem.backends import Embedded, Parallel
from .field import Field
from .learn.control import ControlSamples
from .learn.data import Dataset, generate, open_dataset
from .maps import Adjoint, Linearisation, SolutionMap
from .mesh.gmsh import read_mesh
from .mesh.mesh import Mesh
from .mesh.shapes import disc, unit_cube, unit_interval, unit_square
from .optimise import certify, minimise
from .parallel import report
from .problem import (
    L1,
    Actuators,
    Boundary,
    Box,
    Coefficient,
    ControlProblem,
    Convection,
    Dirichlet,
    Distributed,
    Elliptic,
    InitialValue,
    Interface,
    Linear,
    Neumann,
    Parabolic,
    Quasilinear,
    Robin,
    Semilinear,
    Tikhonov,
    Tracking,
    Weak,
    burgers,
)
from .result import History, Result, Status, load
from .solvers import ADMM, FISTA, Checkpoint, PrimalDual, ProximalGradient, SemismoothNewton
from .space import Space

__version__ = "0.1.0"

__all__ = [
    "ADMM",
    "FISTA",
    "L1",
    "Actuators",
    "Adjoint",
    "AdvectionWarning",
    "Boundary",
    "Box",
    "Certificate",
    "Checkpoint",
    "Coefficient",
    "ControlProblem",
    "ControlSamples",
    "Convection",
    "ConvergenceError",
    "DataError",
    "Dataset",
    "DatasetError",
    "Dirichlet",
    "Distributed",
    "Elliptic",
    "Embedded",
    "Field",
    "History",
    "InitialValue",
    "InitialValueWarning",
    "Interface",
    "Linear",
    "Linearisation",
    "Mesh",
    "MeshError",
    "Neumann",
    "Parabolic",
    "Parallel",
    "PdecontrolError",
    "PrimalDual",
    "ProblemError",
    "ProximalGradient",
    "Quasilinear",
    "Result",
    "ResultFileError",
    "Robin",
    "Semilinear",
    "SemismoothNewton",
    "SingularEquationError",
    "SolutionMap",
    "Space",
    "StateError",
    "Status",
    "Tikhonov",
    "Tracking",
    "Weak",
    "burgers",
    "certify",
    "continuation",
    "disc",
    "discretise",
    "generate",
    "load",
    "minimise",
    "open_dataset",
    "read_mesh",
    "reference",
    "report",
    "solve",
    "unit_cube",
    "unit_interval",
    "unit_square",
    "verify",
]
