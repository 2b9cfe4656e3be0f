"""The choice among solvers, and solving whole families by each of them."""

import json

import numpy as np
import pytest
import scipy.sparse as sp
from published import PublishedDarcy
from scipy.sparse.linalg import spsolve

from pdecontrol.errors import ProblemError
from pdecontrol.learn.families import ConvectionDiffusion, Darcy, Helmholtz, Poisson, Thermal
from pdecontrol.learn.strategy import precondition, race
from pdecontrol.learn.strategy.candidates import CANDIDATES, Candidate, missing
from pdecontrol.learn.strategy.choose import Plan, choose
from pdecontrol.learn.strategy.race import Measurement
from pdecontrol.learn.strategy.sequence import interpolation, superpose
from pdecontrol.learn.strategy.solve import FamilySolver
from pdecontrol.learn.strategy.systems import inspect

FAMILIES = [
    Darcy(20), Darcy(7, 3), Darcy(20, field="threshold"), Poisson(20), Helmholtz(20), Thermal(20), Thermal(20, 2),
    ConvectionDiffusion(20), PublishedDarcy(16),
]  # fmt: skip


def samples(family, count, seed=5):
    return [family.draw(np.random.default_rng((seed, i))) for i in range(count)]


def forced(family, name, count=6, tolerance=1e-8):
    plan = choose(family, samples(family, count), count, tolerance, name)
    return FamilySolver(plan, family, tolerance)


@pytest.mark.parametrize("name", CANDIDATES)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_candidate_solves_every_family(family, name):
    drawn = samples(family, 6)
    obstacle = missing(CANDIDATES[name], inspect([family.system(s) for s in drawn]), family.system(drawn[0])[0])
    if obstacle:
        with pytest.raises(ProblemError, match=f"strategy='{name}' cannot be used: {obstacle[:20]}"):
            choose(family, drawn, 6, 1e-8, name)
        return
    answers, seconds = forced(family, name).solve(drawn)
    assert set(seconds) == {"ordering", "assembly", "set-up", "solve", "certificate"}
    for sample, answer in zip(drawn, answers, strict=True):
        matrix, b = family.system(sample)
        assert not answer.failure
        true = np.linalg.norm(b - matrix @ answer.x) / np.linalg.norm(b)
        assert true <= 1e-8 and abs(true - answer.residual) <= 1e-14
        exact = spsolve(matrix.tocsc(), b)
        assert np.linalg.norm(answer.x - exact) <= 1e-5 * np.linalg.norm(exact)


def test_the_cases_above_are_many():
    assert len(CANDIDATES) * len(FAMILIES) == 144


@pytest.mark.parametrize("tolerance", [1e-2, 1e-5])
@pytest.mark.parametrize(
    "family", [Darcy(20), Darcy(20, deviation=1.5), Thermal(20, 2), ConvectionDiffusion(20)], ids=repr
)
def test_bounds_hold(family, tolerance):
    """For loose solves the bound is above the error in the energy norm, and within a factor of it."""
    drawn = samples(family, 8)
    answers, _ = forced(family, "jacobi", tolerance=tolerance).solve(drawn)
    for sample, answer in zip(drawn, answers, strict=True):
        matrix, b = family.system(sample)
        exact = spsolve(matrix.tocsc(), b)
        error = exact - answer.x
        relative = np.sqrt(error @ (matrix @ error) / (exact @ (matrix @ exact)))
        assert relative <= answer.bound <= 30 * relative


@pytest.mark.parametrize(("name", "tolerance"), [("lu", 1e-8), ("mean", 1e-13)])
@pytest.mark.parametrize("family", [Darcy(20, deviation=1.5), Poisson(20), ConvectionDiffusion(20)], ids=repr)
def test_bounds_hold_at_the_rounding(family, name, tolerance):
    """Against solutions refined in extended precision."""
    drawn = samples(family, 4)
    for sample, answer in zip(drawn, forced(family, name, tolerance=tolerance).solve(drawn)[0], strict=True):
        matrix, b = family.system(sample)
        entries, x = matrix.tocoo(), answer.x.astype(np.longdouble)

        def product(v, entries=entries):
            result = np.zeros(v.size, np.longdouble)
            np.add.at(result, entries.row, entries.data.astype(np.longdouble) * v[entries.col])
            return result

        for _ in range(5):
            x = x + spsolve(matrix.tocsc(), (b - product(x)).astype(float))
        error = x - answer.x
        relative = np.sqrt(error @ product(error) / (x @ product(x)))
        assert relative <= answer.bound <= 1e-10


