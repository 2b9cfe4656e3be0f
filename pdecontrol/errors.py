"""The errors and warnings that users meet: each message names the culprit and the remedy."""


class PdecontrolError(Exception):
    """Base of every error that pdecontrol raises on purpose."""


class ProblemError(PdecontrolError, ValueError):
    """The control problem contradicts itself or asks for what is not supported."""


class MeshError(PdecontrolError, ValueError):
    """A mesh, its file or one of its tags cannot be used."""


class DataError(PdecontrolError, ValueError):
    """Data given as numbers or functions have the wrong shape or are not finite."""


class StateError(PdecontrolError):
    """A state has values for which its equation is not defined."""


class SingularEquationError(PdecontrolError):
    """The equation has no unique solution."""


class ConvergenceError(PdecontrolError):
    """A linear or nonlinear solver did not reach its tolerance, so its result would be meaningless."""


class ResultFileError(PdecontrolError):
    """A saved result or checkpoint is damaged, or belongs to another problem."""


class SolveLimitError(PdecontrolError):
    """The map was asked for more solves than its limit allows."""


class DatasetError(PdecontrolError):
    """A dataset cannot be begun, gone on with, written or read."""


class AdvectionWarning(UserWarning):
    """Advection dominates diffusion on the cells of a mesh, so that discrete states may oscillate."""


class InitialValueWarning(UserWarning):
    """The initial value of a parabolic equation differs from its Dirichlet values, so that the solution jumps there."""
