"""h, g and phi by networks: with random hidden layers, whose outer weights solve least-squares problems.

What must hold, at points of the boundary or of an interface, holds to rounding; what should hold as well as it can,
at points inside, makes them smooth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ...arrays import Array, Data, Piecewise, sample
from ...errors import DataError, ProblemError
from ...problem import Dirichlet, Moving
from ..networks.layer import Layer
from ..networks.operator import Operator
from .ansatz import Function
from .domain import Domain, Places
from .factors import loops_of, steepness
from .jet import Jet, constant
from .lifting import Lifting, Sides
from .sampling import chebyshev

FEATURES = 400
LENGTH = 1.5  # of the weights of features on (-1, 1)^2: such functions are smooth
INSIDE = 1500  # points inside
ALONG = 64  # points on each side, less one
WEAK = 1e-6  # weight of what should hold
CUT = 1e-14  # of singular values
EXACT = 1e-5  # what conditions may miss at other points, relative to the data


class Features:
    """Smooth functions sum_j c_j tanh(w_j . xi + b_j), with xi = x mapped to (-1, 1)^2."""

    def __init__(self, box: Array, seed: int) -> None:
        generator = np.random.default_rng(seed)
        weights = generator.standard_normal((2, FEATURES))
        weights *= LENGTH * generator.uniform(0.3, 1.7, FEATURES) / np.linalg.norm(weights, axis=0)
        centres = generator.uniform(-1, 1, weights.shape)
        self._layer = Layer(weights, -(weights * centres).sum(axis=0))
        self._box = box

    def matrices(self, points: Array) -> list[Array]:
        """Values, two derivatives and Laplacians (n, M) of the features."""
        low, high = self._box.T[:, :, None]
        zero, one = np.zeros(points.shape[1]), np.ones(points.shape[1])
        inputs, still = (2 * points - low - high) / (high - low), np.zeros(points.shape)
        units = 2 / (high - low) * np.eye(2)
        along = units[:, :, None] * one
        operators = [
            Operator(inputs, one, still, None, None, zero),
            *(Operator(inputs, zero, unit, None, None, zero) for unit in along),
            Operator(inputs, zero, still, one, along, zero),
        ]
        return self._layer.matrices(operators)

    def jet(self, coefficients: Array, points: Array) -> Jet:
        """The function with outer weights c."""
        value, first, second, laplacian = (matrix @ coefficients for matrix in self.matrices(points))
        return Jet(value, np.array([first, second]), laplacian, np.zeros(value.size))


def minimiser(exact: Array, weak: Array) -> Callable[[Array, Array], Array]:
    """(a, b) -> argmin_c |exact @ c - a|^2 + w^2 mean (weak @ c - b)^2 with a small w."""
    weight = WEAK / np.sqrt(len(weak))
    left, values, right = np.linalg.svd(np.vstack([exact, weight * weak]), full_matrices=False)
    kept = values > CUT * values[0]

    def solve(a: Array, b: Array) -> Array:
        c = left[:, kept].T @ np.concatenate([a, weight * b])
        return np.asarray(right[kept].T @ (c / values[kept]))

    return solve


def learned_factor(domain: Domain, seed: int = 1) -> Function:
    """h = 0 on the boundary, and near to the product of cos(pi xi_i / 2) inside, xi from -1 to 1 in the rectangle.

    Examples
    --------
    >>> from pdecontrol.problem import Circle, Interface
    >>> domain = Domain(((-1, 1), (-1, 1)), {"gamma": Interface(Circle(0.5))}, "outside")
    >>> points = np.array([[0.0, 0.5, 1.0], [0.0, 0.0, 0.3]])
    >>> np.abs(learned_factor(domain)(domain.places(points)).value).round(3).tolist()
    [1.0, 0.707, 0.0]
    """
    box = np.array(domain.box)
    low, high = box.T[:, :, None]
    features, inside = Features(box, seed), _uniform(box, seed, INSIDE)
    wanted = np.cos(0.5 * np.pi * (2 * inside - low - high) / (high - low)).prod(axis=0)
    edges = np.hstack(chebyshev(domain, ALONG))
    solve = minimiser(features.matrices(edges)[0], features.matrices(inside)[0])
    coefficients = solve(np.zeros(edges.shape[1]), wanted)
    return lambda places: features.jet(coefficients, places.points)


def learned_lifting(
    domain: Domain,
    conditions: Mapping[str, Dirichlet],
    jumps: Mapping[str, Data],
    initial: Piecewise | None = None,
    seed: int = 1,
) -> Lifting:
    """g, see `Lifting`, where the extension B h0 of boundary data is the network with B h0 = h0 and small weights.

    Jumps and initial values are those of the data, without an approximation.

    Raises
    ------
    DataError
        If data are not smooth along a side.
    """
    features = Features(np.array(domain.box), seed)
    nodes, tests = chebyshev(domain, ALONG), chebyshev(domain, 5 * ALONG)
    solve = minimiser(features.matrices(np.hstack(nodes))[0], np.eye(FEATURES))
    still, name = np.zeros(FEATURES), "the Dirichlet value"

    def extend(domain: Domain, data: Sides) -> Callable[[Array], Jet]:
        given = [item for pair in data for item in pair]
        values, wanted = (
            np.concatenate([sample(item, x, domain.diameter, name) for item, x in zip(given, sides, strict=True)])
            for sides in (nodes, tests)
        )
        coefficients = solve(values, still)
        points = np.hstack(tests)
        wrong = np.abs(features.jet(coefficients, points).value - wanted)
        if wrong.max() > EXACT * np.abs(wanted).max():
            where = points[:, np.argmax(wrong)].round(6).tolist()
            raise DataError(f"{name} is not smooth near x = {where}: a learned g misses it by {wrong.max():.1e}.")
        return lambda points: features.jet(coefficients, points)

    return Lifting(domain, conditions, jumps, initial, extend)


def learned_kink(domain: Domain, seed: int = 1) -> Function:
    """phi = 1 outside of all interfaces, and inside phi = 1 and dphi/dn = A at each, Lap phi as constant as possible.

    Raises
    ------
    ProblemError
        For interfaces that move, or that are too crooked.
    """
    bumps = [_bump(domain, tag, seed) for tag in domain.interface]

    def kink(places: Places) -> Jet:
        phi = constant(1.0, places.points.shape[1])
        for row, bump in zip(places.inside, bumps, strict=True):
            phi = phi + bump(places.points).where(row)
        return phi

    return kink


def _bump(domain: Domain, tag: str, seed: int) -> Callable[[Array], Jet]:
    """phi - 1 inside of an interface."""
    if isinstance(domain.interface[tag].shape, Moving):
        raise ProblemError(f"interface {tag!r} moves: a learned phi is for interfaces that do not.")
    shape = domain.shape(tag)
    loops = loops_of(domain, tag, shape)
    corners, sides = (np.hstack(found) for found in (loops, [np.roll(loop, -1, axis=1) - loop for loop in loops]))
    box = np.array([corners.min(axis=1), corners.max(axis=1)]).T
    size = 0.5 * float((box[:, 1] - box[:, 0]).max())
    wanted_slope = steepness(domain)
    features, points = Features(box, seed), _uniform(box, seed, 2 * INSIDE)
    points = points[:, shape.contains(points)]
    area = np.prod(box[:, 1] - box[:, 0]) * points.shape[1] / (2 * INSIDE)
    laplacian = wanted_slope * np.linalg.norm(sides, axis=0).sum() / area  # the mean of that of phi, by Gauss's theorem

    def ends(curve: Array) -> tuple[Array, Array]:
        """Values and normal derivatives of features at points, and what they must be."""
        values, first, second, _ = features.matrices(curve)
        normal = shape.normal(curve)[:, :, None]
        slopes = normal[0] * first + normal[1] * second
        return np.vstack([values, size * slopes]), np.repeat([0.0, size * wanted_slope], len(values))

    matrix, wanted = ends(np.hstack([corners, shape.project(corners + 0.5 * sides)]))
    solve = minimiser(matrix, size**2 * features.matrices(points)[3])
    coefficients = solve(wanted, np.full(points.shape[1], size**2 * laplacian))
    matrix, wanted = ends(shape.project(corners + 0.25 * sides))
    missed = np.abs(matrix @ coefficients - wanted).max() / (size * wanted_slope)
    if missed > EXACT:
        raise ProblemError(f"interface {tag!r} is too crooked: a learned phi misses its kink by {missed:.1e} of it.")
    return lambda points: features.jet(coefficients, points)


def _uniform(box: Array, seed: int, count: int) -> Array:
    """Random points (2, count) in a rectangle."""
    low, high = box.T[:, :, None]
    return np.asarray(low + (high - low) * np.random.default_rng(seed).uniform(size=(2, count)))
