"""Equations written against the interface alone: their maps are exact to the second derivative."""

import numpy as np
import pytest
from cases import BACKENDS, CUBIC, ZERO, cube, interval, problem, square
from more_equations import Bilinear, BilinearControl, Burgers, Viscous

import pdecontrol as pc
from pdecontrol.verify import adjoint_error, hessian_rates, observed_orders, tangent_rates, taylor_rates


def burgers(control=None, boundary=None, degree=1):
    equation = Viscous(1 / 12, source=lambda x: 2 * (0.1 + x[0] ** 3))
    return pc.discretise(problem(equation, boundary, control), pc.unit_interval(30), pc.Embedded(degree))


CASES = {
    "Burgers": lambda: (burgers(), 3.0),
    "Burgers, quadratic, conditions of all kinds": lambda: (
        burgers(pc.Boundary("right"), {"left": pc.Dirichlet(1.0), "right": pc.Robin(1.0, 0.3)}, 2), 1.0),
    "bilinear control": lambda: (
        pc.discretise(problem(Bilinear(source=5.0), ZERO, pc.Distributed(element="P0")), square()), 20.0),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_first_and_second_derivatives(name):
    map, size = CASES[name]()
    u = size * np.cos(np.arange(map.control.size) / 7)
    assert not map.affine and adjoint_error(map, u) <= 1e-12
    for rates, order in ((taylor_rates, 2), (tangent_rates, 2), (hessian_rates, 3)):
        assert np.abs(rates(map, u) - order).max() <= 0.1


@pytest.mark.parametrize(
    ("name", "equation", "spoil"),
    [
        ("Burgers", Burgers, lambda f, g: (0.97 * f, g)),
        ("bilinear control", BilinearControl, lambda f, g: (f, 0.0 * g)),
        ("bilinear control", BilinearControl, lambda f, g: (0.97 * f, g)),
    ],
)
def test_wrong_second_derivatives_are_found(name, equation, spoil, monkeypatch):
    right = equation.second
    monkeypatch.setattr(equation, "second", lambda *arguments: spoil(*right(*arguments)))
    map, size = CASES[name]()
    rates = hessian_rates(map, size * np.cos(np.arange(map.control.size) / 7))
    assert np.abs(rates - 3).max() > 0.1


def test_the_state_of_burgers_is_that_of_its_equation():
    """y = sin(pi x) + x/2 solves it for the f that follows, with order 2."""

    def exact(x):
        return np.sin(np.pi * x[0]) + x[0] / 2

    def source(x):
        return np.pi**2 / 12 * np.sin(np.pi * x[0]) + exact(x) * (np.pi * np.cos(np.pi * x[0]) + 0.5)

    errors, stated = [], problem(Viscous(1 / 12, source=source), {"boundary": pc.Dirichlet(exact)})
    for n in (16, 32, 64):
        map = pc.discretise(stated, pc.unit_interval(n))
        errors.append(map.solution.norm(map.field(map.control.zeros()).array - map.solution.interpolate(exact)))
    assert np.abs(observed_orders(errors, [4, 2, 1]) - 2).max() <= 0.1 and errors[-1] <= 1e-3


# -- what engines give an equation -------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["skfem", "dolfinx"])
@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("make", [interval, square, cube])
def test_gradients_and_fluxes(make, degree, backend):
    """Of a linear state exactly; and v -> int w v + f . grad v at y is v -> int (w y + f . grad y) v at 1."""
    if backend == "dolfinx":
        pytest.importorskip("dolfinx")
    mesh = make()
    with pc.discretise(problem(pc.Elliptic(reaction=1.0), {}), mesh, BACKENDS[backend](degree)) as map:
        engine, slope = map.system.engine, np.arange(1.0, mesh.dim + 1)
        rough, one = np.cos(9 * engine.nodes).sum(axis=0), np.ones(engine.size)
        for region in (engine.cells, engine.part("lower"), engine.facets("right"), engine.facets("boundary")):
            shape = (mesh.dim, region.count, region.quadrature)
            gradients = region.gradients(slope @ engine.nodes)
            assert np.allclose(gradients, np.broadcast_to(slope[:, None, None], shape), rtol=0, atol=1e-11)
            points = region.points(np.arange(region.count))
            weight, flux = np.sin(5 * points).sum(axis=0), np.cos(points + 1)
            integrand = weight * region.values(rough) + (flux * region.gradients(rough)).sum(axis=0)
            left, right = region.functional(weight, flux) @ rough, region.functional(integrand) @ one
            assert np.abs(region.functional(np.abs(integrand)) @ one) > 0.01
            assert abs(left - right) <= 1e-12 * region.functional(np.abs(integrand)) @ np.abs(one)


def by_form(y, v, domain):
    import ufl

    return (ufl.inner(ufl.grad(y), ufl.grad(v)) + y**3 * v) * domain.dx


@pytest.mark.parametrize(
    ("backend", "equation"),
    [("skfem", pc.Elliptic()), ("dolfinx", pc.Elliptic(semilinear=CUBIC)), ("dolfinx", pc.Weak(by_form))],
    ids=["linear", "semilinear", "by a form"],
)
def test_the_shift_of_a_matrix_is_that_many_masses(backend, equation):
    if backend == "dolfinx":
        pytest.importorskip("dolfinx")
    with pc.discretise(problem(equation, {"top": pc.Robin(1.0)}, alpha=1.0), square(), backend) as map:
        y, u = np.cos(4 * map.solution.nodes).sum(axis=0), map.control.zeros()
        shifted, plain = (map.system.equation.jacobian(y, u, shift) @ y for shift in (2.5, 0.0))
        assert np.allclose(shifted - plain, 2.5 * map.solution.dual(y), rtol=0, atol=1e-12)
