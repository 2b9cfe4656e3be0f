"""Problems of benchmarks/peers.py, their matrices, and their optima to more digits than any solver has.

Every solver gets the same matrices, which are those of the program:

    min 1/2 y'Qy - g'y + alpha/2 u'Mu + beta sum M|u|,   A y = b + C u,   lower <= u <= upper,   M diagonal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

import pdecontrol as pc
from pdecontrol import reference
from pdecontrol.terms import bind
from pdecontrol.terms.control import soft

Array = np.ndarray
LONG = np.longdouble


# -- problems --------------------------------------------------------------------------------------------------------


def on_square(tracking: pc.Tracking, terms: Sequence[object], **options: object) -> pc.ControlProblem:
    """-Lap y = u with y = 0 on the boundary, unless the options say otherwise."""
    stated = {"equation": pc.Elliptic(), "control": pc.Distributed(), "boundary": {"boundary": pc.Dirichlet()}}
    return pc.ControlProblem(tracking=tracking, terms=terms, **(stated | options))


def on_boundary(alpha: float, *terms: object) -> pc.ControlProblem:
    """B1: -Lap y + y = 0 with dy/dn = u."""
    target = pc.Tracking(lambda x: np.sin(2 * np.pi * x[0]) * np.exp(x[1]) + (x[0] > 0.6) * x[1])
    natural = {"equation": pc.Elliptic(reaction=1.0), "boundary": {"boundary": pc.Neumann()}}
    return on_square(target, [pc.Tikhonov(alpha), *terms], control=pc.Boundary("boundary"), **natural)


def unconstrained(alpha: float) -> pc.ControlProblem:
    """U: the equation of E1, and a target that jumps."""
    target = pc.Tracking(lambda x: np.sign(np.sin(3 * np.pi * x[0] + 0.3) * np.sin(2 * np.pi * x[1] + 0.2)))
    return on_square(target, [pc.Tikhonov(alpha)], equation=reference.box(1e-2).problem.equation)


def on_interval(alpha: float) -> pc.ControlProblem:
    """I: -y'' = u, -20 <= u <= 20."""
    target = pc.Tracking(lambda x: np.sin(2 * np.pi * x[0]) * np.exp(2 * x[0]) / 6)
    return on_square(target, [pc.Tikhonov(alpha), pc.Box(-20, 20)])


def actuators(side: int) -> Callable[[float], pc.ControlProblem]:
    """A4, A10: the target of S1, a control on each of side^2 squares."""

    def square(i: int, j: int) -> Callable[[Array], Array]:
        return lambda x: (np.floor(side * x[0]) == i) & (np.floor(side * x[1]) == j)

    def problem(alpha: float) -> pc.ControlProblem:
        shapes = [square(i, j) for i in range(side) for j in range(side)]
        tracking = reference.stadler(1.0).problem.tracking
        return on_square(tracking, [pc.Tikhonov(alpha), pc.Box(-20, 20)], control=pc.Actuators(shapes))

    return problem


def bang_bang(*terms: object) -> Callable[[float], pc.ControlProblem]:
    """S1 without a Tikhonov term."""
    return lambda alpha: on_square(reference.stadler(1.0).problem.tracking, [*terms, pc.Box(-30, 30)])


@dataclass(frozen=True)
class Case:
    """A problem for each weight, its meshes, and the weights and sizes that the table has."""

    make: Callable[[float], pc.ControlProblem]
    weights: tuple[float, ...]
    sizes: tuple[int, ...]
    mesh: Callable[[int], pc.Mesh] = pc.unit_square


SQUARES = (64, 128, 256)
CASES = {
    "E1": Case(lambda a: reference.box(a).problem, (1e-2, 1e-4, 1e-6, 1e-8, 1e-10), SQUARES),
    "S1": Case(lambda a: reference.stadler(a).problem, (1e-2, 1e-4, 1e-5, 1e-6, 1e-8, 1e-10), SQUARES),
    "B1": Case(lambda a: on_boundary(a, pc.Box(-2, 2)), (1e-4, 1e-6), (64, 128)),
    "B1s": Case(lambda a: on_boundary(a, pc.L1(3e-3), pc.Box(-20, 20)), (1e-5,), (64, 128)),
    "U": Case(unconstrained, (1e-4, 1e-6, 1e-8), (128,)),
    "I": Case(on_interval, (1e-4, 1e-6, 1e-8), (2000,), pc.unit_interval),
    "A4": Case(actuators(4), (1e-4,), (128,)),
    "A10": Case(actuators(10), (1e-6,), (128,)),
    "E3": Case(lambda a: reference.box(a, 3).problem, (1e-4,), (24, 32), pc.unit_cube),
    "bang S1": Case(bang_bang(pc.L1(1e-3)), (0.0,), (64, 128)),
    "bang box": Case(bang_bang(), (0.0,), (64, 128)),
}


# -- matrices --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Matrices:
    """A problem of the module on free entries of the state: A, Q, C sparse, M the diagonal, numbers for the terms.

    `constant` is what the objective has beside the terms of the module, `factors` names those of A that peers take.
    """

    A: sp.csc_matrix
    Q: sp.csc_matrix
    C: sp.csc_matrix
    M: Array
    b: Array
    g: Array
    constant: float
    alpha: float
    beta: float
    lower: float
    upper: float
    factors: str = "SuperLU"

    def argmin(self, q: Array) -> Array:
        """u = argmin alpha/2 |u|^2 + beta |u| + q u over the box."""
        return np.clip(soft(-q, self.beta) / self.alpha, self.lower, self.upper)

    def norm(self, u: Array) -> float:
        return float(np.sqrt(np.sum(self.M * u**2)))

    def objective(self, u: Array, y: Array) -> float:
        """The objective at a control and its state."""
        cost = self.M @ (self.alpha / 2 * u**2 + self.beta * abs(u))
        return float(self.constant - self.g @ y + y @ (self.Q @ y) / 2 + cost)

    @cached_property
    def pointwise(self) -> bool:
        """Whether a control acts at one entry of the state, so that C M^-1 C' is diagonal."""
        return bool(self.C.getnnz(axis=0).max() <= 1)


