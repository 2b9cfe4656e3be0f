"""Surrogates in the service of exact answers: screening, corrections, and bad surrogates that cost little."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import pdecontrol as pc
from pdecontrol.certificate import certify_by_gap
from pdecontrol.counter import Counter
from pdecontrol.errors import ProblemError
from pdecontrol.learn.surrogates import CoarseMesh, ReducedBasis, SineGalerkin, Surrogate, SurrogateState, VCycle
from pdecontrol.maps import Adjoint, Linearisation, SolutionMap
from pdecontrol.terms import bind

N, MODES = 16, 12
ALPHAS = (1e-2, 1e-3, 1e-4, 1e-5)


class Changed(SolutionMap):
    """(1 + e E) S with |E| = 1 on the first sines, and what is planted: NaN, another adjoint, an exception."""

    affine = True

    def __init__(self, map, size, seed=0, fault=""):
        self.map, self.fault, self.solves = pc.discretise(map.system.problem, map.system.engine.mesh), fault, Counter()
        self.control, self.observation = map.control, map.observation
        x, y = map.observation.factors[0].points
        waves = np.arange(1, MODES + 1)
        sines = np.stack([np.sin(np.pi * i * x) * np.sin(np.pi * j * y) for i in waves for j in waves], axis=1)
        self.sines = sines / np.sqrt([map.observation.inner(s, s) for s in sines.T])
        change = np.random.default_rng(seed).standard_normal((MODES**2, MODES**2))
        self.change = size * change / np.linalg.norm(change, 2)
        self.fingerprint = f"changed by {size} {seed} {fault}"

    def at(self, u, start=None, accuracy=None):
        if self.fault == "exception":
            raise RuntimeError("no network there")
        if self.fault == "a mistake":
            raise IndexError("list index out of range")
        return ChangedAt(self, u)


class ChangedAt(Linearisation):
    def __init__(self, map, u):
        self.map, self.at = map, map.map.at(u)

    def forward(self, y):
        if self.map.fault == "zero":
            return 0 * y
        map = self.map
        return y + map.sines @ (map.change @ (map.sines.T @ map.observation.dual(y)))

    @property
    def value(self):
        with self.map.solves.solving("state"):
            return self.forward(self.at.value) * (np.nan if self.map.fault == "nan" else 1.0)

    def tangent(self, h):
        with self.map.solves.solving("tangent"):
            return self.forward(self.at.tangent(h))

    def solve_adjoint(self, w, start=None):
        map = self.map
        with map.solves.solving("adjoint"):
            sign = -1.0 if map.fault == "transpose" else 1.0
            w = w + map.sines @ (map.change.T @ (map.sines.T @ map.observation.dual(w)))
            return Adjoint((0.0 if map.fault == "zero" else sign) * self.at.adjoint(w), np.inf)


@cache
def posed(alpha, seed=0):
    """A problem of a family, its map and its optimum."""
    draw = np.random.default_rng(seed)
    amplitudes, waves, phases = draw.uniform(-1, 1, 4), draw.integers(1, 4, (2, 4)), draw.uniform(-1, 1, 4)

    def target(x):
        parts = zip(amplitudes, *waves, phases, strict=True)
        return 0.1 * sum(a * np.sin(np.pi * i * x[0]) * np.sin(np.pi * j * x[1] + c) for a, i, j, c in parts)

    problem = replace(
        pc.reference.box(alpha).problem,
        tracking=pc.Tracking(target),
        terms=[pc.Tikhonov(alpha), pc.Box(-30, 30)],
    )
    map = pc.discretise(problem, pc.unit_square(N))
    return problem, map, pc.minimise(problem, map, tol=1e-8, progress=False)


def error(result, map, true):
    """Of the control, relative to the optimum, with the certified 1e-8 of that."""
    norm = map.control.norm
    return norm(result.control.array - true.control.array) / norm(true.control.array)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_screening_takes_three_exact_solves_at_most_and_its_bound_holds(alpha):
    for seed in range(5):
        problem, map, true = posed(alpha, seed)
        surrogate = Changed(map, 0.01, seed)
        before, result = map.solves.total, pc.screen(problem, surrogate, map, 1e-3)
        assert map.solves.total - before == result.solves["total"] <= (3 if alpha == 1e-2 else 2)
        assert result.solves["applications"] > 0
        assert error(result, map, true) * true.certificate.norm <= result.certificate.bound * (1 + 1e-6)
        assert result.success == result.certificate.meets(1e-3)
        assert np.array_equal(result.state.array, map.at(result.control.array).state)


def test_screening_by_the_dual_vector_of_the_surrogate_where_errors_are_amplified():
    """||S||^2/alpha = 260: F'(S(u~)) would give a bound of about nine times the error, and the own one half of that."""
    gains = []
    for seed in range(3):
        problem, map, true = posed(1e-5, seed)
        result = pc.screen(problem, Changed(map, 0.01, seed), map, 1e-3)
        assert error(result, map, true) * true.certificate.norm <= result.certificate.bound * (1 + 1e-6)
        u = result.control.array
        at, objective = map.at(u), bind(problem, map)
        p = objective.state.gradient(at.value)
        plain = certify_by_gap(objective, map, at, u, p, at.solve_adjoint(p)).certificate
        gains.append(plain.bound / result.certificate.bound)
    assert np.median(gains) > 1.5


