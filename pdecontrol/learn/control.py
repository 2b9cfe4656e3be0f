"""Samples of the maps of control problems, forward and adjoint, as training data for their surrogates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np

from ..arrays import Array
from ..discretisation import discretise
from ..errors import PdecontrolError, ProblemError
from ..fem.backends import Embedded
from ..fem.parabolic import ParabolicLinearisation, ParabolicMap
from ..fem.steady import SteadyLinearisation, SteadyMap
from ..fem.trajectory import TrajectoryLinearisation
from ..mesh.mesh import Mesh
from ..problem import ControlProblem, check_number
from .cells import on_cells, with_coefficient
from .drawing import Drawing
from .matern import MaternField
from .random_fields import RandomField
from .source import Batch, Source

LENGTHS = 8  # of the fields for a range of lengths
KINDS = ("state", "adjoint", "linear", "inner")
At = SteadyLinearisation | ParabolicLinearisation | TrajectoryLinearisation


@dataclass(frozen=True, eq=False)
class ControlSamples(Source):
    """(u, y = S(u)) and (w, q = S'(u)* w) for the map S of a control problem, with random controls u and duals w.

    With a random coefficient a of the equation (a, u_j, S_a(u_j), w_j, S_a'(u_j)* w_j) for j < pairs.

    Parameters
    ----------
    problem, mesh : whose map is sampled, on the embedded engine.
    length, deviation : of the Gaussian fields that u and w are samples of, at the points of their spaces; entries
        without points, as those of actuators, are independent normal numbers. For (shortest, longest) each vector has
        one of eight lengths between these, whose logarithms are equally spaced.
    duration : of parabolic equations, the time after which the correlation of u and of w is 0.14, as `length` is for
        distances. They are sums of cosines of time, whose coefficients are such fields or numbers.
    degree, linear_solver : see `Embedded`.
    coefficient : the field whose samples are a, on the cells of a grid over the box around the mesh (see
        `GridFunction`): `Threshold`, `Lognormal`, or another one with admissible values.
    varied : which coefficient of the equation it is, of the steady one where that is parabolic.
    pairs : of controls and duals for each coefficient.

    Notes
    -----
    The residual of a sample is the larger one of that of its state, relative to that without control and state, and for
    linear equations the defect of <S(u) - S(0), w> = <u, q>, relative to the norms; of several pairs the largest. The
    bound is that on the error of the state in the energy norm, where the equation is symmetric positive definite and
    solved by factors, the rounding of its residual included. Residuals of parabolic equations are those of all steps,
    without a bound.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> problem = pc.ControlProblem(
    ...     equation=pc.Elliptic(reaction=1.0),
    ...     control=pc.Distributed(),
    ...     tracking=pc.Tracking(0.0),
    ...     terms=[pc.Tikhonov(1e-2)],
    ... )
    >>> ControlSamples(problem, pc.unit_square(8)).shapes
    {'control': (81,), 'observation': (81,), 'dual': (81,), 'gradient': (81,)}
    """

    problem: ControlProblem
    mesh: Mesh
    length: float | tuple[float, float] = 0.3
    deviation: float = 1.0
    degree: int = 1
    linear_solver: str = "auto"
    duration: float = 0.3
    coefficient: RandomField | None = None
    varied: str = "diffusion"
    pairs: int = 3

    def __post_init__(self) -> None:
        check_number(self.deviation, "deviation", positive=True)
        check_number(self.duration, "duration", positive=True)
        if self.coefficient is not None:
            if len(self.coefficient.shape) != self.mesh.dim:
                raise ProblemError(
                    f"coefficient must be a random field on a grid of dimension {self.mesh.dim}, got "
                    f"{self.coefficient!r}."
                )
            if not isinstance(self.pairs, Integral) or self.pairs < 1:
                raise ProblemError(f"pairs must be a positive integer, got {self.pairs!r}.")
            with_coefficient(self.problem, self.varied, 1.0)
        _ = self._fields, self._map

    def __getstate__(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self)}  # another process discretises anew

    @cached_property
    def _fields(self) -> list[MaternField]:
        if not isinstance(self.length, tuple):
            return [MaternField(self.mesh, self.length, deviation=self.deviation)]
        shortest, longest = (check_number(end, "length", positive=True) for end in self.length)
        lengths = np.geomspace(shortest, longest, LENGTHS).tolist()
        return [MaternField(self.mesh, length, deviation=self.deviation) for length in lengths]

    @cached_property
    def _map(self) -> SteadyMap | ParabolicMap:
        return self._discretised(self.problem)

    def _discretised(self, problem: ControlProblem) -> SteadyMap | ParabolicMap:
        made = discretise(problem, self.mesh, Embedded(self.degree, self.linear_solver))
        assert isinstance(made, (SteadyMap, ParabolicMap))
        return made

    def problem_at(self, a: Array | None = None, **changes: Any) -> ControlProblem:
        """The problem with a coefficient (s, ..), and with changes of its other fields: terms, tracking."""
        problem = replace(self.problem, **changes)
        return problem if a is None else with_coefficient(problem, self.varied, on_cells(a, self.mesh))

    def map_at(self, a: Array | None = None) -> SteadyMap | ParabolicMap:
        """The exact map S_a; without a coefficient that of the problem as it is stated, whose spaces are the same."""
        return self._map if a is None else self._discretised(self.problem_at(a))

    @property
    def definition(self) -> dict[str, Any]:
        field = self._fields[0].definition
        if isinstance(self.length, tuple):
            field["length"] = list(self.length)
        result = {
            "family": "control-problem", "map": self._map.fingerprint, "field": field, "degree": self.degree,
            "linear_solver": self.linear_solver,
        }  # fmt: skip
        if self.coefficient is not None:
            varied = {"varied": self.varied, "pairs": self.pairs}
            result |= varied | {"coefficient": self.coefficient.definition}
        return result | {"duration": self.duration} if isinstance(self._map, ParabolicMap) else result

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        control, observation = (self._map.control.size,), (self._map.observation.size,)
        one = {"control": control, "observation": observation, "dual": observation, "gradient": control}
        if self.coefficient is None:
            return dict(one)
        return {"coefficient": self.coefficient.shape} | {name: (self.pairs, *shape) for name, shape in one.items()}

    def plan(
        self, generators: Sequence[np.random.Generator], count: int, tolerance: float, strategy: str
    ) -> dict[str, Any]:
        if strategy != "auto":
            raise ProblemError(f"a control problem is solved by its map, not by strategy={strategy!r}: leave 'auto'.")
        how = "sparse factors" if self._map.factored else "conjugate gradients with multigrid"
        return {"strategy": "map", "reason": f"of the problem, linear systems solved by {how}"}

    def batch(self, plan: Mapping[str, Any], generators: Sequence[np.random.Generator], tolerance: float) -> Batch:
        count = len(generators)
        arrays = {name: np.full((count, *shape), np.nan) for name, shape in self.shapes.items()}
        residuals, bounds, failures = np.full(count, np.nan), np.full(count, np.nan), dict[int, str]()
        counts = dict.fromkeys([*(f"solves {kind}" for kind in KINDS), "seconds solve"], 0.0)
        for i, generator in enumerate(generators):
            a = None if self.coefficient is None else self.coefficient.sample(generator)
            if a is not None:
                arrays["coefficient"][i] = a
            try:
                sample = {name: array[i] for name, array in arrays.items()}
                residuals[i], bounds[i] = self._solve(sample, a, generator, counts)
            except PdecontrolError as error:
                failures[i] = str(error)
                continue
            if not residuals[i] <= tolerance:
                failures[i] = f"the residual is {residuals[i]:.1e}: take linear_solver='direct', or a larger tolerance"
        return Batch(arrays, residuals, bounds, failures, counts)

    def _solve(
        self, sample: dict[str, Array], a: Array | None, generator: np.random.Generator, counts: dict[str, float]
    ) -> tuple[float, float]:
        """Draw and solve the pairs of a sample, in place; the relative residual and the bound, the worst of all."""
        rows = [np.atleast_2d(sample[name]) for name in ("control", "observation", "dual", "gradient")]
        for u, _, w, _ in zip(*rows, strict=True):
            u[:], w[:] = self._controls.sample(generator), self._duals.sample(generator)
        map = self.map_at(a)
        before, errors = map.solves.snapshot(), []
        constant = map.solve(map.control.zeros()) if a is not None and map.affine else None
        for u, y, w, q in zip(*rows, strict=True):
            at = map.at(u)
            y[:], q[:] = at.value, at.adjoint(w)
            errors.append(self._judge(map, at, (u, y, w, q), constant))
        spent = map.solves.since(before)
        for kind in KINDS:
            counts[f"solves {kind}"] += spent[kind]
        counts["seconds solve"] += spent["seconds"]
        residual, bound = np.max(errors, axis=0)
        return float(residual), float(bound)

    @cached_property
    def _controls(self) -> Drawing:
        return Drawing(self._map.control, self._fields, self.duration)

    @cached_property
    def _duals(self) -> Drawing:
        return Drawing(self._map.observation, self._fields, self.duration)

    def _judge(
        self, map: SteadyMap | ParabolicMap, at: At, sample: tuple[Array, ...], constant: Array | None
    ) -> tuple[float, float]:
        """The relative residual, and the bound on the error of the state."""
        residual, bound = at.state_errors()
        if not map.affine:
            return residual, bound
        u, y, w, q = sample
        y = y - (self._constant if constant is None else constant)
        defect = abs(map.observation.inner(y, w) - map.control.inner(u, q))
        size = map.observation.norm(y) * map.observation.norm(w) + map.control.norm(u) * map.control.norm(q)
        return max(residual, defect / (size or 1.0)), bound

    @cached_property
    def _constant(self) -> Array:
        """S(0)."""
        return self._map.solve(self._map.control.zeros())
