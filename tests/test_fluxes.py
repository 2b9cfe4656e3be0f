"""Equilibrated fluxes in closed form, against minimisation on patches by dense algebra, and exact solutions."""

from functools import cached_property

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.linalg import null_space
from scipy.sparse.linalg import spsolve

import pdecontrol as pc
from pdecontrol.continuous.constants import interpolation_constants, poincare_constants
from pdecontrol.continuous.flux import LinearFlux
from pdecontrol.continuous.intervals import IntervalFlux, Intervals
from pdecontrol.continuous.quadratic_flux import QuadraticFlux
from pdecontrol.continuous.samples import Whole, functional, moments_of, rule, shapes
from pdecontrol.continuous.statement import NoRouteError
from pdecontrol.continuous.triangles import EDGES, Triangles

PI = np.pi
FLUXES = {1: LinearFlux, 2: QuadraticFlux}
S, WEIGHTS = rule(1, 6)  # on edges, barycentric


def square(n):
    mesh = pc.unit_square(n)
    return Triangles(mesh.points, mesh.cells)


def refined(mesh, seed):
    """Bisected at random, with its vertices inside moved and half of its triangles turned over."""
    generator = np.random.default_rng(seed)
    for _ in range(2):
        mesh = mesh.bisect(generator.random(mesh.cells.shape[1]) < 0.2)
    triangles = Triangles(mesh.points, mesh.cells)
    smallest = np.full(mesh.points.shape[1], np.inf)
    np.minimum.at(smallest, triangles.cells.ravel(), np.tile(triangles.areas / triangles.diameters, 3))
    smallest[triangles.facets[:, triangles.boundary]] = 0
    points = mesh.points + 0.4 * smallest * generator.uniform(-1, 1, mesh.points.shape)
    cells = np.where(generator.random(triangles.count) < 0.5, mesh.cells, mesh.cells[[1, 0, 2]])
    return Triangles(points, cells.astype(np.int32))


def with_slit():
    """(-1, 1)^2 cut along x0 > 0, x1 = 0."""
    mesh = pc.unit_square(4)
    points = 2 * mesh.points - 1
    on = np.flatnonzero((points[1] == 0) & (points[0] > 0))
    copies = np.arange(points.shape[1])
    copies[on] = points.shape[1] + np.arange(on.size)
    above = points[1, mesh.cells].mean(axis=0) > 0
    return Triangles(np.hstack([points, points[:, on]]), np.where(above, copies[mesh.cells], mesh.cells))


def with_loose_points():
    return Triangles(np.array([[9.0, 0, 1, 9, 0], [9, 0, 0, 9, 1]]), np.array([[1], [4], [2]]))


MESHES = {
    "square": lambda: refined(pc.unit_square(3), 1),
    "L": lambda: refined(pc.l_shape(2), 2),
    "slit": with_slit,
    "one": with_loose_points,
}


def first(triangles):
    return np.arange(triangles.boundary.size) == np.argmax(triangles.boundary)


CONDITIONS = {
    "Dirichlet": lambda triangles, chosen: triangles.boundary,
    "mixed": lambda triangles, chosen: triangles.boundary & (chosen | first(triangles)),
    "Neumann": lambda triangles, chosen: first(triangles),
}


class Case:
    """-div(kappa grad y) = r with random kappa, quadratic r and data on the boundary, and its Galerkin solution."""

    def __init__(self, triangles, degree, conditions, seed=5):
        generator = np.random.default_rng(seed)
        self.triangles, self.degree = triangles, degree
        self.kappa = 10 ** generator.uniform(-1, 1, triangles.count)
        self.r = generator.normal(size=(6, triangles.count))
        self.dirichlet = CONDITIONS[conditions](triangles, generator.random(triangles.boundary.size) < 0.5)
        self.neumann = triangles.boundary & ~self.dirichlet
        ends = generator.normal(size=(2, self.neumann.size)) * self.neumann
        self.g = np.broadcast_to(ends.mean(axis=0), ends.shape) if degree == 1 else ends  # at the ends of facets
        self.moments = moments_of(self.r, triangles.areas)
        product = np.einsum("q,qa,qb,qc->abc", WEIGHTS, S, S, S)
        self.flux = np.einsum("abc,cf->abf", product, self.g) * triangles.facet_lengths
        self.y = galerkin(triangles, degree, self.kappa, self.moments, self.flux, self.dirichlet)

    @cached_property
    def locals(self):
        return [Local(self, cell) for cell in range(self.triangles.count)]

    def found(self):
        return FLUXES[self.degree](self.triangles, self.kappa, self.dirichlet)


