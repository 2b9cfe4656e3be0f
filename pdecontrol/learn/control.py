"""Samples of the map of a control problem, forward and adjoint, as training data for its surrogates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from ..arrays import Array
from ..driver import discretise
from ..errors import PdecontrolError, ProblemError
from ..fem.backends import Embedded
from ..fem.parabolic import ParabolicLinearisation, ParabolicMap
from ..fem.steady import SteadyLinearisation, SteadyMap
from ..mesh.elements import cell_lagrange
from ..mesh.mesh import Mesh
from ..problem import ControlProblem, check_number
from ..space import Space
from ..times import Times
from .matern import MaternField
from .source import Batch, Source


class Part(NamedTuple):
    """How a factor of a space is drawn: its entries at one time, from values at vertices, times functions of time."""

    size: int
    sampling: csr_matrix | None
    waves: Array | None


@dataclass(frozen=True, eq=False)
class ControlSamples(Source):
    """(u, y = S(u)) and (w, q = S'(u)* w) for the map S of a control problem, with random controls u and duals w.

    Parameters
    ----------
    problem, mesh : whose map is sampled, on the embedded engine.
    length, deviation : of the Gaussian fields that u and w are samples of, at the points of their spaces; entries
        without points, as those of actuators, are independent normal numbers.
    duration : of parabolic equations, the time after which the correlation of u and of w is 0.14, as `length` is for
        distances. They are sums of cosines of time, whose coefficients are such fields or numbers.
    degree, linear_solver : see `Embedded`.

    Notes
    -----
    The residual of a sample is the larger one of that of its state, relative to that without control and state, and for
    linear equations the defect of <S(u) - S(0), w> = <u, q>, relative to the norms. The bound is that on the error of
    the state in the energy norm, where the equation is symmetric positive definite and solved by factors, the rounding
    of its residual included. Residuals of parabolic equations are those of all steps, without a bound.

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
    length: float = 0.3
    deviation: float = 1.0
    degree: int = 1
    linear_solver: str = "auto"
    duration: float = 0.3

    def __post_init__(self) -> None:
        check_number(self.deviation, "deviation", positive=True)
        check_number(self.duration, "duration", positive=True)
        _ = self._field, self._map

    def __getstate__(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self)}  # another process discretises anew

    @cached_property
    def _field(self) -> MaternField:
        return MaternField(self.mesh, self.length, deviation=self.deviation)

    @cached_property
    def _map(self) -> SteadyMap | ParabolicMap:
        made = discretise(self.problem, self.mesh, Embedded(self.degree, self.linear_solver))
        assert isinstance(made, (SteadyMap, ParabolicMap))
        return made

    @property
    def definition(self) -> dict[str, Any]:
        field = self._field.definition
        result = {
            "family": "control-problem", "map": self._map.fingerprint, "field": field, "degree": self.degree,
            "linear_solver": self.linear_solver,
        }  # fmt: skip
        return result | {"duration": self.duration} if isinstance(self._map, ParabolicMap) else result

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        control, observation = (self._map.control.size,), (self._map.observation.size,)
        return {"control": control, "observation": observation, "dual": observation, "gradient": control}

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
        residuals, bounds = np.full(count, np.nan), np.full(count, np.nan)
        failures, before = dict[int, str](), self._map.solves.snapshot()
        for i, generator in enumerate(generators):
            u, w = self._draw(self._controls, generator), self._draw(self._duals, generator)
            arrays["control"][i], arrays["dual"][i] = u, w
            try:
                at = self._map.at(u)
                arrays["observation"][i], arrays["gradient"][i] = at.value, at.adjoint(w)
                residuals[i], bounds[i] = self._judge(at, u, w, arrays["gradient"][i])
            except PdecontrolError as error:
                failures[i] = str(error)
                continue
            if not residuals[i] <= tolerance:
                failures[i] = f"the residual is {residuals[i]:.1e}: take linear_solver='direct', or a larger tolerance"
        spent = self._map.solves.since(before)
        counts = {f"solves {kind}": spent[kind] for kind in ("state", "adjoint", "linear", "inner")}
        return Batch(arrays, residuals, bounds, failures, counts | {"seconds solve": spent["seconds"]})

    @cached_property
    def _controls(self) -> list[Part]:
        return self._sampling(self._map.control)

    @cached_property
    def _duals(self) -> list[Part]:
        return self._sampling(self._map.observation)

    def _sampling(self, space: Space) -> list[Part]:
        """How each factor of a space is drawn."""
        vertices, parts = cell_lagrange(self.mesh, 1), []
        for factor in space.factors or (space,):
            base = factor.base
            where = None if base.points is None else vertices.sampling(base.points)
            parts.append(Part(base.size, where, None if factor.levels is None else self._waves(factor.levels.times)))
        return parts

    def _waves(self, times: Times) -> Array:
        """Cosines (N, modes) with the spectrum exp(-(omega l)^2/2), l = duration/2, of variance 1 on the average."""
        first, last = times.span
        if first == last:
            return np.ones((1, 1))
        reach = 0.5 * self.duration / (last - first)
        omega = np.pi * np.arange(math.ceil(6.0 / (np.pi * reach)))  # what is left out has amplitudes below 2e-4
        amplitudes = np.exp(-((omega * reach) ** 2) / 4) * np.where(omega == 0, 1.0, math.sqrt(2))
        cosines = np.cos(np.outer((times.levels - first) / (last - first), omega))
        return cosines * amplitudes / math.sqrt(float(np.exp(-((omega * reach) ** 2) / 2).sum()))

    def _draw(self, sampling: list[Part], generator: np.random.Generator) -> Array:
        def entries(part: Part) -> Array:
            if part.sampling is None:
                return self.deviation * generator.standard_normal(part.size)
            return np.asarray(part.sampling @ self._field.sample(generator))

        drawn = []
        for part in sampling:
            if part.waves is None:
                drawn.append(entries(part))
            else:
                drawn.append((part.waves @ np.stack([entries(part) for _ in range(part.waves.shape[1])])).ravel())
        return np.concatenate(drawn)

    def _judge(
        self, at: SteadyLinearisation | ParabolicLinearisation, u: Array, w: Array, q: Array
    ) -> tuple[float, float]:
        """The relative residual, and the bound on the error of the state."""
        (residual, bound), map = at.state_errors(), self._map
        if not map.affine:
            return residual, bound
        y = at.value - self._constant
        defect = abs(map.observation.inner(y, w) - map.control.inner(u, q))
        size = map.observation.norm(y) * map.observation.norm(w) + map.control.norm(u) * map.control.norm(q)
        return max(residual, defect / (size or 1.0)), bound

    @cached_property
    def _constant(self) -> Array:
        """S(0)."""
        return self._map.solve(self._map.control.zeros())