def matrices_of(problem: pc.ControlProblem, map: pc.SolutionMap) -> Matrices:
    """The matrices of a linear problem that tracks the whole state, out of its map."""
    system, objective = map.system, bind(problem, map)
    lifting, cost, known = system.lifting, objective.control, system.lifting.initial()
    misfit = -objective.state.gradient(system.observation.apply(known))
    return Matrices(
        A=sp.csc_matrix(system.matrix),
        Q=sp.csc_matrix(system.solution.mass)[lifting.free][:, lifting.free],
        C=columns(system.equation.coupling)[lifting.free],
        M=map.control.mass,
        b=-system.residual(known, map.control.zeros()),
        g=lifting.restrict(system.observation.transposed(misfit)),
        constant=map.observation.norm(misfit) ** 2 / 2,
        alpha=cost.alpha,
        beta=cost.beta,
        lower=cost.lower,
        upper=cost.upper,
    )


def columns(coupling: object) -> sp.csc_matrix:
    """C as a sparse matrix."""
    matrix = coupling._matrix
    rows = getattr(matrix, "_rows", matrix)  # of few columns
    return sp.csc_matrix(rows)


# -- optima ----------------------------------------------------------------------------------------------------------


class ActiveSets:
    """The optimality system with fixed sets of inactive controls: [-Q sA'; sA W] (y, v), adjoint s v, s^2 = alpha.

    W = C chi M^-1 C' is zero where controls are active. So the factorised matrix has small numbers there, and solutions
    are refined, in the arithmetic asked for. Factors are those of QDLDL, its analysis kept, or of SuperLU.
    """

    def __init__(self, m: Matrices, factors: str, kind: type = float) -> None:
        self.m, self._factors, self._ldl = m, factors, None
        self._s = np.sqrt(kind(m.alpha))
        self._A, self._T, self._Q, self._C = (sp.csr_matrix(x).astype(kind) for x in (m.A, m.A.T, m.Q, m.C))
        self._b, self._g = m.b.astype(kind), m.g.astype(kind)
        self._weights = m.C.multiply(m.C) @ sp.diags(1 / m.M)  # each control acts at one entry of the state

    def solve(self, inactive: Array, fixed: Array) -> tuple[Array, Array]:
        """(y, adjoint) of u = fixed - C' adjoint / (alpha M) where inactive, u = fixed elsewhere."""
        s, n, W = self._s, self._b.size, self._weights @ inactive
        inverse, size, least = self._factorise(W + 1e-4 * float(s) * self._weights.max()), np.inf, np.inf
        load = s * (self._b + self._C @ fixed)
        x = np.zeros(2 * n, self._b.dtype)
        for _ in range(40):
            y, v = np.split(x, 2)
            r = np.concatenate([self._Q @ y - s * (self._T @ v) - self._g, load - s * (self._A @ y) - W * v])
            least, size = min(size, least), np.abs(r).max()
            if not 0 < size < 0.5 * least:
                break
            x = x + size * inverse((r / size).astype(float))
        return x[:n], s * x[n:]

    def _factorise(self, diagonal: Array) -> Callable[[Array], Array]:
        m, s = self.m, float(self._s)
        block = sp.bmat([[-m.Q, s * m.A.T], [s * m.A, sp.diags(diagonal)]], format="csc")
        if self._factors == "SuperLU":
            return splu(block).solve
        import qdldl

        if self._ldl is None:
            self._ldl = qdldl.Solver(block)
        else:
            self._ldl.update(block)
        return self._ldl.solve

    def sets(self, adjoint: Array) -> tuple[Array, Array, Array]:
        """u, where it is inactive, and what of it is fixed, at an adjoint state."""
        m = self.m
        q = (self._C.T @ adjoint) / m.M
        u = m.argmin(q)
        inactive = ((abs(q) > m.beta) | (m.beta == 0)) & (u > m.lower) & (u < m.upper)
        return u, inactive, np.where(inactive, np.sign(-q) * -m.beta / m.alpha, u)