def dofs_of(triangles, degree):
    edges = triangles.points.shape[1] + triangles.facets_of
    return triangles.cells if degree == 1 else np.concatenate([triangles.cells, edges])


def slopes(triangles, y, lam):
    """The gradient (2, q, n) at barycentric coordinates (q, 3), by the values at nodes."""
    if len(y) == 3:
        by = np.repeat(y[:, None], len(lam), axis=1)
    else:
        by = np.stack([(4 * lam[:, i, None] - 1) * y[i] for i in range(3)])
        for edge, (i, j) in enumerate(EDGES):
            by[i] += 4 * lam[:, j, None] * y[3 + edge]
            by[j] += 4 * lam[:, i, None] * y[3 + edge]
    return np.einsum("kqn,dkn->dqn", by, triangles.gradients)


def galerkin(triangles, degree, kappa, moments, flux, dirichlet, fixed_values=None):
    """The solution at the nodes of each triangle, with zero or given values on Dirichlet facets."""
    dofs, (lam, weights) = dofs_of(triangles, degree), rule(2, 2)
    size, count = triangles.points.shape[1] + triangles.facets.shape[1] * (degree - 1), len(dofs)
    basis = [slopes(triangles, np.outer(row, np.ones(triangles.count)), lam) for row in np.eye(count)]
    local = np.einsum("idqn,jdqn,q->ijn", basis, basis, weights) * kappa * triangles.areas
    rows, columns = np.broadcast_arrays(dofs[:, None], dofs[None])
    matrix = sp.csr_matrix((local.ravel(), (rows.ravel(), columns.ravel())), (size, size))
    load = np.bincount(dofs.ravel(), functional(moments, count).ravel(), size)
    on_facets = triangles.facets
    if degree == 2:
        on_facets = np.vstack([on_facets, triangles.points.shape[1] + np.arange(on_facets.shape[1])])
    load += np.bincount(on_facets.ravel(), functional(flux, degree + 1).ravel(), size)
    free, y = np.isin(np.arange(size), dofs), np.zeros(size)
    free[on_facets[:, dirichlet]] = False
    if fixed_values is not None:
        y[~free] = fixed_values(triangles.points)[~free]
    free = np.flatnonzero(free)
    y[free] = spsolve(matrix[free][:, free].tocsc(), (load - matrix @ y)[free])
    return y[dofs]


