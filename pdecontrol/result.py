"""Results: what a solve found, how good it is, and its files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .arrays import Array
from .certificate import Certificate
from .continuum import Level
from .errors import DataError
from .field import Field, animate, export
from .files import read_arrays, readable, write_arrays
from .parallel import Group
from .projection import Projection
from .space import Space
from .space_files import space_arrays, space_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_PLAIN = ("method", "solves", "seconds", "tol", "fingerprint", "memory", "weight")  # as they are in files


class Status(Enum):
    """Why a run ended, with advice."""

    CERTIFIED = "the certificate meets the tolerance"
    CONVERGED = (
        "this is the optimum of the map that was given, to the tolerance, and that map is not the exact one: "
        "certify(problem, result.control, exact_map) tells how good the control is"
    )
    SOLVED = (
        "the optimality system is solved by networks, and the certificate says what is left of it: certify(problem, "
        "result.control, exact_map) tells how good the control is"
    )
    ITERATIONS = "the limit of iterations was met: raise max_iterations, loosen tol, or try another method"
    UNKNOWNS = (
        "the tolerance on the distance to the continuous optimum is not met, and a finer mesh would have more than "
        "max_unknowns: raise it, loosen the tolerance, or take states of degree 2"
    )
    SOLVES = "the limit of solves was met: raise max_solves or loosen tol"
    ROUNDING = "no smaller bound is to be had: what is left is rounding and errors of linear solvers; loosen tol"
    REACHED = "the state meets the target to rounding, what is left of the control is noise: nothing to improve"
    STALLED = "the certificate stopped improving for lack of progress: loosen tol or try another method"
    FAILED = "a state equation could not be solved on the way: this is the last control, and its certificate"
    NONCONVEX = "a stationary point without certificate: the reduced objective is not convex there; raise alpha"
    SETTLED = (
        "the control has settled, but nothing certifies it, for want of second derivatives of the map: define them "
        "(Linearisation.second, twice = True), or certify(problem, result.control, exact_map) with a map that has them"
    )
    OVERFLOW = "numbers overflow, underflow or are NaN: choose units where data, weights and controls are nearer to 1"
    DIVERGED = "training diverged, and these are the best weights that it had: take more points, or smaller steps"
    STOPPED = "the callback asked to stop"
    INTERRUPTED = "interrupted by the keyboard: a checkpoint= lets the run go on"


class Row(NamedTuple):
    """One iteration: `estimate` is free and uncertified, `bound` the certificate's (nan where not computed).

    Both are for ||u - u*||, or relative gaps where alpha = 0. The objective of PrimalDual on nonlinear maps takes the
    state at the extrapolated control.
    """

    iteration: int
    objective: float
    estimate: float
    bound: float
    solves: int
    seconds: float


class History:
    """Rows of a run; history["bound"] is a column."""

    def __init__(self) -> None:
        self._rows: list[Row] = []

    def append(self, row: Row) -> None:
        self._rows.append(row)

    @property
    def last(self) -> Row | None:
        """The latest row."""
        return self._rows[-1] if self._rows else None

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def __getitem__(self, name: str) -> Array:
        return np.array([getattr(row, name) for row in self._rows])

    def arrays(self) -> dict[str, Array]:
        return {f"history.{name}": self[name] for name in Row._fields}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array]) -> History:
        history, columns = cls(), (arrays[f"history.{name}"].tolist() for name in Row._fields)
        history._rows = [Row(*row) for row in zip(*columns, strict=True)]
        return history


@dataclass(frozen=True, eq=False)
class Result:
    """What a solve found, like scipy's OptimizeResult with attributes.

    Attributes
    ----------
    control, state, adjoint : the projected control, its state, and the adjoint state it was projected from, as fields:
        `.array`, `.space`, callable at points, `.save(path)`, `.plot(path)`.
    certificate : how far the control is from the optimum.
    status, success, message : why the run ended.
    objective : the value at the control.
    history : one row an iteration.
    solves : PDE solves by kind ("state", "tangent", "adjoint", their "total", ..), norm estimates and certificates
        included.
    seconds : wall time, discretisation included where `solve` did it.
    method, tol, fingerprint : the algorithm, the tolerance, and a digest of the discretised problem.
    memory : what was kept of PDE solutions where that is limited, else empty; see `Parabolic`.
    dual, weight : the last dual vector of the method and its Tikhonov weight, 0 if unknown, for warm starts.
    levels : where meshes were refined, each with the bound to the continuous optimum on it (see `plot_levels`); they
        are not in files.
    lower, upper, sensors : the bounds of the control and the points (dim, k) of observations, for figures.
    """

    control: Field
    state: Field
    adjoint: Field
    certificate: Certificate
    status: Status
    method: str
    history: History
    solves: dict[str, float]
    seconds: float
    tol: float
    fingerprint: str
    memory: str = ""
    weight: float = 0.0
    dual: Field | None = None
    lower: Field | None = None
    upper: Field | None = None
    sensors: Array | None = None
    levels: tuple[Level, ...] = ()

    @property
    def success(self) -> bool:
        """Whether the bound meets the tolerance, for the map that was given, or a network solves its equations."""
        return self.status in (Status.CERTIFIED, Status.CONVERGED, Status.SOLVED)

    @property
    def message(self) -> str:
        return self.status.value

    @property
    def objective(self) -> float:
        return self.certificate.objective

    @property
    def _work(self) -> str:
        return "applications" if self.status is Status.CONVERGED else "PDE solves"

    def __repr__(self) -> str:
        return f"<Result: {self.status.name.lower()}, objective {self.objective:.6e}, {self.method}>"

    def __str__(self) -> str:
        iterations = self.history["iteration"][-1] if len(self.history) else 0
        solves = ", ".join(f"{self.solves[kind]:.0f} {kind}" for kind in ("state", "tangent", "adjoint"))
        solves += f"; {self.solves['linear']:.0f} Newton steps in the state" if self.solves["linear"] else ""
        solves = f"{self.solves['total']:.0f} ({solves}), factorisations: {self.solves['factorisations']:.0f}"
        solves += f", Newton systems at once: {n:.0f}" if (n := self.solves.get("systems")) else ""
        certificate = str(self.certificate).replace("\n", "\n                ")
        lines = [
            f"{'status':<15} {self.status.name.lower()}: {self.message}",
            f"{'method':<15} {self.method}, {iterations} iterations",
            f"{'objective':<15} {self.objective:.9e}",
            f"{'certificate':<15} {certificate}",
            f"{self._work:<15} {solves}",
            f"{'time':<15} {self.seconds:.2f} s ({self.solves['seconds']:.2f} s in {self._work})",
        ]
        if applications := self.solves.get("applications"):
            lines.append(f"{'surrogate':<15} {applications:.0f} applications, {self.solves['surrogate_seconds']:.2f} s")
        if self.memory:
            lines.append(f"{'memory':<15} {self.memory}, {self.solves['recomputed']:.0f} steps in time computed again")
        return "\n".join(lines)

    def save(self, path: str | Path) -> Path:
        """Write everything to one .npz file, whole or not at all; `pdecontrol.load` reads it.

        Controls are functions there too where their bounds and their reference are numbers, else nodal values alone;
        levels of refinement are not written.
        """
        whole = self.gather()
        return self.group.on_root(lambda: whole._write(path))

    def _write(self, path: str | Path) -> Path:
        header = {"kind": "result", "status": self.status.name, "certificate": asdict(self.certificate)}
        header |= {name: getattr(self, name) for name in _PLAIN}
        arrays = self.history.arrays()
        for item in (self.control, self.state, self.adjoint):
            arrays[f"{item.name}.array"] = item.array
        fields = [self.control, self.state]
        if self.adjoint.space is not self.state.space:  # at other times, or of a map without adjoint equation
            fields.append(self.adjoint)
        for item in fields:
            arrays |= {f"{item.name}.{name}": a for name, a in space_arrays(item.space).items()}
        extras = {"dual": self.dual, "lower": self.lower, "upper": self.upper}
        arrays |= {name: item.array for name, item in extras.items() if item is not None}
        if self.sensors is not None:
            arrays["sensors"] = self.sensors
        function = self.control.function
        if isinstance(function, Projection) and (numbers := function.numbers) is not None:
            header["projection"] = numbers
            arrays["projection.array"] = function.adjoint.array
            if function.adjoint.space is not self.state.space:
                own = space_arrays(function.adjoint.space)
                arrays |= {f"projection.{name}": array for name, array in own.items()}
        return write_arrays(path, header, arrays)

    @property
    def group(self) -> Group:
        """The processes that share the result."""
        return self.control.space.group

    def gather(self) -> Result:
        """The result with whole fields on a single process: on rank 0, where it is divided; empty ones on others."""
        if self.state.space.layout is None:
            return self
        fields: dict[str, Any] = {
            name: getattr(self, name) for name in ("control", "state", "adjoint", "dual", "lower", "upper")
        }
        return replace(self, **{name: item and item.gather() for name, item in fields.items()})

    def plot(self, path: str | Path | None = None) -> Figure | None:
        """Draw state, control, adjoint and the zero set of the control; the figure (on rank 0), written to `path`."""
        whole = self.gather()
        return self.group.only_on_root(lambda: whole._draw(path))

    def _draw(self, path: str | Path | None) -> Figure:
        from . import plot

        certificate, history, space = self.certificate, self.history, self.control.space
        bounds = [None if bound is None else bound.array for bound in (self.lower, self.upper)]
        control, shown = self.control.panel, bounds
        entries = plot.Entries(control, bounds, space.dual(np.ones(space.size)))
        if space.base.fit is not None:
            elements, rows, times = control
            lower, upper = shown = [None if bound is None else space.coefficients(bound) for bound in bounds]
            # What is fitted to a kink goes beyond the bounds, where the control does not.
            rows = rows if lower is None else np.fmax(rows, lower)
            control = elements, rows if upper is None else np.fmin(rows, upper), times
            own = self.control.array if space.levels is None else space.steps(self.control.array)
            assert elements is not None
            pieces = plot.pieces_around(elements, space.base.nodes)
            entries = entries._replace(panel=(pieces, own, times))
        by_gap = certificate.bound is None
        title = "relative duality gap" if by_gap else r"distance to the optimum, $\|u-u^*\|/\|u\|$"
        tolerance, axis = self.tol, "PDE solves"
        if certificate.measure == np.inf and not np.isfinite(history["bound"]).any():  # nothing is certified
            title, tolerance, axis = "what is left of the optimality system, relative", np.nan, "steps"
        unit = 1.0 if by_gap or certificate.norm == 0.0 else certificate.norm
        return plot.draw_result(
            {"state $y$": self.state.panel, "control $u$": control, "adjoint state $p$": self.adjoint.panel},
            shown,
            entries,
            self.sensors,
            plot.Convergence(
                title, tolerance, history["solves"], history["estimate"] / unit, history["bound"] / unit, axis
            ),
            _headline(self),
            path,
        )

    def plot_levels(self, path: str | Path | None = None) -> Figure | None:
        """Draw meshes, bounds and what adds up to them, where meshes were refined; raises DataError for others."""
        if not self.levels:
            raise DataError("there are no levels: give solve a total_tol, for which it refines meshes.")
        return self.group.only_on_root(lambda: self._draw_levels(path))

    def _draw_levels(self, path: str | Path | None) -> Figure:
        from . import plot

        meshes, unknowns, bounds, norms, parts, shares, *_ = zip(*self.levels, strict=True)
        elements = self.state.space.whole.elements
        assert elements is not None
        relative = np.array(bounds) / np.maximum(norms, 1e-300)
        levels = plot.Levels(np.array(unknowns), relative, np.array(parts)[:, :4].T, self.tol, elements.degree + 1.0)
        return plot.draw_levels(meshes, shares[-1], levels, _headline(self), path)

    def animate(self, path: str | Path) -> Path:
        """Write state and control, where these depend on time, as an animation, a .gif file (see `Field.animate`)."""
        return animate({"state $y$": self.state, "control $u$": self.control}, path)

    def export(self, path: str | Path) -> list[Path]:
        """Write state, adjoint and control for ParaView, in the format of the ending (see `Field.save`)."""
        path = Path(path)
        alone = {}
        states = {"state": self.state, "adjoint": self.adjoint}
        if self.state.takes_time and not np.array_equal(self.state.space.times, self.adjoint.space.times):
            alone["adjoint"] = states.pop("adjoint")
        if self.control.space.points is not None:
            alone["control"] = self.control
        first = export(states, path)
        return [first, *(f.save(path.with_name(f"{path.stem}-{name}{path.suffix}")) for name, f in alone.items())]


def load(path: str | Path) -> Result:
    """A saved result; raises ResultFileError if the file is missing, damaged or not a result.

    Examples
    --------
    >>> result = load("sparse.npz")                          # doctest: +SKIP
    >>> result.control(np.array([[0.5], [0.5]]))             # doctest: +SKIP
    """
    header, arrays = read_arrays(path, "result")
    with readable(path):
        header.setdefault("memory", "")
        header.setdefault("weight", 0.0)
        spaces = {name: space_of(arrays, name) for name in ("control", "state")}
        own = any(name.startswith("adjoint.mass") for name in arrays)
        spaces["adjoint"] = space_of(arrays, "adjoint") if own else spaces["state"]
        fields: dict[str, Any] = {name: Field(arrays[f"{name}.array"], spaces[name], name) for name in spaces}
        if "dual" in arrays:
            fields["dual"] = Field(arrays["dual"], Space(np.ones(arrays["dual"].size)), "dual")
        for name in ("lower", "upper"):
            if name in arrays:
                fields[name] = Field(arrays[name], spaces["control"], f"{name} bound")
        if "projection" in header:
            own = any(name.startswith("projection.mass") for name in arrays)
            space = space_of(arrays, "projection") if own else spaces["state"]
            adjoint = Field(arrays["projection.array"], space, "adjoint")
            function = Projection(**header["projection"], adjoint=adjoint, nodal=fields["control"])
            fields["control"] = replace(fields["control"], function=function)
        return Result(
            **fields,
            certificate=Certificate(**header["certificate"]),
            status=Status[header["status"]],
            history=History.from_arrays(arrays),
            sensors=arrays.get("sensors"),
            **{name: header[name] for name in _PLAIN},
        )


def _headline(result: Result) -> str:
    """The method, how good the control is, the objective and the effort."""
    certificate = result.certificate
    if result.status is Status.CONVERGED:
        quality = "optimum of an inexact map"
    elif certificate.continuous is not None and certificate.continuous.bound is not None:
        share = _rounded_up(certificate.continuous.bound / max(certificate.continuous.norm, 1e-300))
        quality = rf"certified $\|u-u^*\| \leq {share}\,\|u\|$ of the continuous problem"
    elif certificate.optimal:
        quality = "$u = 0$ shown optimal"
    elif certificate.relative == 0.0:
        quality = "certified $u = u^*$ up to rounding"
    elif certificate.relative is not None:
        quality = rf"certified $\|u-u^*\| \leq {_rounded_up(certificate.relative)}\,\|u\|$"
    elif certificate.relative_gap is not None:
        quality = rf"certified $J(u)-J(u^*) \leq {_rounded_up(certificate.relative_gap)}\,|J(u)|$"
    else:
        quality = "no certificate"
    method = result.method.split(" (")[0]
    effort = "" if result.status is Status.SOLVED else f",  {result.solves['total']:.0f} {result._work}"
    return f"{method}: {quality},  $J = {_tex(f'{result.objective:.7g}')}$" + effort


def _rounded_up(bound: float) -> str:
    """A positive bound to two digits."""
    unit = 10.0 ** (math.floor(math.log10(bound)) - 1)
    return _tex(f"{math.ceil(bound / unit) * unit:.1e}")


def _tex(number: str) -> str:
    digits, _, exponent = number.partition("e")
    return rf"{digits} \times 10^{{{int(exponent)}}}" if exponent else digits
