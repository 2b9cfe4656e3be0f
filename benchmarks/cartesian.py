"""-div(kappa grad y) = f with [y] = g0, [kappa dy/dn] = g1 by the immersed interface method on a Cartesian grid.

The scheme that needs no fitted mesh, for comparison: five-point differences on the square (-1, 1)^2, nine-point ones
at nodes with a neighbour across the curve. Their coefficients are exact for functions that are quadratic on either side
and satisfy the jump conditions, differentiated along the curve. Among these coefficients they are the closest ones to
differences with harmonic means of kappa with the signs of an M-matrix, without which large contrasts fail. The
truncation error is of first order at these nodes and of second order at all others, the error of second order.

R. J. LeVeque, Z. Li, SIAM J. Numer. Anal. 31 (1994) 1019-1044; the signs: Z. Li, K. Ito, SIAM J. Sci. Comput. 23 (2001)
339-361, where they are found by quadratic programming too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from inspect import signature

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.sparse.linalg import LinearOperator, gmres, splu
from scipy.spatial import cKDTree

Array = NDArray[np.float64]
Function = Callable[[Array], Array]
STENCIL = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j] + [(0, 0)]).T
AXES, CENTRE = [1, 3, 4, 6], 8
RELATIVE = "rtol" if "rtol" in signature(gmres).parameters else "tol"  # as scipy calls it before 1.12


@dataclass(frozen=True)
class Curve:
    """The closed curve r = radius(theta) around the origin, anticlockwise."""

    radius: Function

    def __call__(self, theta: Array) -> Array:
        return self.radius(theta) * np.stack([np.cos(theta), np.sin(theta)])

    def contains(self, x: Array) -> Array:
        return np.hypot(*x) < self.radius(np.arctan2(x[1], x[0]))

    def derivatives(self, function: Function, theta: Array, step: float = 2e-3) -> tuple[Array, Array, Array]:
        """A function of points with its first two derivatives by theta, by differences of order four."""
        a, b, c, d, e = (function(self(theta + k * step)) for k in (-2, -1, 0, 1, 2))
        return c, (a - 8 * b + 8 * d - e) / (12 * step), (16 * (b + d) - a - e - 30 * c) / (12 * step**2)

    def along(self, function: Function, theta: Array) -> tuple[Array, Array, Array]:
        """A function of points with its first two derivatives by the length of the curve."""
        _, first, second = self.derivatives(lambda x: x, theta)
        value, slope, bend = self.derivatives(function, theta)
        square = (first**2).sum(0)
        return value, slope / np.sqrt(square), (bend - slope * (first * second).sum(0) / square) / square

    def nearest(self, x: Array) -> Array:
        """The angles of the nearest points of the curve, by Newton's method from the best of many."""
        angles = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
        theta = angles[cKDTree(self(angles).T).query(x.T)[1]]
        for _ in range(3):
            place, first, second = self.derivatives(lambda x: x, theta)
            square = (first**2).sum(0)
            theta = theta - ((place - x) * first).sum(0) / np.maximum(
                square + ((place - x) * second).sum(0), square / 2
            )
        return theta