class Local:
    """All flux functions of one triangle, as combinations of monomials: their fields, divergences and moments."""

    def __init__(self, case, cell):
        triangles = case.triangles
        self.corners, self.area, self.kappa = triangles.corners[:, :, cell], triangles.areas[cell], case.kappa[cell]
        self.degree, self.numbers, self.facets = case.degree, triangles.cells[:, cell], triangles.facets_of[:, cell]
        self.lam, self.weights = rule(2, 8)
        whole = Triangles(self.corners, np.arange(3)[:, None])
        own = case.y[:, cell, None]
        self.slope = lambda lam: self.kappa * slopes(whole, own, lam)[:, :, 0]
        self.gradients = whole.gradients[:, :, 0]
        self.r = shapes(self.lam.T, 6).T @ case.r[:, cell]
        self.size = whole.diameters[0]

    def fields(self, lam):
        """(2, b, q), and their divergences (b, q)."""
        x, y = (lam @ self.corners.T - self.corners.mean(axis=1)).T / self.size
        one, nil = np.ones_like(x), np.zeros_like(x)
        if self.degree == 1:
            return np.array([[one, nil, x], [nil, one, y]]), np.array([nil, nil, 2 * one]) / self.size
        first, second = (one, x, y, nil, nil, nil, x**2, x * y), (nil, nil, nil, one, x, y, x * y, y**2)
        return np.array([first, second]), np.array([nil, one, nil, nil, nil, one, 3 * x, 3 * y]) / self.size

    def tests(self, lam):
        return lam if self.degree == 2 else np.ones((len(lam), 1))

    def edge(self, edge):
        """Barycentric coordinates on an edge (q, 3), in the order of its facet, and the normal times the length."""
        ends = sorted(EDGES[edge], key=lambda i: self.numbers[i])
        opposite = 3 - sum(ends)
        return S @ np.eye(3)[ends], -2 * self.area * self.gradients[:, opposite]

    def edge_moments(self, edge):
        """int tau . n mu, (tests, b), for all fields tau."""
        lam, normal = self.edge(edge)
        tests = S if self.degree == 2 else np.ones((len(S), 1))
        return np.einsum("q,qt,dbq,d->tb", WEIGHTS, tests, self.fields(lam)[0], normal)

    def interpolant(self, a):
        """That of lam_a kappa grad y_h, by its coefficients."""
        rows = [self.edge_moments(edge) for edge in range(3)]
        values = []
        for edge in range(3):
            lam, normal = self.edge(edge)
            tests = S if self.degree == 2 else np.ones((len(S), 1))
            values.append((WEIGHTS * lam[:, a] * (normal @ self.slope(lam))) @ tests)
        if self.degree == 2:
            rows.append(np.einsum("q,dbq->db", self.weights, self.fields(self.lam)[0]))
            values.append(self.slope(self.lam) @ (self.weights * self.lam[:, a]))
        return np.linalg.solve(np.vstack(rows), np.concatenate(values))

    def projection(self, a):
        """What does not commute: the nearest to lam_a kappa grad y_h."""
        fields = self.fields(self.lam)[0]
        load = np.einsum("q,dbq,dq->b", self.weights * self.lam[:, a], fields, self.slope(self.lam))
        return np.linalg.solve(np.einsum("q,dbq,dcq->bc", self.weights, fields, fields), load)


def on_patch(case, cells, a, commuting):
    """The fluxes round a vertex by dense algebra, as coefficients (cells, b) of the fields of each cell."""
    locals_ = [case.locals[cell] for cell in cells]
    count = 3 if case.degree == 1 else 8
    width, rows, values = count * len(cells), [], []
    edges = {}
    for k, own in enumerate(locals_):
        for edge, facet in enumerate(own.facets):
            row = np.zeros((case.degree, width))
            row[:, k * count : (k + 1) * count] = own.edge_moments(edge)
            edges.setdefault(facet, []).append(row)
        lam, tests = own.lam, own.tests(own.lam)
        row = np.zeros((tests.shape[1], width))
        row[:, k * count : (k + 1) * count] = np.einsum("q,qt,bq->tb", own.weights, tests, own.fields(lam)[1])
        here = np.flatnonzero(own.numbers == a)[0]
        right = lam[:, here] * own.r - own.gradients[:, here] @ own.slope(lam)
        rows.append(row * own.area)
        values.append(-own.area * (own.weights * right) @ tests)
    for facet, both in edges.items():
        ends = case.triangles.facets[:, facet]
        if a in ends and case.dirichlet[facet]:
            continue
        rows.append(sum(both))
        mine = S[:, np.flatnonzero(ends == a)[0]] if a in ends else 0 * WEIGHTS
        tests = S if case.degree == 2 else np.ones((len(S), 1))
        values.append((WEIGHTS * mine * (S @ case.g[:, facet]) * case.triangles.facet_lengths[facet]) @ tests)
    form, target = np.zeros((width, width)), np.zeros(width)
    for k, own in enumerate(locals_):
        here, at = np.flatnonzero(own.numbers == a)[0], slice(k * count, (k + 1) * count)
        fields = own.fields(own.lam)[0] * np.sqrt(own.weights * own.area / own.kappa)
        form[at, at] = np.einsum("dbq,dcq->bc", fields, fields)
        target[at] = own.interpolant(here) if commuting else own.projection(here)
    constraints, values = np.vstack(rows), np.concatenate(values)
    sizes = np.linalg.norm(constraints, axis=1)
    constraints, values = constraints / sizes[:, None], values / sizes
    given = np.linalg.lstsq(constraints, values, rcond=1e-11)[0]
    assert np.abs(constraints @ given - values).max() < 1e-9 * max(1.0, np.abs(values).max())
    free = null_space(constraints, rcond=1e-10)
    move = free @ np.linalg.solve(free.T @ form @ free, free.T @ form @ (target - given)) if free.size else 0.0
    return (given + move).reshape(len(cells), count)


