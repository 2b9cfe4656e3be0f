"""Small cases of benchmarks/interfaces.py, and the scheme that it compares with."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import pdecontrol as pc
from pdecontrol import interface_reference as reference

CONTRASTS = [(1.0, 10.0), (1.0, 1e3), (1e3, 1.0), (1.0, 1e-3), (1e-3, 1.0)]


@pytest.fixture(scope="module")
def benchmark():
    folder = Path(__file__).parent.parent / "benchmarks"
    specification = importlib.util.spec_from_file_location("interfaces_benchmark", folder / "interfaces.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    sys.path.insert(0, str(folder))
    specification.loader.exec_module(module)
    yield module
    sys.path.remove(str(folder))
    del sys.modules[specification.name], sys.modules["cartesian"]


def state_error(benchmark, exact, size, sign=1.0):
    """Of the state at the exact control, with the jump of the flux times a sign."""
    problem, gamma = exact.problem, exact.problem.interface["gamma"]
    kappa, source = problem.equation.diffusion, problem.equation.source
    scheme = benchmark.Cartesian(round(2 / size), benchmark.curve_of(exact), (kappa["inside"], kappa["outside"]))
    force = exact.at(source, scheme.nodes) + exact.at(exact.control, scheme.nodes)
    load = scheme.load(
        force,
        lambda x: source["outside"](x) + exact.control["outside"](x) - source["inside"](x) - exact.control["inside"](x),
        gamma.value,
        lambda x: sign * gamma.flux(x),
        problem.boundary["boundary"].value,
    )
    y = exact.at(exact.state, scheme.nodes)
    return np.linalg.norm(scheme.solve(load) - y) / np.linalg.norm(y)


@pytest.mark.parametrize("diffusion", CONTRASTS)
def test_the_cartesian_state_is_of_second_order_with_jumps_and_contrasts(benchmark, diffusion):
    exact = reference.scaled(diffusion)
    errors = [state_error(benchmark, exact, h) for h in (0.05, 0.0125)]
    assert 1.85 < np.log2(errors[0] / errors[1]) / 2 < 2.6 and errors[1] < 3e-5


def test_a_wrong_sign_of_the_flux_is_seen_on_the_cartesian_grid(benchmark):
    assert state_error(benchmark, reference.scaled(), 0.05, sign=-1.0) > 0.05


@pytest.mark.parametrize("diffusion", CONTRASTS)
def test_the_cartesian_matrix_has_the_signs_of_an_m_matrix(benchmark, diffusion):
    scheme = benchmark.Cartesian(80, benchmark.curve_of(reference.scaled()), diffusion)
    matrix = scheme.matrix
    assert (matrix - sp.diags(matrix.diagonal())).max() < 1e-12 * matrix.max()
    assert (matrix @ np.ones(matrix.shape[0])).min() > -1e-10 * matrix.max()
    assert scheme.irregular.size > 150


def test_the_cartesian_control_is_of_second_order(benchmark):
    for exact, bound in ((reference.circle(), 6e-4), (reference.scaled((1.0, 1e-3)), 1e-5)):
        coarse, fine = (benchmark.immersed(exact, h).values for h in (0.05, 0.025))
        for name in ("u", "y*"):
            assert 1.8 < np.log2(coarse[name] / fine[name]) < 2.8
        assert fine["u"] < bound


def test_the_cartesian_star_comes_near_to_the_known_numbers(benchmark):
    coarse, fine = (benchmark.immersed(reference.star(), h).values for h in (0.05, 0.0125))
    for name, value in fine.items():
        assert abs(value) < 6e-3 and abs(coarse[name] / value) > 4


def test_tables(benchmark, monkeypatch, capsys):
    arguments = ["--size", "0.2", "0.1", "--degree", "1", "--element", "P1"]
    monkeypatch.setattr(sys, "argv", ["interfaces.py", "cartesian", *arguments, "--case", "circle", "--repeat", "1"])
    benchmark.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("circle")] == ["circle, Cartesian", "circle, fitted, degree 1"]
    assert len(lines) == 10
    monkeypatch.setattr(sys, "argv", ["interfaces.py", "time", *arguments, "--steps", "4", "8"])
    benchmark.main()
    assert sum(line.startswith("heat") for line in capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize("case", ["circle", "contrasts", "control"])
def test_fitted_elements_of_degree_1_are_of_second_order(benchmark, case):
    for name, exact in benchmark.CASES[case]("P1").items():
        coarse, fine = (benchmark.run(exact, h, "skfem", 1, 1e-8) for h in (0.1, 0.05))
        orders = {key: np.log2(coarse.values[key] / value) for key, value in fine.values.items()}
        least = 0.4 if "0.001" in name else 1.3  # small kappa are small weights: these meshes are too coarse
        assert all(least < order < 2.6 for order in orders.values()), (name, orders)
        assert fine.relative < 1e-8


@pytest.mark.parametrize("diffusion", [(1.0, 10.0), (1e3, 1.0)])
def test_isoparametric_elements_with_variational_controls_are_of_third_order(benchmark, diffusion):
    exact = reference.scaled(diffusion, "variational")
    coarse, fine = (benchmark.run(exact, h, "skfem", 2, 1e-8) for h in (0.1, 0.05))
    for name in ("u", "y"):
        assert 2.7 < np.log2(coarse.values[name] / fine.values[name]) < 3.4
    assert fine.values["u"] < 1e-4 and fine.values["y"] < 3e-6


def test_the_star_on_fitted_elements(benchmark):
    for degree, bound in ((1, 5e-3), (2, 4e-5)):
        found = benchmark.run(reference.star("variational"), 0.05, "skfem", degree, 1e-8)
        assert all(abs(value) < bound for value in found.values.values())


def test_the_error_of_a_planted_error_is_that(benchmark):
    """Adding a constant to the state adds it to the root mean square."""
    exact = reference.circle()
    problem = exact.problem
    mesh = pc.fitted_mesh(benchmark.EVERYWHERE, problem.interface, size=0.1)
    result = pc.solve(problem, mesh)
    sample = benchmark.Sample(mesh)
    assert sample.weights.sum() == pytest.approx(4, rel=1e-12)
    wrong = pc.Field(result.state.array + 1.0, result.state.space)
    root = np.sqrt(sample.square(sample.exact(exact.state)) / 4)
    assert benchmark.state_error(exact, wrong, sample) == pytest.approx(1 / root, rel=0.02)
    assert root == pytest.approx(0.17798, rel=1e-2)
