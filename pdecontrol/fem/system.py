"""From a problem to its discretised equation, for any finite-element engine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array
from ..counter import Counter
from ..errors import SingularEquationError
from ..linear.matrix import ROUNDING, Triplets, kernel_row
from ..linear.residual import Excess
from ..linear.solver import LinearSolver
from ..mesh.mesh import Mesh
from ..problem import Actuators, ControlProblem, Weak
from .conditions import Lifting, check_conditions, natural_conditions
from .control import coupling
from .engine import Engine
from .equations import state_equation
from .observation import observation
from .sampler import Sampler
from .ties import Ties


class Blocks(NamedTuple):
    """What the Newton systems of an affine problem consist of, on the free entries: see `linear.kkt`."""

    A: Any
    Q: Any  # but for the numbers tracked
    columns: list[Triplets]  # of these, B: the rest of Q is B B'
    C: Triplets


class System:
    """e(y, u) = 0 with y = y_D + E x, and O y: the discretised equation of a control problem.

    States are Lagrange elements; targets and Dirichlet values are sampled at nodes. Functionals on states are arrays of
    their values on the basis, of the free entries where this class returns them.
    """

    def __init__(self, problem: ControlProblem, engine: Engine) -> None:
        self.problem, self.engine = problem, engine
        check_conditions(problem, engine.mesh)
        self._sampler = sampler = Sampler(engine)
        self.lifting = Lifting(problem, sampler, Ties(problem.interface, sampler))
        natural, controlled = natural_conditions(problem, sampler), coupling(problem, sampler)
        self.control = controlled.space
        self.equation = state_equation(problem.equation, problem.control, sampler, natural, controlled)
        affine = self.equation.affine is not None
        engine.prepare(self.equation.definite, affine, int(engine.group.sum(self.lifting.free.size)))
        if affine:
            _ = self.matrix  # an equation that cannot be solved fails here
        self.solution = engine.solution()
        self.observation = observation(problem.observations, sampler, self.solution)

    def residual(self, y: Array, u: Array) -> Array:
        """e(y, u)."""
        return self.lifting.restrict(self.equation.residual(y, u))

    @cached_property
    def load(self) -> Array:
        """f - A y_D, of an affine equation A y = f + C u."""
        return -self.residual(self.lifting.initial(), self.control.zeros())

    @cached_property
    def matrix(self) -> Any:
        """The matrix of an affine equation."""
        return self.jacobian(self.lifting.initial(), self.control.zeros())

    def jacobian(self, y: Array, u: Array, shift: float = 0.0) -> Any:
        """The matrix of e_y + shift * mass; raises SingularEquationError where constants lie in its kernel."""
        block = self.lifting.block(self.equation.jacobian(y, u, shift))
        row = kernel_row(block)
        with self.engine.group.agree():
            if row is not None:
                raise self._singular(self.engine.nodes[:, self.lifting.free[row]])
        return block

    def blocks(self, tracked: Sequence[bool]) -> Blocks | None:
        """E' A E, Q = E' O' M_y T O E and E' C of an affine equation, with T = 1 on the parts tracked.

        None where C diag(w / m) C' would be dense, as few actuators make it, and for multigrid where numbers alone are
        tracked.
        """
        Q = self.observation.gram(tracked, self.engine.matrix([]))
        if isinstance(self.problem.control, Actuators) or (Q is None and not self.banded):
            return None
        Q = self.engine.matrix([]) if Q is None else Q
        numbers, rows = self.lifting.numbers, self.lifting.free.size
        columns = [matrix.triplets(numbers, rows) for matrix in self.observation.columns(tracked)]
        return Blocks(self.matrix, self.lifting.block(Q), columns, self.equation.coupling.triplets(numbers, rows))

    @property
    def banded(self) -> bool:
        """Whether the Newton systems are, of an affine problem: on an interval that one process has."""
        return self.engine.mesh.dim == 1 and self.engine.group.size == 1

    def _singular(self, point: Array) -> SingularEquationError:
        affine = self.equation.affine is not None
        reason = (
            "with Neumann conditions alone and no reaction" if affine else
            "where Newton's method is, with r' = 0, no reaction and Neumann conditions alone"
        )  # fmt: skip
        remedy = "" if affine else ", or start from a control (start=) with another state"
        return SingularEquationError(
            f"the equation has no unique solution: {reason}, constants may be added to the state in the part of "
            f"the domain around x = {point.round(6).tolist()}. Add a Dirichlet or Robin condition, or a positive "
            f"reaction{remedy}."
        )

    def factorise(self, y: Array, u: Array, counter: Counter) -> LinearSolver:
        """e_y, ready to solve with."""
        affine = self.equation.affine is not None
        block, definite = self.matrix if affine else self.jacobian(y, u), self.equation.definite_at(y, u)
        return self.engine.solver(block, definite, counter, self.engine.nodes[:, self.lifting.free], self.excess)

    @cached_property
    def excess(self) -> Excess | None:
        """The row sums of the matrix on the free entries, from those of all rows and the entries of fixed columns."""
        affine, y = self.equation.affine, self.lifting.initial()
        if affine is None or affine.row_sums is None:
            return None
        (sums, sizes), fixed = affine.row_sums, self.lifting.fixed.astype(float)
        matrix = self.equation.jacobian(y, self.control.zeros())
        errors = ROUNDING * (sizes + abs(matrix) @ fixed)
        restrict = self.lifting.restrict
        return Excess(restrict(sums - matrix @ fixed), restrict(errors), affine.symmetric)

    def norm(self, a: Array) -> float:
        """Euclidean, of the entries of all processes."""
        return self.engine.group.norm(a)

    @cached_property
    def fingerprint(self) -> str:
        """Of every datum, and of where it is: data are digested with their regions as they are sampled."""
        mesh = mesh_digest(self.engine.mesh, self.problem.equation)
        parts = (self.engine.name, self.engine.degree, self._sampler.digests, mesh)
        return hashlib.sha256((repr(parts) + self.equation.fingerprint).encode()).hexdigest()


def mesh_digest(mesh: Mesh, equation: object) -> str:
    """Of the points, cells and bent edges; for forms, which may name any tag, of all tags too."""
    arrays = [("points", mesh.points), ("cells", mesh.cells)]
    if mesh.bends is not None:
        arrays += zip(("bent edges", "their middles"), mesh.bends, strict=True)
    if isinstance(equation, Weak):
        arrays += [*mesh.parts.items(), *mesh.boundaries.items()]
    return repr([(name, a.shape, hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest()) for name, a in arrays])
