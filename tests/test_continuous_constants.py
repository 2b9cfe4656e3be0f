"""Constants of triangles and polygons, and bounds in L2 by them, against exact solutions and sharp constants."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.linalg import eigh, null_space
from scipy.sparse.linalg import spsolve
from skfem.quadrature import get_quadrature
from skfem.refdom import RefTri

import pdecontrol as pc
from pdecontrol.continuous.constants import interpolation_constants, poincare_constants
from pdecontrol.continuous.triangles import OPPOSITE, Triangles

PI = np.pi


def rule(triangles, order):
    """Points (2, q, n) and weights (q, n) on all triangles."""
    places, weights = get_quadrature(RefTri, order)
    places = np.vstack([1 - places.sum(axis=0), places])
    return np.einsum("vq,dvn->dqn", places, triangles.corners), 2 * weights[:, None] * triangles.areas, places


def square(n, keep=None, low=0.0, high=1.0, turn=0.0):
    mesh = pc.unit_square(n)
    points = low + (high - low) * mesh.points
    inside = slice(None) if keep is None else keep(points[:, mesh.cells].mean(axis=1))
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ points
    return Triangles(turned, mesh.cells[:, inside])


def l_shape(n):
    return square(n, lambda x: (x[0] < 0) | (x[1] > 0), -1, 1)


def with_hole(n):
    return square(n, lambda x: np.abs(x).max(axis=0) > 0.5, -1, 1)


def t_shape(n):
    return square(n, lambda x: (x[1] > 0) | (np.abs(x[0]) < 0.5), -1, 1)


def u_shape(n):
    return square(n, lambda x: (x[1] < 0) | (np.abs(x[0]) > 0.5), -1, 1)


def with_slit(n):
    """The square (-1, 1)^2 cut along x0 > 0, x1 = 0: the cells above have copies of the vertices there."""
    mesh = pc.unit_square(n)
    points = 2 * mesh.points - 1
    on = np.flatnonzero((points[1] == 0) & (points[0] > 0))
    copies = np.arange(points.shape[1])
    copies[on] = points.shape[1] + np.arange(on.size)
    above = points[1, mesh.cells].mean(axis=0) > 0
    return Triangles(np.hstack([points, points[:, on]]), np.where(above, copies[mesh.cells], mesh.cells))


def solved(triangles, f, kappa=1.0, reaction=0.0, dirichlet=None):
    """The Galerkin solution of degree 1 and the local errors of an equilibrated flux, by that of Crouzeix and Raviart."""
    kappa, reaction = (np.broadcast_to(a, triangles.count) for a in (kappa, reaction))
    dirichlet = triangles.boundary if dirichlet is None else dirichlet & triangles.boundary
    x, weights, places = rule(triangles, 8)
    data = f(x)

    def linear(dofs, gradients, fixed, load, mass):
        size = fixed.size
        local = np.einsum("din,djn->ijn", gradients, gradients) * kappa * triangles.areas + mass
        rows, columns = np.broadcast_to(dofs[:, None], local.shape), np.broadcast_to(dofs, local.shape)
        matrix = sp.coo_matrix((local.ravel(), (rows.ravel(), columns.ravel())), (size, size)).tocsr()
        free, y = np.flatnonzero(~fixed), np.zeros(size)
        b = np.bincount(dofs.ravel(), load.ravel(), size)
        y[free] = spsolve(matrix[free][:, free], b[free])
        return y, np.einsum("in,din->dn", y[dofs], gradients)

    fixed = np.zeros(triangles.points.shape[1], dtype=bool)
    fixed[triangles.facets[:, dirichlet]] = True
    fixed |= np.bincount(triangles.cells.ravel(), minlength=fixed.size) == 0
    load = np.einsum("vq,qn->vn", places, weights * data)
    mass = (1 + np.eye(3))[:, :, None] / 12 * reaction * triangles.areas
    y, slope = linear(triangles.cells, triangles.gradients, fixed, load, mass)
    residual = data - reaction * np.einsum("vq,vn->qn", places, y[triangles.cells])
    mean = (weights * residual).sum(axis=0) / triangles.areas
    oscillation = np.sqrt((weights * (residual - mean) ** 2).sum(axis=0))
    dofs = triangles.facets_of[OPPOSITE]
    third = np.tile(mean * triangles.areas / 3, (3, 1))
    if not dirichlet.any():  # the mean of the residual is zero, and fluxes do not see the constant
        dirichlet = dirichlet.copy()
        dirichlet[0] = True
    _, flux = linear(dofs, -2 * triangles.gradients, dirichlet, third, 0.0)
    squares = ((kappa * (flux - slope)) ** 2).sum(axis=0) + mean**2 * (triangles.lengths**2).sum(axis=0) / 144
    return y, np.sqrt(squares * triangles.areas) + poincare_constants(triangles) * oscillation


def error(triangles, y, exact):
    x, weights, places = rule(triangles, 8)
    return float(np.sqrt((weights * (exact(x) - np.einsum("vq,vn->qn", places, y[triangles.cells])) ** 2).sum()))


def powers(degree):
    return [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]


def derivative(x, i, j, order):
    """Of x0^i x1^j, so many times in each variable."""
    for power, times in zip((i, j), order, strict=True):
        if times > power:
            return 0 * x[0]
    factor = np.prod([np.prod(np.arange(p - k + 1, p + 1)) for p, k in zip((i, j), order, strict=True)])
    return factor * x[0] ** (i - order[0]) * x[1] ** (j - order[1])


def random_triangles(generator, count):
    corners = generator.uniform(-1, 1, (2, 3, count))
    return Triangles(corners.reshape(2, 3 * count, order="F"), np.arange(3 * count).reshape(count, 3).T)


def largest_ratio(above, below):
    """Of two quadratic forms, on the range of the second one."""
    values, vectors = eigh(below)
    keep = values > 1e-12 * values.max()
    basis = vectors[:, keep] / np.sqrt(values[keep])
    return float(np.sqrt(eigh(basis.T @ above @ basis, eigvals_only=True)[-1]))


def test_constants_of_interpolation_and_of_poincare_are_sharp_bounds_for_polynomials():
    triangles = random_triangles(np.random.default_rng(3), 30)
    x, weights, _ = rule(triangles, 16)
    terms = powers(8)
    shares = {"interpolation": [], "poincare": []}
    for k, (corners, area) in enumerate(zip(np.moveaxis(triangles.corners, 2, 0), triangles.areas, strict=True)):
        centre, size = corners.mean(axis=1), triangles.diameters[k]
        at, w = (x[:, :, k] - centre[:, None]) / size, weights[:, k]
        nodes = (corners - centre[:, None]) / size
        values, first, second = (
            [np.array([derivative(at, *p, order) for p in terms]) for order in orders]
            for orders in ([(0, 0)], [(1, 0), (0, 1)], [(2, 0), (1, 1), (1, 1), (0, 2)])
        )
        interpolant = np.array([derivative(nodes, *p, (0, 0)) for p in terms]) @ triangles.gradients[:, :, k].T * size
        off = [row - interpolant[:, [d]] for d, row in enumerate(first)]
        mean = (values[0] * w).sum(axis=1, keepdims=True) / area
        gram = lambda rows, w=w: sum((row * w) @ row.T for row in rows)  # noqa: E731
        found = (
            largest_ratio(gram(off), gram(second)) * size,
            largest_ratio(gram([values[0] - mean]), gram(first)) * size,
        )
        shares["interpolation"].append(found[0] / interpolation_constants(triangles)[k])
        shares["poincare"].append(found[1] / poincare_constants(triangles)[k])
    for found in shares.values():
        assert max(found) <= 1.0 and max(found) > 0.9  # so that a tenth of a constant is caught
    assert min(shares["interpolation"]) > 0.7


def test_the_constant_of_the_right_triangle():
    triangles = Triangles(np.array([[0.0, 1, 0], [0, 0, 1]]), np.array([[0], [1], [2]]))
    assert interpolation_constants(triangles)[0] == pytest.approx(0.4916, abs=5e-5)


SHAPES = {
    "square": [(0, 0), (1, 0), (1, 1), (0, 1)],
    "right triangle": [(0, 0), (1, 0), (0, 1)],
    "triangle": [(0, 0), (2, 0), (0.5, 1)],
    "quadrilateral": [(0, 0), (2, 0), (1.8, 1), (0.3, 1.5)],
    "re-entrant": [(0, 0), (1, -1), (2, 1), (-1, 0.5)],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("conditions", ["DDDD", "NNNN", "DNDN", "DNNN"])
def test_second_derivatives_have_the_norm_of_the_laplacian(shape, conditions):
    """For random polynomials that meet the conditions on all sides."""
    corners = np.array(SHAPES[shape], dtype=float).T
    after, terms = np.roll(corners, -1, axis=1), powers(9)
    rows = []
    for a, b, condition in zip(corners.T, after.T, conditions, strict=False):
        x = a[:, None] + np.linspace(0, 1, 12) * (b - a)[:, None]
        normal = np.array([b[1] - a[1], a[0] - b[0]])
        orders = [((0, 0), 1.0)] if condition == "D" else [((1, 0), normal[0]), ((0, 1), normal[1])]
        rows.append(sum(c * np.array([derivative(x, *p, order) for p in terms]) for order, c in orders).T)
    basis = null_space(np.vstack(rows), rcond=1e-11)
    second = [basis.T @ sp.eye(len(terms))]
    assert basis.shape[1] >= 2
    fan = Triangles(
        np.array(corners), np.array([[0, 1, i] if i == 2 else [0, 2, 3] for i in range(2, corners.shape[1])]).T
    )
    if shape == "re-entrant":
        fan = Triangles(np.array(corners), np.array([[0, 1, 2], [0, 2, 3]]).T)
    x, weights, _ = rule(fan, 16)
    x, weights = x.reshape(2, -1), weights.ravel()
    w = basis @ np.random.default_rng(0).standard_normal((basis.shape[1], 5))
    xx, xy, yy = (w.T @ np.array([derivative(x, *p, order) for p in terms]) for order in ((2, 0), (1, 1), (0, 2)))
    assert second
    norms = (weights * (xx**2 + 2 * xy**2 + yy**2)).sum(axis=1)
    assert norms == pytest.approx((weights * (xx + yy) ** 2).sum(axis=1), rel=1e-6)