class Cartesian:
    """The scheme with n intervals on each side of the square, for one curve and kappa constant inside and outside."""

    def __init__(self, n: int, curve: Curve, diffusion: tuple[float, float]) -> None:
        self.h, self.curve, self.diffusion = 2 / n, curve, diffusion
        axis = np.linspace(-1, 1, n + 1)
        nodes = np.stack(np.meshgrid(axis, axis, indexing="ij")).reshape(2, -1)
        boundary = np.abs(nodes).max(axis=0) > 1 - self.h / 2
        free = np.flatnonzero(~boundary)
        inside = curve.contains(nodes)
        neighbours = free + (STENCIL[0] * (n + 1) + STENCIL[1])[:, None]
        kappa = np.where(inside, *diffusion)
        weights = np.zeros(neighbours.shape)
        weights[AXES] = 2 * kappa[free] * kappa[neighbours[AXES]] / (kappa[free] + kappa[neighbours[AXES]])
        weights[CENTRE] = -weights.sum(axis=0)
        self.irregular = np.flatnonzero((inside[neighbours[AXES]] != inside[free]).any(axis=0))
        self.theta = curve.nearest(nodes[:, free[self.irregular]])
        across = neighbours[:, self.irregular]
        weights[:, self.irregular], self.offset = self._coefficients(
            nodes[:, across], inside[across], weights[:, self.irregular]
        )
        rows = np.broadcast_to(np.arange(free.size), neighbours.shape)
        entries = (-weights.ravel() / self.h**2, (rows.ravel(), neighbours.ravel()))
        matrix = sp.csr_matrix(entries, (free.size, nodes.shape[1]))
        matrix.eliminate_zeros()
        self.nodes, self.edge, self.inside = nodes[:, free], nodes[:, boundary], inside[free]
        self.matrix, self.coupling = matrix[:, free].tocsc(), matrix[:, boundary]

    def _coefficients(self, nodes: Array, inside: Array, plain: Array) -> tuple[Array, Array]:
        """Coefficients (9, m) at the irregular nodes, and what to subtract from the load there for each jump (6, m)."""
        place, first, second = self.curve.derivatives(lambda x: x, self.theta)
        tangent = first / np.hypot(*first)
        normal = np.stack([tangent[1], -tangent[0]])
        bend = self.h * (second * normal).sum(0) / (first**2).sum(0)
        base_is_inside = self.diffusion[0] <= self.diffusion[1]
        sign, base = (1.0 if base_is_inside else -1.0), min(self.diffusion)
        transfer, data = transferred(self.diffusion, bend)
        apart = (nodes - place[:, None]) / self.h
        xi, eta = (apart * normal[:, None]).sum(0), (apart * tangent[:, None]).sum(0)
        taylor = np.stack([np.ones_like(xi), xi, eta, xi**2 / 2, xi * eta, eta**2 / 2])
        beyond = inside != base_is_inside
        moments = np.where(beyond, np.einsum("akm,abm->bkm", taylor, transfer), taylor)
        exact = base * np.array([0, 0, 0, 1.0, 0, 1.0])
        weights = np.stack([signed(moments[..., i], exact, plain[:, i]) for i in range(self.theta.size)], axis=1)
        offset = np.einsum("km,akm,abm->bm", weights * beyond, taylor, data)
        offset[5] += sign * beyond[CENTRE]
        return weights, offset / self.h**2

    def load(self, source: Array, jump: Function, value: Function, flux: Function, data: Function) -> Array:
        """The right-hand side of f at the free nodes, [f], g0, g1 and Dirichlet data."""
        h, load = self.h, source - self.coupling @ data(self.edge)
        w, w1, w2 = self.curve.along(value, self.theta)
        v, v1, _ = self.curve.along(flux, self.theta)
        jumps = np.stack([w, h * w1, h**2 * w2, h * v, h**2 * v1, h**2 * jump(self.curve(self.theta))])
        load[self.irregular] -= (self.offset * jumps).sum(axis=0)
        return load

    @cached_property
    def solve(self) -> Callable[[Array], Array]:
        """The inverse of the matrix."""
        options = {"SymmetricMode": True}  # nearly symmetric, and an M-matrix: no pivots are needed
        solve: Callable[[Array], Array] = splu(
            self.matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options
        ).solve
        return solve


def transferred(diffusion: tuple[float, float], bend: Array) -> tuple[Array, Array]:
    """Derivatives (y, y_n, y_t, y_nn, y_nt, y_tt) beyond the curve by those on the side of the
    smaller kappa, and by jumps.

    Two arrays (6, 6, m), the second for (w, w', w'', v, v', [f]) with w = [y], v = [kappa dy/dn], outside minus inside,
    from these, their derivatives along the curve with the second derivative `bend` along its normal, and the equation.
    Nothing is divided by the smaller kappa.
    """
    base, other = sorted(diffusion)
    sign, ratio = (1.0 if diffusion[0] <= diffusion[1] else -1.0), base / other
    transfer, data = np.zeros((2, 6, 6, bend.size))
    transfer[0, 0] = transfer[2, 2] = transfer[5, 5] = 1.0
    transfer[1, 1] = transfer[4, 4] = ratio
    data[0, 0] = data[2, 1] = data[5, 2] = sign
    data[1, 3] = data[4, 4] = sign / other
    transfer[4, 2] = transfer[5, 1] = (1 - ratio) * bend
    data[4, 1], data[5, 3] = sign * bend, -sign / other * bend
    transfer[3], data[3] = -transfer[5], -data[5]
    transfer[3, [3, 5]] += ratio
    data[3, 5] -= sign / other
    return transfer, data


