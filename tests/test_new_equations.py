"""Equations written against the interface alone, terms and controls: what their maps rest on, and planted errors."""

import numpy as np
import pytest
from cases import BACKENDS, CUBIC, NONLINEAR, SQUARE, STATED, cube, interval, problem, square
from more_equations import HamiltonJacobi

import pdecontrol as pc
from pdecontrol.fem.equations.coefficient import ControlledReaction
from pdecontrol.fem.equations.nonlinear import NonlinearElliptic
from pdecontrol.fem.equations.terms import ConvectionTerm, QuasilinearTerm
from pdecontrol.verify import adjoint_error, hessian_rates, tangent_rates, taylor_rates

ROBIN = {"left": pc.Dirichlet(1.0), "top": pc.Robin(1.0, 2.0)}


@pytest.mark.parametrize("backend", ["skfem", "dolfinx"])
def test_an_equation_that_the_package_does_not_have(backend):
    if backend == "dolfinx":
        pytest.importorskip("dolfinx")
    with pc.discretise(problem(HamiltonJacobi(0.5, source=1.0), SQUARE), square(), backend) as map:
        u = 3 + 3 * np.cos(np.arange(map.control.size) / 7)
        assert not map.affine and adjoint_error(map, u) <= 1e-12
        for rates, order in ((taylor_rates, 2), (tangent_rates, 2), (hessian_rates, 3)):
            assert np.abs(rates(map, u) - order).max() <= 0.1


@pytest.mark.parametrize(
    ("name", "part", "spoil"),
    [
        ("Burgers", ConvectionTerm, lambda f: 0.97 * f),
        ("convection along a curve", ConvectionTerm, lambda f: 0.0 * f),
        ("quasilinear", QuasilinearTerm, lambda f: 0.97 * f),
        ("bilinear", ControlledReaction, lambda f: (f[0], 0.0 * f[1])),
        ("bilinear, P2, control P0", ControlledReaction, lambda f: (0.97 * f[0], f[1])),
        ("bilinear on a part, cubic", NonlinearElliptic, lambda f: (0.97 * f[0], f[1])),
    ],
)
def test_wrong_second_derivatives_are_found(name, part, spoil, monkeypatch):
    (case,), right = [case for case in NONLINEAR if case.name == name], part.second
    monkeypatch.setattr(part, "second", lambda *arguments: spoil(right(*arguments)))
    assert np.abs(hessian_rates(case.map, case.control()) - 3).max() > 0.1


@pytest.mark.parametrize("element", ["P0", "P1"])
@pytest.mark.parametrize("backend", ["skfem", "dolfinx"])
def test_a_matrix_is_called_definite_only_where_it_is(backend, element):
    """With a reaction that makes up for a negative coefficient, or a shift; the least eigenvalue tells."""
    if backend == "dolfinx":
        pytest.importorskip("dolfinx")
    known = []
    for degree in (1, 2):
        stated = problem(pc.Elliptic(1e-6, 2.0), {}, pc.Coefficient(element=element), alpha=1.0)
        with pc.discretise(stated, square(), BACKENDS[backend](degree)) as map:
            equation, one = map.system.equation, map.control.zeros() + 1.0
            y = np.zeros(map.solution.size)
            for least in (1.0, -0.1, -1.9, -4.0):
                for shift in (0.0, 30.0):
                    u = np.where(np.arange(one.size) % 2, 3.0, least)
                    matrix = equation.jacobian(y, u, shift)
                    matrix = getattr(matrix, "local", matrix).toarray()
                    assert np.abs(matrix - matrix.T).max() <= 1e-14
                    known.append(equation.definite_at(y, u, shift))
                    assert not known[-1] or np.linalg.eigvalsh(matrix)[0] > 0
    assert 4 < sum(known) < len(known) and not equation.definite_at(y, -2.1 * one)


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


@pytest.mark.parametrize("linear_solver", ["direct", "amg"])
def test_coefficients_of_equations_given_by_forms(linear_solver):
    """The state is that of the same equation as data, where the matrix is definite and where that is not known."""
    pytest.importorskip("dolfinx")
    backend, control = pc.Parallel(linear_solver=linear_solver), pc.Coefficient(on="lower", element="P0")
    stated = [problem(equation, ROBIN, control) for equation in (pc.Weak(by_form, True), pc.Elliptic(semilinear=CUBIC))]
    for least in (0.0, -0.2):
        states = []
        for posed in stated:
            with pc.discretise(posed, square(), backend) as map:
                u = least + 10 + 10 * np.cos(np.arange(map.control.size) / 7)
                states.append(map.field(u).array)
                assert adjoint_error(map, u) <= 1e-8
                assert np.abs(hessian_rates(map, u) - 3).max() <= 0.1
        assert np.abs(states[0] - states[1]).max() <= 1e-9 * np.abs(states[0]).max()


EQUATIONS = {
    "linear": pc.Elliptic(),
    "semilinear": pc.Elliptic(semilinear=CUBIC),
    "quasilinear": pc.Elliptic(STATED, convection=pc.Convection(lambda y: (y, y), lambda y: (1.0, 1.0))),
    "by a form": pc.Weak(by_form),
}


@pytest.mark.parametrize("control", [pc.Distributed(), pc.Coefficient(on="patch", element="P0")], ids=repr)
@pytest.mark.parametrize("name", EQUATIONS)
@pytest.mark.parametrize("backend", ["skfem", "dolfinx"])
def test_the_shift_of_a_matrix_is_that_many_masses(backend, name, control):
    if backend == "dolfinx":
        pytest.importorskip("dolfinx")
    elif name == "by a form":
        pytest.skip("forms need the distributed engine")
    stated = problem(EQUATIONS[name], {"top": pc.Robin(1.0)}, control, alpha=1.0)
    with pc.discretise(stated, square(), backend) as map:
        y, u = np.cos(4 * map.solution.nodes).sum(axis=0), map.control.zeros() + 1.0
        shifted, plain = (map.system.equation.jacobian(y, u, shift) @ y for shift in (2.5, 0.0))
        assert np.allclose(shifted - plain, 2.5 * map.solution.dual(y), rtol=0, atol=1e-12)