def directly(case, commuting=True):
    """sigma by dense algebra: the norms on all triangles, and the moments (f, tests) out of both sides of facets."""
    triangles = case.triangles
    total = np.zeros((triangles.count, 3 if case.degree == 1 else 8))
    for a in np.unique(triangles.cells):
        cells = np.flatnonzero((triangles.cells == a).any(axis=0))
        total[cells] += on_patch(case, cells, a, commuting)
    norms, through = np.empty(triangles.count), np.zeros((2, triangles.facets.shape[1], case.degree))
    for cell, coefficients in enumerate(total):
        own = case.locals[cell]
        off = np.einsum("dbq,b->dq", own.fields(own.lam)[0], coefficients) - own.slope(own.lam)
        norms[cell] = np.sqrt(own.area * ((off**2).sum(axis=0) @ own.weights))
        for edge, facet in enumerate(own.facets):
            through[int(triangles.cells_of[0, facet] != cell), facet] = own.edge_moments(edge) @ coefficients
    return norms, through


@pytest.mark.parametrize("conditions", CONDITIONS)
@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("degree", [1, 2])
def test_fluxes_are_those_of_dense_minimisation_on_patches(degree, mesh, conditions):
    case = Case(MESHES[mesh](), degree, conditions)
    triangles, (norms, through) = case.triangles, directly(case)
    flux = case.found()
    scale = np.abs(norms).max()
    assert flux(case.y, case.moments, case.flux) == pytest.approx(norms, rel=0, abs=1e-10 * scale)
    inside = ~triangles.boundary
    assert np.abs(through[0] + through[1])[inside].max(initial=0) < 1e-10 * scale  # normal components are continuous
    coefficients = flux.coefficients(case.y, case.moments, case.flux)
    flows = coefficients if degree == 1 else coefficients.flows
    size = 1e-10 * np.abs(flows).max()
    assert flows == pytest.approx(through[0].sum(axis=1), rel=0, abs=size)
    assert flows[case.neumann] == pytest.approx(case.flux.sum(axis=(0, 1))[case.neumann], rel=0, abs=size)
    divergence = flux.divergence(coefficients)
    if degree == 1:
        assert np.abs(divergence * triangles.areas + case.moments.sum(axis=(0, 1))).max() < 1e-11
        return
    gram = (1 + np.eye(3)) / 12
    assert np.abs(np.einsum("ij,jn->in", gram, divergence) * triangles.areas + case.moments.sum(axis=1)).max() < 1e-11
    first, second = triangles.facets
    cell = triangles.cells_of[0]
    following = np.roll(triangles.cells, -1, axis=0)
    runs = ((triangles.cells[:, cell] == first) & (following[:, cell] == second)).any(axis=0)
    turn = np.where(runs == triangles.positive[cell], 3, -3)  # whether from first to second is counterclockwise
    assert coefficients.curls == pytest.approx(turn * (through[0, :, 0] - through[0, :, 1]), rel=0, abs=size)
    data = turn * (case.flux[0].sum(axis=0) - case.flux[1].sum(axis=0))
    assert coefficients.curls[case.neumann] == pytest.approx(data[case.neumann], rel=0, abs=size)


def test_set_up_once_for_solutions_of_several_right_hand_sides():
    triangles = MESHES["L"]()
    one, other = (Case(triangles, 2, "Dirichlet", seed) for seed in (5, 6))
    other.kappa, flux = one.kappa, one.found()
    other.y = galerkin(triangles, 2, one.kappa, other.moments, other.flux, one.dirichlet)
    for case in (one, other, one):
        again = case.found()(case.y, case.moments, case.flux)
        assert (flux(case.y, case.moments, case.flux) == again).all()