def signed(moments: Array, exact: Array, plain: Array) -> Array:
    """The coefficients with moments @ coefficients = exact closest to the plain ones; not negative but at the centre.

    On coarse grids there may be none, then signs are not asked for. The sum of all is zero, by the first moment.
    """
    reduced = moments[1:, :CENTRE] - moments[1:, CENTRE:]
    goal, plain, heavy = exact[1:], plain[:CENTRE], 1e6
    weight = np.where(np.isin(np.arange(CENTRE), AXES), 1.0, 2.0)
    found, _ = nnls(np.vstack([heavy * reduced, np.diag(weight)]), np.concatenate([heavy * goal, weight * plain]))
    used = found > 0
    found[used] += np.linalg.pinv(reduced[:, used]) @ (goal - reduced @ found)
    if abs(reduced @ found - goal).max() > 1e-8 * abs(goal).max():
        found = plain + np.linalg.pinv(reduced / weight) @ (goal - reduced @ plain) / weight
    return np.append(found, -found.sum())


@dataclass(frozen=True)
class Optimum:
    """State, adjoint and control at the nodes, with the steps and solves of Newton's method."""

    y: Array
    p: Array
    u: Array
    steps: int
    solves: int


def optimise(
    scheme: Cartesian,
    source: tuple[Function, Function],
    target: tuple[Function, Function],
    value: Function,
    flux: Function,
    data: Function,
    bounds: tuple[float, float],
    alpha: float = 1.0,
    tolerance: float = 1e-10,
) -> Optimum:
    """min 1/2 ||y - y_d||^2 + alpha/2 ||u||^2 over u_a <= u <= u_b: both equations by the scheme, u = P(-p/alpha).

    Semismooth Newton for p = p_0 + S S P(-p/alpha) by GMRES, with halved steps where the residual does not fall, from
    larger alpha where S is large.
    """
    x, solve, solves, steps = scheme.nodes, scheme.solve, 0, 0

    def squared(u: Array) -> Array:
        nonlocal solves
        solves += 2
        return solve(solve(u))

    def zero(x: Array) -> Array:
        return np.zeros_like(x[0])

    f, wanted = (np.where(scheme.inside, inner(x), outer(x)) for inner, outer in (source, target))
    state = scheme.load(f, lambda x: source[1](x) - source[0](x), value, flux, data)
    adjoint = scheme.load(-wanted, lambda x: value(x) - target[1](x) + target[0](x), zero, zero, zero)
    p = start = solve(solve(state) + adjoint)
    size = np.linalg.norm(squared(np.ones(p.size))) / np.sqrt(p.size)
    for weight in alpha * 10.0 ** np.arange(max(0, np.ceil(np.log10(size / alpha))), -1, -1):

        def residual(p: Array, weight: float = weight) -> Array:
            return p - start - squared(np.clip(-p / weight, *bounds))

        rest = residual(p)
        while np.linalg.norm(rest) > (tolerance if weight == alpha else 1e-2) * np.linalg.norm(p):
            slope = ((-p / weight > bounds[0]) & (-p / weight < bounds[1])) / weight
            matrix = LinearOperator((p.size, p.size), lambda v, slope=slope: v + squared(slope * v), dtype=float)
            change, _ = gmres(matrix, -rest, restart=200, maxiter=2, atol=0.0, **{RELATIVE: 1e-4})
            old, before = np.linalg.norm(rest), p
            for length in 0.5 ** np.arange(8):
                p = before + length * change
                rest = residual(p)
                if np.linalg.norm(rest) < old:
                    break
            steps += 1
            if steps == 200:
                raise ArithmeticError("Newton's method does not converge.")
    u = np.clip(-p / alpha, *bounds)
    return Optimum(solve(state + u), p, u, steps, solves + 3)