def test_a_bound_by_a_wrong_reference_is_caught():
    """Planted: a coercivity that is far too large gives bounds below the error."""

    class Wrong(Darcy):
        def coercivity(self, sample):
            return 100 * super().coercivity(sample)

    family = Wrong(20)
    with pytest.raises(AssertionError):
        test_bounds_hold(family, 1e-2)


def traits(family):
    return inspect([family.system(sample) for sample in samples(family, 12)])


def test_traits():
    darcy, poisson, thermal, blocks = map(traits, (Darcy(20), Poisson(20), Thermal(20), Thermal(20, 2)))
    assert darcy.definite and not darcy.constant and darcy.matrix_rank is None and darcy.rhs_rank == 1
    assert poisson.constant and poisson.rhs_rank is None and thermal.constant and thermal.rhs_rank == 2
    assert not blocks.constant and blocks.matrix_rank == 4 and blocks.definite
    helmholtz, convection = traits(Helmholtz(20)), traits(ConvectionDiffusion(20))
    assert helmholtz.symmetric and not helmholtz.definite
    assert not convection.symmetric and not convection.definite and convection.pattern
    assert traits(Thermal(20)).unknowns == 420


def test_singular_matrices_are_not_definite():
    """Rows that sum to zero are dominant too: constants are in the kernel, of one connected part or of all."""
    neumann = sp.diags([[-1.0] * 9, [1.0, *[2.0] * 8, 1.0], [-1.0] * 9], [-1, 0, 1], format="csr")
    dirichlet = neumann + sp.csr_matrix(([1.0], ([0], [0])), (10, 10))
    one_singular = sp.block_diag([dirichlet, neumann], format="csr")
    for matrix, definite in ((neumann, False), (dirichlet, True), (one_singular, False)):
        assert inspect([(matrix, np.ones(matrix.shape[0]))]).definite is definite


def test_matrices_of_different_sparsity():
    matrices = [sp.identity(4, format="csr"), sp.csr_matrix(np.eye(4) + np.diag([1.0], 3))]
    found = inspect([(matrix, np.ones(4)) for matrix in matrices])
    assert not found.pattern and not found.constant and found.matrix_rank is None


def test_a_constant_matrix_needs_no_race():
    plan = choose(Thermal(20), samples(Thermal(20), 12), 500)
    assert plan.strategy == "superposition" and not plan.figures
    assert plan.reason == "the matrix is the same for all samples; 2 right-hand sides span all"
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize("family", [Darcy(20), Helmholtz(20), ConvectionDiffusion(20), Thermal(20, 2)], ids=repr)
def test_the_race_takes_the_fastest_and_accounts_for_all(family):
    plan = choose(family, samples(family, 12), 10_000)
    assert sorted(figure.name for figure in plan.figures) == sorted(CANDIDATES)
    measured = [figure for figure in plan.figures if figure.seconds is not None]
    assert measured and plan.strategy == measured[0].name
    assert [figure.seconds for figure in measured] == sorted(figure.seconds for figure in measured)
    assert all(figure.note for figure in plan.figures if figure.seconds is None)
    assert f"fastest of {len(measured)} measured" in plan.reason
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert plan.strategy in str(plan) and "ms" in str(plan)


def test_a_strong_preconditioner_switches_recycling_off():
    family = Helmholtz(32)
    plan = choose(family, samples(family, 12), 10**9, 1e-7)
    notes = {figure.name: figure.note for figure in plan.figures}
    assert not CANDIDATES[plan.strategy].recycled
    assert notes["recycled-mean"].startswith("recycling off: ")


def test_recycling_wins_without_a_preconditioner_and_is_sorted(monkeypatch):
    """With the strong candidates gone and the times replaced by products, on the operator where carrying pays."""
    family = Helmholtz(32)
    weak = {name: CANDIDATES[name] for name in ("gmres", "skr-unsorted", "skr")}
    monkeypatch.setattr(race, "CANDIDATES", weak)
    monkeypatch.setattr(race, "SLOWER", 1e6)
    monkeypatch.setattr(race.Race, "_measurement", lambda run, name: (
        Measurement(name, np.mean(run._products[name]), 0.0, 1) if name in run._products
        else Measurement(name, note="-")))  # fmt: skip
    plan = choose(family, samples(family, 12), 10**9, 1e-5)
    assert plan.strategy == "skr" and "in greedy order" in plan.reason