def sin_sin(x):
    return np.sin(PI * x[0]) * np.sin(PI * x[1])


def grad_sin_sin(x):
    return PI * np.stack([np.cos(PI * x[0]) * np.sin(PI * x[1]), np.sin(PI * x[0]) * np.cos(PI * x[1])])


def layered(x):
    """1 and 10 on the left and right of x0 = 1/2."""
    return np.where(x[0] < 0.5, 1.0, 10.0)


def layers(x):
    return np.sin(2 * PI * x[0]) * np.cos(PI * x[1]) / layered(x) + x[1]


def grad_layers(x):
    wave = np.cos(2 * PI * x[0]) * np.cos(PI * x[1]), -np.sin(2 * PI * x[0]) * np.sin(PI * x[1]) / 2
    return 2 * PI * np.stack(wave) / layered(x) + np.array([0.0, 1.0])[:, None, None]


def measured(triangles, degree, exact, slope, r, kappa=None, dirichlet=None, flux=None):
    """The errors of the Galerkin solution in energy and in L2, and their bounds."""
    kappa = np.ones(triangles.count) if kappa is None else kappa
    dirichlet = triangles.boundary if dirichlet is None else dirichlet
    flux = np.zeros((2, 2, triangles.facets.shape[1])) if flux is None else flux
    areas, points = triangles.areas, Whole.of(np.arange(triangles.count), triangles.areas, 10, 2)
    data = r(points.places(triangles.corners))
    moments = points.moments(data, triangles.count)
    y = galerkin(triangles, degree, kappa, moments, flux, dirichlet, exact if degree == 1 else None)
    norms = FLUXES[degree](triangles, kappa, dirichlet)(y, moments, flux)
    rho = norms + poincare_constants(triangles) * points.oscillation(data, areas, degree - 1)
    lam, weights = rule(2, 10)
    x = np.einsum("qv,dvn->dqn", lam, triangles.corners)
    off = exact(x) - np.einsum("lq,ln->qn", shapes(lam.T, len(y)), y)
    off_slope = slope(x) - slopes(triangles, y, lam)
    energy = np.sqrt((weights @ (off_slope**2).sum(axis=0) * areas * kappa).sum())
    bound = np.sqrt(((interpolation_constants(triangles) * rho) ** 2 / kappa).sum() / kappa.min())
    return {
        "energy": energy, "flux": np.sqrt((norms**2 / kappa).sum()), "energy bound": np.sqrt((rho**2 / kappa).sum()),
        "L2": np.sqrt((weights @ off**2 * areas).sum()), "L2 bound": bound,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("n", "bound", "error"), [(16, 8.07e-3, 5.38e-3), (32, 1.98e-3, 1.35e-3), (64, 4.89e-4, 3.38e-4)]
)
def test_bounds_of_degree_1_on_the_square(n, bound, error):
    found = measured(square(n), 1, sin_sin, grad_sin_sin, lambda x: 2 * PI**2 * sin_sin(x))
    assert found["L2 bound"] == pytest.approx(bound, rel=5e-3) and found["L2"] == pytest.approx(error, rel=5e-3)
    assert 1 < found["energy bound"] / found["energy"] <= 1.25 and found["L2 bound"] / found["L2"] <= 1.6


@pytest.mark.parametrize("seed", range(3))
def test_bounds_on_moved_vertices(seed):
    triangles = square(16)
    move = np.random.default_rng(seed).uniform(-0.2 / 16, 0.2 / 16, triangles.points.shape)
    move[:, triangles.facets[:, triangles.boundary]] = 0
    moved = Triangles(triangles.points + move, triangles.cells)
    found = measured(moved, 1, sin_sin, grad_sin_sin, lambda x: 2 * PI**2 * sin_sin(x))
    assert 1 < found["energy bound"] / found["energy"] <= 1.25 and 1 < found["L2 bound"] / found["L2"] <= 1.7


