"""Samples of the map of a control problem, forward and adjoint, as training data for its surrogates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from ..arrays import Array
from ..driver import discretise
from ..errors import PdecontrolError, ProblemError
from ..fem.backends import Embedded
from ..fem.steady import SteadyLinearisation, SteadyMap
from ..mesh.elements import cell_lagrange
from ..mesh.mesh import Mesh
from ..problem import ControlProblem, check_number
from ..space import Space
from .matern import MaternField
from .source import Batch, Source


@dataclass(frozen=True, eq=False)
class ControlSamples(Source):
    """(u, y = S(u)) and (w, q = S'(u)* w) for the map S of a control problem, with random controls u and duals w.

    Parameters
    ----------
    problem, mesh : whose map is sampled, on the embedded engine.
    length, deviation : of the Gaussian fields that u and w are samples of, at the points of their spaces; entries
        without points, as those of actuators, are independent normal numbers.
    degree, linear_solver : see `Embedded`.

    Notes
    -----
    The residual of a sample is the larger one of that of its state, relative to that without control and state, and for
    linear equations the defect of <S(u) - S(0), w> = <u, q>, relative to the norms. The bound is that on the error of
    the state in the energy norm, where the equation is symmetric positive definite and solved by factors, the rounding
    of its residual included.

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

    def __post_init__(self) -> None:
        check_number(self.deviation, "deviation", positive=True)
        _ = self._field, self._map

    def __getstate__(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self)}  # another process discretises anew

    @cached_property
    def _field(self) -> MaternField:
        return MaternField(self.mesh, self.length, deviation=self.deviation)

    @cached_property
    def _map(self) -> SteadyMap:
        made = discretise(self.problem, self.mesh, Embedded(self.degree, self.linear_solver))
        if not isinstance(made, SteadyMap):
            raise ProblemError(f"expected the map of a steady equation, got {type(made).__name__}.")
        return made

    @property
    def definition(self) -> dict[str, Any]:
        field = self._field.definition
        return {
            "family": "control-problem", "map": self._map.fingerprint, "field": field, "degree": self.degree,
            "linear_solver": self.linear_solver,
        }  # fmt: skip

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
    def _controls(self) -> list[Any]:
        return self._sampling(self._map.control)

    @cached_property
    def _duals(self) -> list[Any]:
        return self._sampling(self._map.observation)

    def _sampling(self, space: Space) -> list[Any]:
        """For each factor of a space the matrix from values at the vertices, or its size where it has no points."""
        vertices = cell_lagrange(self.mesh, 1)
        parts = space.factors or (space,)
        return [part.size if part.points is None else vertices.sampling(part.points) for part in parts]

    def _draw(self, sampling: list[Any], generator: np.random.Generator) -> Array:
        return np.concatenate([
            self.deviation * generator.standard_normal(part) if isinstance(part, int)
            else part @ self._field.sample(generator)
            for part in sampling
        ])  # fmt: skip

    def _judge(self, at: SteadyLinearisation, u: Array, w: Array, q: Array) -> tuple[float, float]:
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