def test_small_counts_make_short_races():
    family = Darcy(40)
    figures = choose(family, samples(family, 12), 1).figures
    assert sum(figure.note == "the race has taken its share of the time" for figure in figures) >= 3


def test_a_race_that_nothing_finishes_ends_with_factors():
    class Singular(Darcy):
        def system(self, sample):
            matrix, b = super().system(sample)
            return sp.csr_matrix(sp.diags((np.arange(len(b)) > 0).astype(float)) @ matrix), b

    plan = choose(Singular(8), samples(Singular(8), 12), 500)
    assert plan.strategy == "lu" and plan.reason.startswith("no candidate solved the systems")
    answers, _ = FamilySolver(plan, Singular(8), 1e-8).solve(samples(Singular(8), 2))
    assert all("singular" in answer.failure for answer in answers)


def test_probes_that_are_not_finite_are_left_out():
    class Holes(Darcy):
        def system(self, sample):
            matrix, b = super().system(sample)
            return (matrix * np.nan if sample["coefficient"][0, 0] > 1 else matrix), b

    assert choose(Holes(8), samples(Holes(8), 12), 500).figures
    sample = {"coefficient": np.full((10, 10), 2.0)}
    with pytest.raises(ProblemError, match="the systems of Holes have entries that are NaN"):
        choose(Holes(8), [sample], 500)


def test_a_wrong_coercivity_is_named():
    class Wrong(Darcy):
        def coercivity(self, sample):
            return -1.0

    with pytest.raises(ProblemError, match="the coercivity -1 of Wrong is wrong"):
        forced(Wrong(8), "lu").solve(samples(Wrong(8), 2))


def test_matrices_of_other_formats_and_zero_right_hand_sides():
    class Columns(Darcy):
        def system(self, sample):
            matrix, b = super().system(sample)
            return matrix.tocsc(), 0 * b

    for name in ("lu", "mean", "jacobi"):
        answers, _ = forced(Columns(8), name).solve(samples(Columns(8), 2))
        assert all(not answer.failure and not answer.x.any() and answer.bound == 0.0 for answer in answers)
    Dense = type("Dense", (Darcy,), {"system": lambda family, sample: (np.eye(64), np.ones(64))})
    with pytest.raises(ProblemError, match="must be a sparse one of scipy"):
        choose(Dense(8), samples(Dense(8), 2), 2)


def test_unknown_and_impossible_strategies():
    drawn = samples(Darcy(8), 3)
    with pytest.raises(ProblemError, match="unknown strategy 'fastest': take 'auto' or one of superposition, mean"):
        choose(Darcy(8), drawn, 3, strategy="fastest")
    with pytest.raises(ProblemError, match="'superposition' cannot be used: the matrix changes from sample to sample"):
        choose(Darcy(8), drawn, 3, strategy="superposition")


def test_what_is_not_installed_is_not_raced(monkeypatch):
    monkeypatch.setattr(precondition, "find_spec", lambda name: None)
    plan = choose(Darcy(20), samples(Darcy(20), 12), 10**6)
    notes = {figure.name: figure.note for figure in plan.figures}
    assert notes["incomplete"] == notes["hypre"] == notes["refactor"] == "petsc4py is not installed"
    assert notes["multigrid"].startswith("pyamg is not installed")
    with pytest.raises(ProblemError, match="petsc4py is not installed"):
        choose(Darcy(20), samples(Darcy(20), 3), 3, strategy="incomplete")


@pytest.mark.parametrize("name", ["mean", "lu", "skr", "superposition"])
def test_a_bad_system_in_the_middle_is_named_and_the_others_are_solved(name):
    class Bad(Poisson):
        def system(self, sample):
            matrix, b = super().system(sample)
            if sample["sides"][0] == 2.0:
                return sp.csr_matrix(matrix * np.nan), b
            if sample["sides"][0] == 3.0:
                return sp.csr_matrix(matrix * 0.0), b
            return matrix, b

    family = Bad(12)
    drawn = samples(family, 7)
    solver = FamilySolver(choose(family, drawn[:3], 7, strategy=name), family, 1e-8)
    drawn[3]["sides"][0], drawn[5]["sides"][0] = 2.0, 3.0
    answers, _ = solver.solve(drawn)
    assert [bool(answer.failure) for answer in answers] == [False, False, False, True, False, True, False]
    assert "NaN" in answers[3].failure and "singular" in answers[5].failure
    for i in (0, 1, 2, 4, 6):
        matrix, b = family.system(drawn[i])
        assert np.linalg.norm(matrix @ answers[i].x - b) <= 1e-8 * np.linalg.norm(b)