def test_a_bad_surrogate_passes_no_screening():
    problem, map, _ = posed(1e-4)
    for surrogate in (Changed(map, 1.0), Changed(map, 0.0, fault="zero"), Changed(map, 0.0, fault="transpose")):
        result = pc.screen(problem, surrogate, map, 1e-2)
        assert result.status is pc.Status.SOLVES and result.certificate.relative > 1e-2


@pytest.mark.parametrize("alpha", [1e-2, 1e-3])
def test_a_surrogate_that_errs_by_one_per_cent_gives_a_certified_thousandth_for_four_exact_solves(alpha):
    spent = []
    for seed in range(20):
        problem, map, true = posed(alpha, seed)
        result = pc.certified(problem, Changed(map, 0.01, seed), map, 1e-3, progress=False)
        assert result.status is pc.Status.CERTIFIED and error(result, map, true) <= 1e-3
        spent.append(result.solves["total"])
    assert np.quantile(spent, 0.95) <= 4


FAULTS = {
    "20 per cent": (0.2, ""), "50 per cent": (0.5, ""), "100 per cent": (1.0, ""), "zero": (0.0, "zero"),
    "NaN": (0.0, "nan"), "an exception": (0.0, "exception"), "a mistake": (0.0, "a mistake"),
    "the adjoint of another sign": (0.0, "transpose"),
}  # fmt: skip


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("fault", FAULTS)
def test_bad_surrogates_end_at_the_true_optimum_and_cost_little(fault, alpha):
    size, planted = FAULTS[fault]
    problem, map, true = posed(alpha)
    cold = pc.minimise(problem, map, progress=False).solves["total"]
    result = pc.certified(problem, Changed(map, size, 1, planted), map, 1e-6, progress=False)
    assert result.status is pc.Status.CERTIFIED and error(result, map, true) <= 1.1e-6
    assert result.solves["total"] <= 1.25 * cold + 10


def other_coefficient(map):
    problem = map.system.problem
    return pc.discretise(replace(problem, equation=replace(problem.equation, diffusion=1.03)), map.system.engine.mesh)


def snapshots(map):
    x, y = map.control.points
    return [map.at(np.cos(i * x) * y**j).state for i in range(8) for j in range(8)]


MAKE = {
    "sines": lambda map, coarse: SineGalerkin(map, 8),
    "coarse mesh": lambda map, coarse: CoarseMesh(coarse, map),
    "V-cycle": lambda map, coarse: VCycle(map),
    "another coefficient": lambda map, coarse: Surrogate(other_coefficient(map), map),
    "reduced basis": lambda map, coarse: ReducedBasis(map, snapshots(map)),
}  # fmt: skip


@pytest.mark.parametrize("name", MAKE)
def test_classical_surrogates_save_half_of_the_solves(name):
    problem, map, true = posed(1e-4)
    surrogate = MAKE[name](map, pc.discretise(problem, pc.unit_square(8)))
    own = pc.minimise(problem, surrogate, progress=False)
    assert own.status is pc.Status.CONVERGED and own.certificate.bound is None and own.certificate.gap is None
    assert "not exact" in str(own.certificate) and error(own, map, true) < 0.5
    cold = pc.minimise(problem, map, progress=False).solves["total"]
    result = pc.certified(problem, surrogate, map, 1e-6, progress=False)
    assert result.success and result.solves["total"] <= 0.5 * cold and "by the surrogate" in result.method


def test_an_exact_adjoint_with_the_state_of_a_surrogate_is_no_exact_map():
    problem, map, _ = posed(1e-3)
    mixed = SurrogateState(SineGalerkin(map, 8), map)
    assert pc.minimise(problem, mixed, progress=False).certificate.bound is None
    with pytest.raises(ProblemError, match="is not exact"):
        pc.certify(problem, 0.0, mixed)
    with pytest.raises(ProblemError, match="certifies nothing"):
        pc.certified(problem, map, mixed)
    with pytest.raises(ProblemError, match="screening takes an exact affine map"):
        pc.screen(problem, map, mixed)


@pytest.mark.parametrize("alpha", [1e-2, 1e-3, 1e-4, 1e-5, 1e-6])
def test_sines_save_half_of_the_solves_of_the_box_constrained_problem_for_every_weight(alpha):
    """For the smallest weight the residual grows in some steps, which must not be the end of the surrogate."""
    problem = pc.reference.box(alpha).problem
    map = pc.discretise(problem, pc.unit_square(64))
    cold = pc.minimise(problem, map, progress=False)
    result = pc.certified(problem, SineGalerkin(map, 8), map, 1e-6, progress=False)
    assert result.success and result.solves["total"] <= 0.5 * cold.solves["total"]
    assert error(result, map, cold) <= 2.1e-6


