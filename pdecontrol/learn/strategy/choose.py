"""Which solver for which family of systems: look at a few, race the candidates on them, choose, and say why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from time import perf_counter
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from ...arrays import Array
from ...errors import ProblemError
from ...linear.direct import sparse_factors
from ...linear.krylov import Products
from .candidates import CANDIDATES, Answer, Chain, Family, System, Traits, assemble, missing, superpose
from .ordering import greedy
from .precondition import ReferenceInverse
from .race import ENOUGH, Figure, Race

PROBES = 12  # systems that are looked at, and on which candidates are raced
SORTED = {"recycled": "recycled-sorted", "skr-unsorted": "skr"}


@dataclass(frozen=True)
class Plan:
    """How to solve a family: the candidate, the reason, and what was measured.

    Attributes
    ----------
    strategy : the name of the candidate.
    reason : a sentence.
    traits : what the probed systems have in common.
    figures : the measured candidates, the fastest first, then those not tried.
    seconds : what looking and racing took.
    """

    strategy: str
    reason: str
    traits: Traits
    figures: list[Figure] = field(default_factory=list)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Plan:
        """The plan that `to_json` gave."""
        figures = [Figure(**figure) for figure in values["figures"]]
        return cls(**{**values, "traits": Traits(**values["traits"]), "figures": figures})

    def __str__(self) -> str:
        lines = [f"strategy        {self.strategy}: {CANDIDATES[self.strategy]}", f"because         {self.reason}"]
        for figure in self.figures:
            measured = figure.note
            if figure.seconds is not None:
                measured = f"{1e3 * figure.seconds:9.2f} ms {figure.products:8.1f} products a system  {measured}"
            lines.append(f"  {figure.name:<20}{measured}")
        return "\n".join(lines)


def choose(family: Family, samples: Sequence[Any], count: int, tolerance: float = 1e-8, strategy: str = "auto") -> Plan:
    """Choose how to solve `count` systems of a family.

    Parameters
    ----------
    family : the systems.
    samples : the parameters of a few of them (12 or so), none of which need be among the `count`.
    count : how many will be solved: it limits what the choice may cost.
    tolerance : of the true relative residuals.
    strategy : "auto", or the name of a candidate.

    Raises
    ------
    ProblemError
        For an unknown candidate, and for one that cannot solve these systems.
    """
    begin = perf_counter()
    if strategy != "auto" and strategy not in CANDIDATES:
        raise ProblemError(f"unknown strategy {strategy!r}: take 'auto' or one of {', '.join(CANDIDATES)}.")
    systems = [assemble(family, sample) for sample in samples[:PROBES]]
    systems = [(matrix, b) for matrix, b in systems if np.isfinite(matrix.data).all() and np.isfinite(b).all()]
    if not systems:
        raise ProblemError(f"the systems of {type(family).__name__} have entries that are NaN or infinite.")
    traits = inspect(systems)
    if strategy != "auto":
        if obstacle := missing(CANDIDATES[strategy], traits, systems[0][0]):
            raise ProblemError(f"strategy={strategy!r} cannot be used: {obstacle}.")
        return Plan(strategy, "as asked", traits, [], perf_counter() - begin)
    if traits.constant:
        spanning = {None: "right-hand sides in blocks", 1: "one right-hand side spans all"}
        rank = spanning.get(traits.rhs_rank, f"{traits.rhs_rank} right-hand sides span all")
        return Plan("superposition", f"the matrix is the same for all samples; {rank}", traits,
                    [], perf_counter() - begin)  # fmt: skip
    race = Race(family, traits, systems, count, tolerance)
    figures = race.run()
    best = figures[0]
    if best.seconds is None:
        return Plan("lu", "no candidate solved the systems that were looked at: the most robust one", traits, figures,
                    perf_counter() - begin)  # fmt: skip
    second = next((f for f in figures[1:] if f.seconds is not None), None)
    lead = f"; next {second.name} with {1e3 * (second.seconds or 0):.2f} ms" if second else ""
    reason = f"fastest of {sum(f.seconds is not None for f in figures)} measured, {1e3 * best.seconds:.2f} ms{lead}"
    if any(figure.note == ENOUGH for figure in figures):
        reason += f"; for {count} samples no more were tried"
    name = SORTED.get(best.name, best.name)
    if name != best.name:
        reason += "; in greedy order, which costs next to nothing here and saves a few products"
    return Plan(name, reason, traits, figures, perf_counter() - begin)


def inspect(systems: Sequence[System]) -> Traits:
    """What systems have in common."""
    first = systems[0][0]
    matrices = [matrix for matrix, _ in systems]
    pattern = all(
        matrix.nnz == first.nnz and bool((matrix.indices == first.indices).all())
        and bool((matrix.indptr == first.indptr).all())
        for matrix in matrices[1:]
    )  # fmt: skip
    entries = np.stack([matrix.data for matrix in matrices], axis=1) if pattern else None
    constant = entries is not None and bool((entries == entries[:, :1]).all())
    symmetric = all(_symmetric(matrix) for matrix in (matrices[:1] if constant else matrices))
    return Traits(
        unknowns=first.shape[0],
        nonzeros=first.nnz,
        complex=any(np.iscomplexobj(matrix.data) for matrix in matrices),
        symmetric=symmetric,
        definite=symmetric and all(_dominant(matrix) for matrix in (matrices[:1] if constant else matrices)),
        pattern=pattern,
        constant=constant,
        matrix_rank=None if entries is None else _rank(entries),
        rhs_rank=_rank(np.stack([b for _, b in systems], axis=1)),
    )


def _symmetric(matrix: sp.csr_matrix) -> bool:
    difference = abs(matrix - matrix.conj().T)
    return bool(difference.max() <= 1e-14 * abs(matrix).max())


def _dominant(matrix: sp.csr_matrix) -> bool:
    diagonal = matrix.diagonal().real
    rest = np.asarray(abs(matrix).sum(axis=1)).ravel() - np.abs(matrix.diagonal())
    _, component = connected_components(matrix != 0, directed=False)
    strictly = np.bincount(component, diagonal > rest * (1 + 1e-12)) > 0  # else constants may be in the kernel
    return bool((diagonal > 0).all() and (diagonal >= rest * (1 - 1e-12)).all() and strictly.all())


def _rank(columns: Array) -> int | None:
    values = np.linalg.svd(np.linalg.qr(columns)[1], compute_uv=False)
    rank = int(np.count_nonzero(values > 1e-12 * values[0]))
    return rank if rank < columns.shape[1] else None


class Solver:
    """Solves samples of a family by the candidate of a plan; what is set up once is kept.

    Parameters
    ----------
    plan, family : how, and what.
    tolerance : of the true relative residuals.
    """

    def __init__(self, plan: Plan, family: Family, tolerance: float) -> None:
        self._plan, self._family, self._tolerance = plan, family, tolerance
        self._candidate = CANDIDATES[plan.strategy]
        self._chain = Chain(self._candidate, family, plan.traits, tolerance, lambda: self.reference)
        self._factored: tuple[sp.csr_matrix, Any] | None = None

    @cached_property
    def reference(self) -> ReferenceInverse:
        """The inverse of the mean operator."""
        return ReferenceInverse(self._family.reference(), self._family.grid)

    def solve(self, samples: Sequence[Any]) -> tuple[list[Answer], dict[str, float]]:
        """The answers in the order of the samples, and the seconds of each stage.

        What is carried from system to system begins anew. A system that the candidate cannot solve is tried by sparse
        factors; if that fails too the answer says why.
        """
        self._chain.restart()
        seconds = {"ordering": 0.0, "assembly": 0.0, "set-up": 0.0, "solve": 0.0, "certificate": 0.0}
        begin = perf_counter()
        order = np.arange(len(samples))
        if self._candidate.ordered and len(samples) > 2:
            order = greedy(self._family.features(samples))
        seconds["ordering"] = perf_counter() - begin
        answers: list[Answer | None] = [None] * len(samples)
        kept: list[System] = []
        for i in order:
            begin = perf_counter()
            matrix, b = assemble(self._family, samples[i])
            seconds["assembly"] += perf_counter() - begin
            if self._candidate.solver == "superposition":
                kept.append((matrix, b))
                continue
            answer = self._chain.solve(matrix, b)
            if answer.failure:
                answer = self._rescue(matrix, b, answer)
            for stage, spent in answer.seconds.items():
                seconds[stage] += spent
            begin = perf_counter()
            self._certify(answer, matrix, b, samples[i])
            seconds["certificate"] += perf_counter() - begin
            answers[i] = answer
        if kept:
            begin = perf_counter()
            answers = list(self._superpose(kept))
            seconds["solve"] += perf_counter() - begin
            begin = perf_counter()
            for found, (matrix, b), sample in zip(answers, kept, samples, strict=True):
                if found is not None:
                    self._certify(found, matrix, b, sample)
            seconds["certificate"] += perf_counter() - begin
        return [answer for answer in answers if answer is not None], seconds

    def _certify(self, answer: Answer, matrix: sp.csr_matrix, b: Array, sample: Any) -> None:
        """The bound eta / (|x| - eta), |x|^2 = x' A x and eta^2 = r' L^-1 r / coercivity, on the relative error.

        The rounding of r is added to it. With the least eigenvalue of L instead of L^-1 where that is good enough, as
        it is for direct solvers.
        """
        coercivity = None if answer.failure or answer.x is None else self._family.coercivity(sample)
        if coercivity is None or answer.x is None:
            return
        residual = b - matrix @ answer.x
        answer.products.residuals += 1
        square = float(np.vdot(answer.x, b - residual).real)
        if coercivity <= 0 or square < 0:
            raise ProblemError(f"the coercivity {coercivity:g} of {type(self._family).__name__} is wrong.")
        terms = matrix.nnz / len(b) + 1
        rounding = terms * np.finfo(float).eps / 2 * (abs(matrix) @ np.abs(answer.x) + np.abs(b))
        energy = square**0.5
        scale, least = coercivity**0.5, self.reference.least
        if least is not None:
            slack = float(np.linalg.norm(rounding)) / least**0.5
            answer.bound = _relative((float(np.linalg.norm(residual)) / least**0.5 + slack) / scale, energy)
        else:
            slack = self._dual_norm(rounding)
        if not answer.bound <= 1e-3 * self._tolerance:
            answer.bound = _relative((self._dual_norm(residual) + slack) / scale, energy)

    def _dual_norm(self, r: Array) -> float:
        """(r' L^-1 r)^1/2."""
        return float(np.vdot(r, self.reference.solve(r)).real) ** 0.5

    def _superpose(self, systems: list[System]) -> list[Answer]:
        """By superposition where the matrix is that of the first system, others by themselves."""
        matrix = systems[0][0]
        if self._factored is None or not _equal(self._factored[0], matrix):
            if self.reference.fast and _equal(self.reference.matrix, matrix):
                self._factored = matrix, self.reference
            else:
                self._factored = matrix, sparse_factors(matrix, self._plan.traits.definite)
        same = [i for i, (other, b) in enumerate(systems) if _equal(other, matrix) and np.isfinite(b).all()]
        found = superpose([systems[i] for i in same], self._factored[1].solve, self._tolerance)
        answers = dict(zip(same, found, strict=True))
        for i, (other, b) in enumerate(systems):
            if i not in answers:
                answers[i] = self._rescue(other, b, Answer(None, np.nan, "another matrix", Products()))
        return [answers[i] for i in range(len(systems))]

    def _rescue(self, matrix: sp.csr_matrix, b: Array, failed: Answer) -> Answer:
        traits = replace(self._plan.traits, definite=False)  # with pivots, whatever the other matrices are
        lu = Chain(CANDIDATES["lu"], self._family, traits, self._tolerance, lambda: self.reference)
        answer = lu.solve(matrix, b)
        answer.products.add(failed.products)
        for stage, spent in failed.seconds.items():
            answer.seconds[stage] = answer.seconds.get(stage, 0.0) + spent
        return answer

    def close(self) -> None:
        """Free what factors hold."""
        self._chain.close()


def _relative(eta: float, energy: float) -> float:
    if eta == 0.0:
        return 0.0
    return eta / (energy - eta) if eta < energy else np.nan


def _equal(a: sp.csr_matrix, b: sp.csr_matrix) -> bool:
    parts = ((a.data, b.data), (a.indices, b.indices), (a.indptr, b.indptr))
    return a is b or all(np.array_equal(one, other) for one, other in parts)
