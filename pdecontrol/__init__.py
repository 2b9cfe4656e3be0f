"""Nonsmooth optimal control with partial differential equations, every answer with a certificate."""

from . import interface_reference, reference, verify
from .certificate import Certificate
from .discretisation import discretise
from .driver import continuation, solve
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
from .learn.certify import certified, screen
from .learn.control import ControlSamples
from .learn.data import Dataset, generate, open_dataset
from .learn.train import train
from .maps import Adjoint, Linearisation, SolutionMap
from .mesh.fitted import fitted_mesh
from .mesh.gmsh import read_mesh
from .mesh.mesh import Mesh
from .mesh.shapes import disc, l_shape, unit_cube, unit_interval, unit_square
from .optimise import certify, minimise
from .parallel import report
from .pinn.method import HardConstraint, SoftConstraint
from .pinn.parametric import ParametricSolution, solve_parametric
from .pinn.training.adam import Adam
from .pinn.training.collocation import Collocation
from .pinn.training.levenberg_marquardt import LevenbergMarquardt
from .pinn.training.variable_projection import VariableProjection
from .problem import (
    L1,
    Actuators,
    Boundary,
    Box,
    Circle,
    Coefficient,
    ControlProblem,
    Convection,
    Dirichlet,
    Distributed,
    Ellipse,
    Elliptic,
    InitialValue,
    Interface,
    LevelSet,
    Linear,
    Moving,
    Neumann,
    Parabolic,
    Parametric,
    Polygon,
    Quasilinear,
    Robin,
    Semilinear,
    Shape,
    Sphere,
    Star,
    Tikhonov,
    Tracking,
    Weak,
    burgers,
)
from .result import History, Result, Status, load
from .solvers import (
    ADMM,
    FISTA,
    Checkpoint,
    PrimalDual,
    ProximalGradient,
    ProximalPoint,
    SemismoothNewton,
    SurrogateNewton,
)
from .space import Space

__version__ = "0.1.0"

__all__ = [
    "ADMM",
    "FISTA",
    "L1",
    "Actuators",
    "Adam",
    "Adjoint",
    "AdvectionWarning",
    "Boundary",
    "Box",
    "Certificate",
    "Checkpoint",
    "Circle",
    "Coefficient",
    "Collocation",
    "ControlProblem",
    "ControlSamples",
    "Convection",
    "ConvergenceError",
    "DataError",
    "Dataset",
    "DatasetError",
    "Dirichlet",
    "Distributed",
    "Ellipse",
    "Elliptic",
    "Embedded",
    "Field",
    "HardConstraint",
    "History",
    "InitialValue",
    "InitialValueWarning",
    "Interface",
    "LevelSet",
    "LevenbergMarquardt",
    "Linear",
    "Linearisation",
    "Mesh",
    "MeshError",
    "Moving",
    "Neumann",
    "Parabolic",
    "Parallel",
    "Parametric",
    "ParametricSolution",
    "PdecontrolError",
    "Polygon",
    "PrimalDual",
    "ProblemError",
    "ProximalGradient",
    "ProximalPoint",
    "Quasilinear",
    "Result",
    "ResultFileError",
    "Robin",
    "Semilinear",
    "SemismoothNewton",
    "Shape",
    "SingularEquationError",
    "SoftConstraint",
    "SolutionMap",
    "Space",
    "Sphere",
    "Star",
    "StateError",
    "Status",
    "SurrogateNewton",
    "Tikhonov",
    "Tracking",
    "VariableProjection",
    "Weak",
    "burgers",
    "certified",
    "certify",
    "continuation",
    "disc",
    "discretise",
    "fitted_mesh",
    "generate",
    "interface_reference",
    "l_shape",
    "load",
    "minimise",
    "open_dataset",
    "read_mesh",
    "reference",
    "report",
    "screen",
    "solve",
    "solve_parametric",
    "train",
    "unit_cube",
    "unit_interval",
    "unit_square",
    "verify",
]