@pytest.mark.parametrize("degree", [1, 2])
def test_bounds_on_triangles_of_all_sizes(degree):
    found = measured(refined(pc.unit_square(12), 3), degree, sin_sin, grad_sin_sin, lambda x: 2 * PI**2 * sin_sin(x))
    assert 1 < found["energy bound"] / found["energy"] <= 1.5 and 1 < found["L2 bound"] / found["L2"] <= 2.5 * degree


def test_bounds_of_degree_2_are_of_order_3():
    found = [measured(square(n), 2, sin_sin, grad_sin_sin, lambda x: 2 * PI**2 * sin_sin(x)) for n in (8, 16, 32)]
    ratios = [each["L2 bound"] / each["L2"] for each in found]
    assert 4.1 <= min(ratios) <= max(ratios) <= 4.5 and ratios == sorted(ratios, reverse=True)
    assert np.log2(found[1]["L2 bound"] / found[2]["L2 bound"]) == pytest.approx(3, abs=0.06)
    energy = [each["flux"] / each["energy"] for each in found]
    assert 1.08 < min(energy) <= max(energy) < 1.1
    assert all(each["energy"] <= each["energy bound"] for each in found)


@pytest.mark.parametrize("n", [8, 16, 32])
def test_bounds_with_layers_and_a_prescribed_flux(n):
    triangles = square(n)
    kappa = layered(triangles.corners.mean(axis=1))
    middles = triangles.points[:, triangles.facets].mean(axis=1)
    upright = triangles.boundary & (np.abs(middles[0] - 0.5) == 0.5)
    flux = (1 + np.eye(2))[:, :, None] / 6 * triangles.facet_lengths * layered(middles) * (2 * middles[1] - 1)
    flux[:, :, ~triangles.boundary | upright] = 0

    def r(x):
        return 5 * PI**2 * np.sin(2 * PI * x[0]) * np.cos(PI * x[1])

    found = measured(triangles, 1, layers, grad_layers, r, kappa, upright, flux)
    assert found["energy"] <= found["energy bound"] and found["flux"] / found["energy"] <= 1.25
    assert 1 < found["L2 bound"] / found["L2"] <= 2


def test_targets_that_do_not_commute_are_caught():
    """They equilibrate too, but the ratio to the error grows as the mesh is refined."""
    ratios = {True: [], False: []}
    for n in (2, 4, 8):
        triangles = square(n)
        case = Case(triangles, 2, "Dirichlet")
        middles = [triangles.corners[:, edge].mean(axis=1, keepdims=True) for edge in map(list, EDGES)]
        places = np.concatenate([triangles.corners, *middles], axis=1)
        case.kappa, case.r = np.ones(triangles.count), 2 * PI**2 * sin_sin(places)
        case.moments = moments_of(case.r, triangles.areas)
        case.y = galerkin(triangles, 2, case.kappa, case.moments, case.flux, case.dirichlet)
        lam, weights = rule(2, 10)
        x = np.einsum("qv,dvn->dqn", lam, triangles.corners)
        off = grad_sin_sin(x) - slopes(triangles, case.y, lam)
        error = np.sqrt((weights @ (off**2).sum(axis=0) * triangles.areas).sum())
        for commuting, found in ratios.items():
            found.append(np.linalg.norm(directly(case, commuting)[0]) / error)
    assert (
        max(ratios[True]) < 1.2
        and ratios[False] == sorted(ratios[False])
        and ratios[False][-1] > 1.1 * max(ratios[True])
    )


def test_wrong_moments_are_caught():
    case = Case(MESHES["square"](), 2, "mixed")
    wrong = case.moments.copy()
    wrong[0, 1, np.argmax(np.abs(wrong[0, 1]))] *= -1
    flux = case.found()
    divergence = flux.divergence(flux.coefficients(case.y, wrong, case.flux))
    off = np.einsum("ij,jn->in", (1 + np.eye(3)) / 12, divergence) * case.triangles.areas + case.moments.sum(axis=1)
    assert np.abs(off).max() > 1e-4
    norms = directly(case)[0]
    assert np.abs(flux(case.y, wrong, case.flux) - norms).max() > 1e-3 * norms.max()