@pytest.mark.parametrize("steps", [1, 3, 7])
@pytest.mark.parametrize("size", [0.05, 1.0])
def test_a_run_with_a_surrogate_goes_on_from_its_checkpoint_as_if_there_had_been_no_stop(tmp_path, size, steps):
    problem, map, _ = posed(1e-5)
    surrogate = Changed(map, size)
    whole = pc.certified(problem, surrogate, map, 1e-8, progress=False)
    path = tmp_path / "run.npz"
    pc.certified(problem, surrogate, map, 1e-8, progress=False, checkpoint=path, max_iterations=steps)
    rest = pc.certified(problem, surrogate, map, 1e-8, progress=False, checkpoint=path, restart=True)
    assert np.array_equal(rest.history["iteration"], whole.history["iteration"])
    assert error(rest, map, whole) < 1e-8
    with pytest.raises(pc.PdecontrolError):
        pc.certified(problem, Changed(map, size, 5), map, 1e-8, progress=False, checkpoint=path, restart=True)


@cache
def cubic(c, alpha, n=16):
    """-Laplace y + c y^3 = u with its map and its optimum."""
    term = pc.Semilinear(lambda y: y**3, lambda y: 3 * y**2, c)
    problem = replace(
        pc.reference.stadler(alpha).problem,
        equation=pc.Elliptic(semilinear=term),
        terms=[pc.Tikhonov(alpha), pc.Box(-30, 30)],
    )
    map = pc.discretise(problem, pc.unit_square(n))
    return problem, map, pc.minimise(problem, map, tol=1e-7, progress=False)


@pytest.mark.parametrize("c", [10.0, 1000.0])
@pytest.mark.parametrize("alpha", [1e-3, 1e-4, 1e-5])
def test_a_coarse_nonlinear_map_saves_solves_of_nonlinear_problems(c, alpha):
    problem, map, true = cubic(c, alpha)
    cold = pc.minimise(problem, map, progress=False).solves["total"]
    coarse = CoarseMesh(cubic(c, alpha, 8)[1], map)
    result = pc.certified(problem, coarse, map, 1e-6, progress=False)
    assert result.status is pc.Status.CERTIFIED and error(result, map, true) <= 1.1e-6
    assert result.solves["total"] < 0.85 * cold and result.solves["applications"] > 0


class Linear(Changed):
    """A surrogate of a nonlinear map by one that is linear."""

    def __init__(self, map, size, seed=0, fault=""):
        problem = replace(map.system.problem, equation=pc.Elliptic())
        super().__init__(pc.discretise(problem, map.system.engine.mesh), size, seed, fault)


@pytest.mark.parametrize("alpha", [1e-3, 1e-4])
@pytest.mark.parametrize("fault", FAULTS)
def test_bad_surrogates_of_nonlinear_maps_end_at_the_true_optimum_too(fault, alpha):
    size, planted = FAULTS[fault]
    problem, map, true = cubic(1000.0, alpha)
    cold = pc.minimise(problem, map, progress=False).solves["total"]
    result = pc.certified(problem, Linear(map, size, 1, planted), map, 1e-6, progress=False)
    assert result.status is pc.Status.CERTIFIED and error(result, map, true) <= 1.1e-6
    assert result.solves["total"] <= 1.25 * cold + 10


def test_a_nonlinear_run_with_a_surrogate_goes_on_from_its_checkpoint(tmp_path):
    problem, map, _ = cubic(10.0, 1e-5)
    surrogate = CoarseMesh(cubic(10.0, 1e-5, 8)[1], map)
    whole = pc.certified(problem, surrogate, map, 1e-7, progress=False)
    pc.certified(problem, surrogate, map, 1e-7, progress=False, checkpoint=tmp_path / "run", max_iterations=3)
    rest = pc.certified(problem, surrogate, map, 1e-7, progress=False, checkpoint=tmp_path / "run", restart=True)
    assert len(rest.history) == len(whole.history) and error(rest, map, whole) < 1e-9


@pytest.mark.parametrize("fault", ["nan", "exception", "a mistake"])
def test_screening_says_that_a_surrogate_fails(fault):
    problem, map, _ = posed(1e-2)
    with pytest.raises(ProblemError, match=r"the surrogate fails .*certified goes on without it"):
        pc.screen(problem, Changed(map, 0.0, fault=fault), map)


def test_screening_compares_spaces_before_anything_is_solved():
    problem, map, _ = posed(1e-2)
    other = pc.discretise(problem, pc.unit_square(N // 2))
    with pytest.raises(ProblemError, match="make it for the spaces of this map"):
        pc.screen(problem, other, map)
    assert other.solves.total == 0