def optimum(m: Matrices) -> Array:
    """The optimal control: Newton's method on the dual for weights that fall by tens, in long double.

    Where the sets repeat, the system with these sets is the optimality system, whatever led there.
    """
    if not m.pointwise:
        return optimum(reduced(m))
    factors = "SuperLU" if find_spec("qdldl") is None else "QDLDL"
    start = splu(m.A)
    y = start.solve(m.b)
    adjoint = start.solve(m.Q @ y - m.g, trans="T")
    weights = 10.0 ** np.arange(-2, np.log10(m.alpha) + 1e-9, -1)
    before = None
    for weight in [*weights[weights > 1.5 * m.alpha], m.alpha]:
        stage = ActiveSets(replace(m, alpha=weight), factors, LONG)
        if before is not None:  # the sets of the weight before
            _, inactive, fixed = before.sets(adjoint)
            y, adjoint = stage.solve(inactive, np.where(inactive, fixed * before.m.alpha / weight, fixed))
        y, adjoint = newton(stage, y, adjoint)
        before = stage
    return stage.sets(adjoint)[0].astype(float)


def newton(system: ActiveSets, y: Array, adjoint: Array) -> tuple[Array, Array]:
    """The optimal state and adjoint, from a pair with Q y = A' adjoint + g."""
    for _ in range(200):
        u, inactive, fixed = system.sets(adjoint)
        pair = system.solve(inactive, fixed)
        if system.m.norm(system.sets(pair[1])[0] - u) <= 1e-13 * system.m.norm(u):
            return pair
        y, adjoint = between(system, (y, adjoint), pair)
    raise RuntimeError("the active sets of the reference do not settle")


def between(system: ActiveSets, old: tuple[Array, Array], new: tuple[Array, Array]) -> tuple[Array, Array]:
    """The new pair, or one on the way to it where the dual function is about lowest."""
    m, (y, adjoint), d_y, d_adjoint = system.m, old, new[0] - old[0], new[1] - old[1]
    residual, image = m.A @ y - m.b, m.A @ d_y

    def slope(t: float) -> float:
        return float((residual + t * image - m.C @ system.sets(adjoint + t * d_adjoint)[0]) @ d_adjoint)

    t = 1.0 if slope(1.0) <= 0.1 * abs(slope(0.0)) else bisection(slope)
    return y + t * d_y, adjoint + t * d_adjoint


def bisection(slope: Callable[[float], float]) -> float:
    """About a zero between 0 and 1 of a function that grows."""
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return (low + high) / 2


def reduced(m: Matrices, solve: Callable[[Array], Array] | None = None) -> Matrices:
    """The same problem with the control as its own state, by a solve for each control, refined unless one is given."""
    inverse = solve or splu(m.A).solve
    one, y = sp.identity(m.M.size, format="csc"), inverse(m.b)
    V = np.stack([inverse(column) for column in m.C.T.toarray()], axis=1)
    if solve is None:
        y, V = y + inverse(m.b - m.A @ y), V + inverse(m.C.toarray() - m.A @ V)
    H = V.T @ (m.Q @ V)
    return replace(m, A=one, Q=sp.csc_matrix((H + H.T) / 2), C=one, b=np.zeros(m.M.size), g=V.T @ (m.g - m.Q @ y))
