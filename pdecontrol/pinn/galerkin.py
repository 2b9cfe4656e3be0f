"""Galerkin's method in the span of random features: a small dense solution map, whose flux condition is natural."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..arrays import Array
from ..errors import ConvergenceError, ProblemError
from ..maps import Adjoint, Linearisation, SolutionMap
from ..mesh.mesh import Mesh
from ..problem import ControlProblem, Elliptic, Linear, Tracking
from ..space import Space, product
from .functions.ansatz import Ansatz
from .functions.domain import Places
from .functions.quadrature import Rule, cell_rule, curve_rule
from .networks.layer import Layer

AGREEMENT, TOGETHER = 1e-3, 0.1  # of the energies by two rules, of each function and of all combinations
CHUNK = 2_000  # points at a time
CUT = 1e-14  # of the largest eigenvalue: what is smaller is lost to rounding
FINER, MOST = 4, 28  # more Gauss points of the rule that verifies, and all of them at most
SPARED, MOST_SPARED = 0.05, 0.3  # of the functions, which may be given up where two rules do not agree, the more where
LESS = 0.8  # finer rules bring no less than that share of those that are given up: what is left is rounding


class Sampled(NamedTuple):
    """A basis at the points of a rule: its values (n, m), and those of the lifting (n,)."""

    rule: Rule
    values: Array
    lifting: Array


class GalerkinMap(SolutionMap):
    """S(u) = O y with a(y, v) = int (f + u) v - int_Gamma (g1 + u) v for all v in the span, y - g in the span.

    The control is variational, values at quadrature points. The basis is orthonormal in the energy a, so that solving
    is two products with matrices.

    Parameters
    ----------
    problem : elliptic, with y given on the whole boundary of a rectangle.
    ansatz, layer : the trial functions g + h sum_j c_j tanh(w_j . (x, phi) + b_j).
    mesh : fitted to the interfaces, for the quadrature.
    count : Gauss points in each direction of its cells.
    report : told of each rule that is tried.

    Raises
    ------
    ConvergenceError
        If a finer rule gives other energies: the features are too steep for this one.
    """

    affine = twice = True

    def __init__(
        self, problem: ControlProblem, ansatz: Ansatz, layer: Layer, mesh: Mesh, count: int,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        assert isinstance(problem.equation, Elliptic)
        self.problem, self.ansatz, self.layer, self.domain = problem, ansatz, layer, ansatz.domain
        self._equation, self._interface = problem.equation, problem.interface
        self._cells, self.energy, self.basis, self.count = self._orthonormal(mesh, count, report)
        self.points = self._cells.weights.size
        self._curves = {tag: curve_rule(mesh, tag, item, 2 * self.count) for tag, item in self._interface.items()}
        self._sampled: dict[str | None, Sampled] = {}
        self.sign = -1.0 if problem.control.on in self._interface else 1.0
        self._controlled = self._at(problem.control.on)
        rule = self._controlled.rule
        self.control = Space(rule.weights, points=rule.points, diameter=self.domain.diameter, members=dict(rule.parts))
        self._observe()
        self.solution = Space(np.ones(self.basis.shape[1]))
        self._load = self._loaded()

    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        arrays = (self._load, self._controlled.values, *(matrix for matrix, _ in self._parts))
        return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()

    def at(self, u: Array, start: Array | None = None, accuracy: float | None = None) -> GalerkinLinearisation:
        return GalerkinLinearisation(self, self.control.checked(u, "the control"))

    def change(self, count: int, state: Array, adjoint: Array) -> float:
        """How much of y or p, given by coefficients (m,), goes in projections on the span of the first features.

        In the L2 norm, relative to them.
        """
        left, sizes, _ = np.linalg.svd(self.basis.T @ self.energy[:, :count], full_matrices=False)
        span, shares = left[:, sizes > 1e-7 * sizes[0]], []
        rule, values, lifting = self._at(None)
        for c, lifted in ((state, 1.0), (adjoint, 0.0)):
            gone, whole = values @ (c - span @ (span.T @ c)), values @ c + lifted * lifting
            shares.append(float(rule.weights @ gone**2) / (float(rule.weights @ whole**2) or 1.0))
        return float(np.sqrt(max(shares)))

    # -- the equation -------------------------------------------------------------------------------------------

    def _orthonormal(self, mesh: Mesh, count: int, report: Callable[[str], None]) -> tuple[Rule, Array, Array, int]:
        """A rule, the energy A, B (M, m) with B' A B = 1, and the number of points in each direction of cells.

        Columns of B are eigenvectors of A, upon whose energy a finer rule agrees.
        """
        rule = cell_rule(mesh, self._interface, count)
        energy, lost = self._energy(rule), self.layer.count
        while True:
            finer = cell_rule(mesh, self._interface, count + FINER)
            other = self._energy(finer)
            eigenvalues, vectors = np.linalg.eigh(energy)
            kept = eigenvalues > CUT * eigenvalues[-1]
            basis = vectors[:, kept] / np.sqrt(eigenvalues[kept])
            wrong = basis.T @ other @ basis - np.eye(basis.shape[1])
            differ = np.abs(wrong.diagonal()) > AGREEMENT
            lost, before = int(np.flatnonzero(differ)[-1]) + 1 if differ.any() else 0, lost
            report(
                f"{rule.weights.size} points of quadrature: {lost} of {basis.shape[1]} functions differ by a finer rule"
            )
            few = SPARED if lost < LESS * before else MOST_SPARED
            if lost <= few * basis.shape[1] and np.linalg.norm(wrong[lost:, lost:], 2) <= TOGETHER:
                return rule, energy, np.asarray(basis[:, lost:]), count
            count, rule, energy = count + FINER, finer, other
            if count + FINER > MOST:
                break
        raise ConvergenceError(
            f"the quadrature is too coarse for the features: of {basis.shape[1]} functions {lost} have other energies "
            f"by {count} Gauss points than by {count - FINER}; take a smaller scale."
        )

    def _energy(self, rule: Rule) -> Array:
        """A_ij = a(psi_i, psi_j)."""
        total = np.zeros(2 * (self.layer.count,))
        for part, places in self._pieces(rule):
            kappa, reaction = self._coefficients(places)
            value, *slopes = self.ansatz.first(places)
            for gradient in self.layer.matrices([slope.times(np.sqrt(rule.weights[part] * kappa)) for slope in slopes]):
                total += gradient.T @ gradient
            if reaction.any():
                values = self.layer.matrix(value)
                total += values.T @ (values * (rule.weights[part] * reaction)[:, None])
        return total

    def _coefficients(self, places: Places) -> tuple[Array, Array]:
        kappa = self.domain.values(self._equation.diffusion, places, "diffusion")
        if np.any(kappa <= 0):
            where = places.points[:, np.argmax(kappa <= 0)].round(6).tolist()
            raise ProblemError(f"diffusion must be positive, it is {kappa.min():.6g} at x = {where}.")
        return kappa, self.domain.values(self._equation.reaction, places, "reaction", 0.0)

    def _loaded(self) -> Array:
        """The load (m,) of the source and of the jumps of the flux, less a(g, .)."""
        load = np.zeros(self.layer.count)
        for part, places in self._pieces(self._cells):
            weights = self._cells.weights[part]
            kappa, reaction = self._coefficients(places)
            source, operators = (
                self.domain.values(self._equation.source, places, "source", 0.0),
                self.ansatz.first(places),
            )
            values, *gradients = self.layer.matrices(operators)
            load += values.T @ (weights * (source - reaction * operators[0].offset))
            for gradient, operator in zip(gradients, operators[1:], strict=True):
                load -= gradient.T @ (weights * kappa * operator.offset)
        total = self.basis.T @ load
        for tag, item in self._interface.items():
            values = self._at(tag).values
            rule = self._curves[tag]
            flux = self.domain.values(
                item.flux, self.domain.on(tag, rule.points, True), f"the jump of the flux on {tag!r}"
            )
            total -= values.T @ (rule.weights * flux)
        return np.asarray(total)

    # -- the basis at points --------------------------------------------------------------------------------------

    def _at(self, on: str | None) -> Sampled:
        """The basis on the domain, a part, or the inner side of an interface."""
        if on not in self._sampled:
            if on is not None and on in self._interface:
                rule = self._curves[on]
                places = [self.domain.on(on, rule.points, True)]
            else:
                rule = self._cells if on is None else self._part(on)
                places = [piece for _, piece in self._pieces(rule)]
            found = [self._sample(piece) for piece in places]
            self._sampled[on] = Sampled(rule, *(np.concatenate(arrays) for arrays in zip(*found, strict=True)))
        return self._sampled[on]

    def _sample(self, places: Places) -> tuple[Array, Array]:
        """The basis (n, m) and the lifting (n,) at places."""
        operator = self.ansatz.value(places)
        return self.layer.matrix(operator) @ self.basis, operator.offset

    def _part(self, tag: str) -> Rule:
        if tag not in self._cells.parts:
            raise ProblemError(f"there is no part or interface {tag!r}, the parts are {list(self._cells.parts)}.")
        chosen = self._cells.parts[tag]
        return Rule(self._cells.points[:, chosen], self._cells.weights[chosen], {tag: np.arange(chosen.size)})

    def _pieces(self, rule: Rule) -> list[tuple[slice, Places]]:
        """The points of a rule, so many at a time."""
        starts = range(0, rule.weights.size, CHUNK)
        parts = [slice(start, min(start + CHUNK, rule.weights.size)) for start in starts]
        return [(part, self.domain.places(rule.points[:, part])) for part in parts]

    # -- what is observed -----------------------------------------------------------------------------------------

    def _observe(self) -> None:
        """The space of observations and, for each of its parts, the matrix and the offset."""
        self._parts, spaces = list[tuple[Array, Array]](), []
        for item in self.problem.observations:
            if isinstance(item, Tracking) and item.points is not None:
                places = self.domain.places(item.points)
                self._parts.append(self._sample(places))
                spaces.append(Space(np.full(item.points.shape[1], item.weight), points=item.points))
                continue
            rule, values, lifting = self._at(item.on)
            members, diameter = dict(rule.parts), self.domain.diameter
            if isinstance(item, Tracking):
                self._parts.append((values, lifting))
                mass = item.weight * rule.weights
                spaces.append(Space(mass, points=rule.points, diameter=diameter, members=members))
            else:
                assert isinstance(item, Linear)
                places = self.domain.places(rule.points)
                row = rule.weights * self.domain.values(item.weight, places, "the weight of Linear")
                self._parts.append(((row @ values)[None], np.array([row @ lifting])))
                spaces.append(Space(np.ones(1)))
        self.observation = product(spaces)

    # -- what linearisations take -----------------------------------------------------------------------------------

    def coefficients(self, h: Array) -> Array:
        """Of the solution for the load (h, v), or -(h, v) on an interface."""
        return np.asarray(self.sign * (self._controlled.values.T @ (self._controlled.rule.weights * h)))

    def gradient(self, c: Array) -> Array:
        """The function with these coefficients where controls are, with that sign: the adjoint of `coefficients`."""
        return np.asarray(self.sign * (self._controlled.values @ c))

    def observed(self, c: Array, lifted: bool) -> Array:
        """O of a function of the span, or of one with the lifting."""
        return np.concatenate([matrix @ c + lifted * offset for matrix, offset in self._parts])

    def functional(self, w: Array) -> Array:
        """The coefficients of the function p with a(v, p) = <w, O v> for all v of the span."""
        pieces = zip(self._parts, self.observation.factors, self.observation.split(w), strict=True)
        return np.asarray(sum(matrix.T @ space.dual(piece) for (matrix, _), space, piece in pieces))

    def state(self, u: Array) -> Array:
        """The coefficients of y - g."""
        return self._load + self.coefficients(u)


class GalerkinLinearisation(Linearisation):
    """The map at u."""

    def __init__(self, map: GalerkinMap, u: Array) -> None:
        self._map, self._u = map, u

    @cached_property
    def state(self) -> Array:
        with self._map.solves.solving("state"):
            return self._map.state(self._u)

    @cached_property
    def value(self) -> Array:
        return self._map.observed(self.state, True)

    def tangent(self, h: Array) -> Array:
        with self._map.solves.solving("tangent"):
            return self._map.observed(self._map.coefficients(h), False)

    def solve_adjoint(self, w: Array, start: Array | None = None) -> Adjoint:
        with self._map.solves.solving("adjoint"):
            p = self._map.functional(w)
            return Adjoint(self._map.gradient(p), 0.0, p)

    def second(self, h: Array, w: Array, adjoint: Adjoint, outer: Callable[[Array], Array]) -> Array:
        return self.solve_adjoint(outer(self.tangent(h))).gradient