@pytest.mark.parametrize("flux", FLUXES.values())
def test_what_has_no_flux_is_refused(flux):
    triangles = square(2)
    ones, inside = np.ones(triangles.count), ~triangles.boundary
    with pytest.raises(NoRouteError, match="Dirichlet conditions inside the domain"):
        flux(triangles, ones, triangles.boundary | inside)
    data = np.zeros((2, 2, inside.size))
    data[0, 0, np.argmax(inside)] = 1
    degree = {each: degree for degree, each in FLUXES.items()}[flux]
    with pytest.raises(NoRouteError, match="a flux is prescribed inside the domain"):
        flux(triangles, ones, triangles.boundary)(np.zeros((3 * degree, ones.size)), np.zeros((3, 3, ones.size)), data)
    points = np.array([[0.0, 1, 0, -1, 0], [0, 0, 1, 0, -1]])
    touching = Triangles(points, np.array([[0, 0], [1, 3], [2, 4]]))
    with pytest.raises(NoRouteError, match=r"touches itself at x = \[0.0, 0.0\]"):
        flux(touching, np.ones(2), touching.boundary)


def on_intervals(intervals, degree, kappa, r, flux, fixed):
    """The Galerkin solution for -(kappa y')' = r, r affine by its values at ends: kappa y' at points (q, n)."""
    lam, weights = rule(1, 8)
    nodes = np.vander(np.linspace(0, 1, degree + 1), increasing=True)
    s, powers = lam[:, 1], np.arange(degree + 1)
    basis = np.linalg.solve(nodes.T, s ** powers[:, None])
    slope = np.linalg.solve(nodes.T, powers[:, None] * s ** np.maximum(powers - 1, 0)[:, None])
    count, size = intervals.count, intervals.points.shape[1]
    inner = size + np.arange((degree - 1) * count).reshape(degree - 1, count)
    dofs = np.vstack([intervals.cells[:1], inner, intervals.cells[1:]])
    matrix, load = np.zeros((size + inner.size,) * 2), np.zeros(size + inner.size)
    h = intervals.volumes
    for k in range(count):
        matrix[np.ix_(dofs[:, k], dofs[:, k])] += (slope * weights) @ slope.T * kappa[k] / h[k]
        load[dofs[:, k]] += (basis * weights) @ (lam @ r[:, k]) * h[k]
    load[:size] += flux
    free, y = np.setdiff1d(np.arange(load.size), np.flatnonzero(fixed)), np.zeros(load.size)
    y[free] = np.linalg.solve(matrix[np.ix_(free, free)], load[free])
    return y[dofs], slope.T @ y[dofs] * np.sign(intervals.corners[0, 1] - intervals.corners[0, 0]) * kappa / h


@pytest.mark.parametrize("fixed", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("degree", [1, 2])
def test_fluxes_on_intervals_are_exact(degree, fixed):
    """Where r is a polynomial on each interval, of one degree less: that of the solution of one degree more."""
    generator = np.random.default_rng(7)
    places, order = np.sort(generator.random(12)), generator.permutation(12)
    points = np.empty(12)
    points[order] = places
    cells = generator.permuted(generator.permuted(np.stack([order[:-1], order[1:]]), axis=0)[:, ::-1], axis=0)
    intervals = Intervals(points[None], cells)
    kappa, r = 10 ** generator.uniform(-1, 1, 11), generator.normal(size=(2, 11))
    if degree == 1:
        r[1] = r[0]
    dirichlet, flux = np.zeros(12, dtype=bool), np.zeros(12)
    dirichlet[order[[0, -1]]] = fixed
    flux[order[[0, -1]]] = 0.3 * ~np.array(fixed)
    y, own = on_intervals(intervals, degree, kappa, r, flux, dirichlet)
    _, exact = on_intervals(intervals, degree + 1, kappa, r, flux, dirichlet)
    lam, weights = rule(1, 8)
    moments = np.einsum("q,qi,qj,qk,kn->ijn", weights, lam, lam, lam, r) * intervals.volumes
    norms = np.sqrt(weights @ (exact - own) ** 2 * intervals.volumes)
    found = IntervalFlux(intervals, kappa, dirichlet)(np.vstack([y[:1], y[-1:], y[1:-1]]), moments, flux[None, None])
    assert found == pytest.approx(norms, rel=1e-9)