def test_what_the_candidate_cannot_solve_is_solved_by_factors():
    family = PublishedDarcy(12)
    solver = FamilySolver(choose(family, samples(family, 3), 3, strategy="jacobi"), family, 1e-8)
    drawn = samples(family, 3)
    drawn[1]["coefficient"] = drawn[1]["coefficient"].copy()
    drawn[1]["coefficient"][1:-1, 1:-1] *= np.random.default_rng(1).uniform(1e-7, 1e7, (12, 12))
    answers, _ = solver.solve(drawn)
    assert [answer.failure for answer in answers] == [""] * 3 or "rounding" in answers[1].failure


@pytest.mark.parametrize("name", ["skr", "recycled-sorted", "projected", "refactor"])
def test_nothing_is_carried_from_batch_to_batch(name):
    family = Thermal(20, 2)
    if missing(CANDIDATES[name], traits(family), family.reference()):
        pytest.skip("PETSc is not installed")
    drawn = samples(family, 6)
    solver = forced(family, name)
    first, _ = solver.solve(drawn)
    solver.solve(samples(family, 4, seed=6))
    again, _ = solver.solve(drawn)
    fresh, _ = forced(family, name).solve(drawn)
    for a, b, c in zip(first, again, fresh, strict=True):
        np.testing.assert_array_equal(a.x, b.x)
        np.testing.assert_array_equal(a.x, c.x)


def test_answers_keep_the_order_of_the_samples_when_systems_are_sorted():
    family = Darcy(16)
    drawn = samples(family, 8)
    by_order, _ = forced(family, "skr", tolerance=1e-12).solve(drawn)
    plain, _ = forced(family, "lu", tolerance=1e-12).solve(drawn)
    for a, b in zip(by_order, plain, strict=True):
        np.testing.assert_allclose(a.x, b.x, rtol=1e-8)


def test_interpolation_finds_the_rank_and_the_columns():
    generator = np.random.default_rng(3)
    B = generator.standard_normal((500, 7)) @ generator.standard_normal((7, 40))
    columns, coefficients = interpolation(B)
    assert len(columns) == 7
    np.testing.assert_allclose(B[:, columns] @ coefficients, B, atol=1e-10)
    assert interpolation(np.zeros((5, 3)))[0].size == 0


def test_superposition_solves_what_it_missed():
    """Right-hand sides that a sketch cannot tell apart are solved by themselves."""
    family = Poisson(12)
    systems = [family.system(sample) for sample in samples(family, 30)]
    calls = []

    def factors(B):
        calls.append(B.shape[1])
        return np.linalg.solve(family.reference().toarray(), B)

    assert all(not answer.failure for answer in superpose(systems, factors, 1e-8))
    assert calls == [20, 20]  # a basis, and its refinement
    zero = [(systems[0][0], np.zeros_like(systems[0][1]))]
    assert not superpose([*systems, *zero], factors, 1e-8)[-1].x.any()


def test_guesses_from_earlier_solutions_pay_where_the_parameters_are_few():
    family = Thermal(20, 2)
    drawn = samples(family, 20)
    plain, _ = forced(family, "mean").solve(drawn)
    guessed, _ = forced(family, "projected").solve(drawn)
    assert sum(a.products.steps for a in guessed[15:]) <= 0.5 * sum(a.products.steps for a in plain[15:])


def test_the_mean_operator_needs_as_many_iterations_on_every_grid():
    counts = []
    for n in (50, 98, 127, 198):
        answers, _ = forced(Darcy(n), "mean", 3).solve(samples(Darcy(n), 3))
        counts.append(np.mean([answer.products.steps for answer in answers]))
    assert max(counts) <= 12 and max(counts) - min(counts) <= 2


def test_chunks_cost_few_iterations():
    """Two chains of half the length, as of two processes, against one."""
    family = PublishedDarcy(24)
    drawn = samples(family, 40)
    solver = forced(family, "skr")
    whole, _ = solver.solve(drawn)
    halves = solver.solve(drawn[:20])[0] + solver.solve(drawn[20:])[0]
    counts = [np.mean([answer.products.steps for answer in answers]) for answers in (whole, halves)]
    assert abs(counts[1] - counts[0]) <= 0.03 * counts[0]


def test_descriptions():
    assert str(CANDIDATES["skr"]) == "GCRO-DR(40), 20 vectors carried, Jacobi, sorted"
    assert str(Candidate("x", "lu")) == "sparse factors (SuperLU)"
