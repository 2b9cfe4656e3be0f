"""From a problem in time to its discretised steps, for any finite-element engine."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from ..arrays import Array, takes_time
from ..errors import DataError, InitialValueWarning, ProblemError
from ..linear.matrix import ROUNDING, SharedMatrix, shared
from ..problem import ControlProblem, Dirichlet, Elliptic, InitialValue, Parabolic, Robin, Stated
from .conditions import Lifting, check_conditions, natural_conditions
from .control import Coupling, coupling
from .engine import Engine, constant_mass
from .equations import state_equation
from .equations.elliptic import source_load
from .equations.equation import StateEquation
from .observation import observation_over_time
from .rectangular import NarrowMatrix, numbers
from .sampler import Sampler
from .system import mesh_digest
from .ties import Ties


class Level(NamedTuple):
    """The equation e(y, u) - load = 0 at one time; `load` and its size are those not in `equation`."""

    equation: StateEquation
    lifting: Lifting
    load: Array
    load_size: Array


class Evolution:
    """E_n(y_n, y_(n-1), u_n) = M (y_n - y_(n-1))/dt_n + theta e_n(y_n, u_n) + (1 - theta) e_(n-1)(y_(n-1), u_n) = 0.

    The discretised steps n = 1, .., N of a parabolic control problem, with y_n = y_D(t_n) on a part of the boundary and
    O y. The equation is discretised anew at each time only where its coefficients depend on time.

    Attributes
    ----------
    lengths : dt_n.
    levels : the equation at t_0, .., t_N.
    control : the space of controls; `couplings` are those of each step, with controls u_n constant on it.
    initial : of controls of the initial value, which then are none of the steps.
    """

    def __init__(self, problem: ControlProblem, engine: Engine) -> None:
        assert isinstance(problem.equation, Parabolic)
        self.problem, self.engine, self.parabolic = problem, engine, problem.equation
        check_conditions(problem, engine.mesh)
        self.theta, self.times = self.parabolic.theta, self.parabolic.levels
        self.lengths = _merged(np.diff(self.times))
        self._sampler = Sampler(engine)
        inner = self.times[1:] - 0.5 * self.lengths if self.theta < 1 else self.times[1:]
        self._make_control(inner)
        self.levels = self._make_levels()
        self.mass = engine.matrix([constant_mass(engine.cells)])
        self.free, self.block = self.levels[0].lifting.free, self.levels[0].lifting.block
        self.affine = self.levels[1].equation.affine is not None
        engine.prepare(self.levels[1].equation.definite, self.affine, int(engine.group.sum(self.free.size)))
        states = engine.solution()
        self.solution = states.over(self.times[1:], self.weights(-np.inf, np.inf))
        self.adjoints = states.over(inner, self.lengths)
        self.observation = observation_over_time(
            problem.observations, self._sampler, states, self.times[1:], self.weights
        )
        self.start = self._initial_state()

    def _make_control(self, times: Array) -> None:
        """The space of controls and what they are coupled by, at the times of the steps."""
        control, sampler, count = self.problem.control, self._sampler, self.lengths.size
        self.initial: Coupling | None = None
        self._moving = False
        if isinstance(control, InitialValue):
            self.initial = coupling(self.problem, sampler)
            if self.theta < 1 and (self.engine.degree > 1 or self.problem.interface):
                kind = "states of higher degree" if self.engine.degree > 1 else "an interface"
                raise ProblemError(f"InitialValue with {kind} needs scheme='backward-euler'.")
            group = self.engine.group
            none = Coupling(numbers(group, np.zeros(0)), NarrowMatrix(group, sp.csr_matrix((self.engine.size, 0))))
            self.couplings, self.control = [none] * count, self.initial.space
            return
        self._moving = any(map(takes_time, _functions(control)))
        sampler.time = float(times[0])
        self.couplings = [coupling(self.problem, sampler)] * count
        for n in range(1, count if self._moving else 1):
            sampler.time = float(times[n])
            self.couplings[n] = coupling(self.problem, sampler)
        self.control = self.couplings[0].space.over(times, self.lengths, self.times)

    def _make_levels(self) -> list[Level]:
        steady, boundary, sampler = self.parabolic.steady, self.problem.boundary, self._sampler
        interface = self.problem.interface
        robin = {tag: item.coefficient for tag, item in boundary.items() if isinstance(item, Robin)}
        fixed: list[Any] = [item for item in boundary.values() if isinstance(item, Dirichlet)]
        fixed += [item.value for item in interface.values()]
        loaded: list[Any] = [item for item in boundary.values() if not isinstance(item, Dirichlet)]
        loaded += [item.flux for item in interface.values()]
        operator = [getattr(steady, name) for name in vars(steady) if name != "source"]
        changing, lifted = (any(map(takes_time, _functions(data))) for data in ([operator, robin], fixed))
        source = getattr(steady, "source", 0.0)
        driven = any(map(takes_time, _functions([source, loaded])))
        zero, levels, ties = np.zeros(self.engine.size), list[Level](), Ties(interface, sampler)
        first: tuple[StateEquation, Array, Array] | None = None
        for t in self.times.tolist():
            sampler.time = t
            lifting = Lifting(self.problem, sampler, ties) if lifted or not levels else levels[0].lifting
            if first is None or changing:
                natural = natural_conditions(self.problem, sampler)
                equation = state_equation(steady, self.problem.control, sampler, natural, self.couplings[0])
                first = first or (equation, *self._load())
                changing |= equation.varies
                levels.append(Level(equation, lifting, zero, zero))
            elif driven:
                load, size = self._load()
                sizes = zero if first[0].affine is None else size + first[2]
                levels.append(Level(first[0], lifting, load - first[1], sizes))
            else:
                levels.append(Level(first[0], lifting, zero, zero))
        return levels

    def _load(self) -> tuple[Array, Array]:
        """The load of source and natural conditions at the time of the sampler, and the sizes of its terms."""
        natural = natural_conditions(self.problem, self._sampler)
        if not isinstance(self.parabolic.steady, Elliptic):
            return natural.load, natural.sizes
        load, size = source_load(self.parabolic.steady, self._sampler)
        return natural.load + load, natural.sizes + size

    def _initial_state(self) -> Array:
        """The initial value at the nodes, with the Dirichlet values where there are such."""
        self._sampler.time = None
        if any(map(takes_time, _functions(self.parabolic.initial))):
            raise DataError("the initial value is a function of x alone, not of x and t.")
        data, lifting, engine = self.parabolic.initial, self.levels[0].lifting, self.engine
        y = self._sampler.at_nodes(data, np.arange(engine.size), "the initial value")
        prescribed = lifting.initial()
        difference = lifting.mismatch(y)
        size = max(engine.group.collect(float(max(np.abs(y).max(initial=0.0), np.abs(prescribed).max(initial=0.0)))))
        worst = int(np.argmax(difference)) if difference.size else 0
        found = (float(difference.max(initial=0.0)), *(engine.nodes[:, worst].round(6).tolist() if y.size else []))
        largest, *where = max(engine.group.collect(found))
        with engine.group.agree():  # where warnings are errors
            if engine.group.root and largest > 1e-8 * size:
                warnings.warn(
                    f"the initial value differs from the Dirichlet value, or in its jump from that of an interface, at "
                    f"t = {self.times[0]:g} by {largest:.3g} at x = {where}: Dirichlet values are taken, and the "
                    "solution is not smooth at that time.",
                    InitialValueWarning, stacklevel=2,
                )  # fmt: skip
        return np.where(lifting.fixed, prescribed, y)

    # -- quadrature in time -------------------------------------------------------------------------------------

    def weights(self, a: float, b: float) -> Array:
        """The weights (N,) of t_1, .., t_N in integrals from a to b, exact for functions that are constant there."""
        starts, ends = self.times[:-1], self.times[1:]
        shares = np.clip(np.minimum(ends, b) - np.maximum(starts, a), 0.0, None)
        whole = shares > self.lengths * (1 - 1e-9)
        shares = np.where(whole, self.lengths, shares)
        if self.theta == 1:
            return shares
        return 0.5 * (shares + np.append(shares[1:], 0.0))

    # -- the steps ----------------------------------------------------------------------------------------------

    def shift(self, n: int) -> float:
        """s of the step matrix e_y + s M of the step n = 0, .., N - 1: 1/(theta dt)."""
        return 1.0 / (self.theta * float(self.lengths[n]))

    def key(self, n: int) -> tuple[int, float]:
        """What the matrix of a step depends on, for affine equations."""
        return id(self.levels[n + 1].equation), float(self.lengths[n])

    def carried(self, before: Array, u: Array | None = None) -> Array:
        """M before; for the first step with a control u of the initial value, which enters through its own mass."""
        if u is None or self.initial is None:
            return np.asarray(self.mass @ before)
        return np.asarray(self.mass @ self.start) + self.initial.apply(u)

    def residual(self, n: int, y: Array, before: Array, carried: Array, u: Array) -> Array:
        """E / theta at the free entries, for the step n = 0, .., N - 1 from `before`, with M before, to y."""
        new, old, theta = self.levels[n + 1], self.levels[n], self.theta
        steady = self.steady_control() if self._moving else u
        e = new.equation.residual(y, steady) - new.load
        if theta < 1:
            e += (1 - theta) / theta * (old.equation.residual(before, steady) - old.load)
        if self._moving:
            e -= self.couplings[n].apply(u) / theta
        return new.lifting.restrict(e + self.shift(n) * (self.mass @ y - carried))

    def couple(self, n: int, y: Array, before: Array, u: Array, h: Array) -> Array:
        """-E_u h / theta, a functional on states."""
        if self._moving:
            return self.couplings[n].apply(h) / self.theta
        new, old, rest = self.levels[n + 1].equation, self.levels[n].equation, (1 - self.theta) / self.theta
        result = new.couple(y, u, h)
        if rest:
            result = result + rest * old.couple(before, u, h)
        return result

    def couple_transposed(self, n: int, y: Array, before: Array, u: Array, p: Array) -> Array:
        """-M_u^-1 E_u' p / theta, with the mass of controls at one time."""
        if self._moving:
            return self.couplings[n].transposed(p) / self.theta
        new, old, rest = self.levels[n + 1].equation, self.levels[n].equation, (1 - self.theta) / self.theta
        result = new.couple_transposed(y, u, p)
        if rest:
            result = result + rest * old.couple_transposed(before, u, p)
        return result

    def second(
        self, n: int, y: Array, before: Array, u: Array, p: Array, eta: Array, eta_before: Array, h: Array
    ) -> tuple[Array, Array, Array]:
        """The derivatives of <p, E>/theta by y, before and u, once more along (eta, eta_before, h).

        Functionals on y and before, and a vector of controls at one time.
        """
        new, old, rest = self.levels[n + 1].equation, self.levels[n].equation, (1 - self.theta) / self.theta
        on_new, on_control = new.second(y, u, p, eta, h)
        on_old = np.zeros_like(on_new)
        if rest:
            functional, image = old.second(before, u, p, eta_before, h)
            on_old, on_control = rest * functional, on_control + rest * image
        return on_new, on_old, on_control

    # -- sizes, of affine equations --------------------------------------------------------------------------------

    def load_sizes(self, u: Array) -> Array:
        """|C| |u| / theta (N, n), and for a control of the initial value |C| |u| / dt in the first step."""
        if self.initial is None:
            rows = zip(self.couplings, self.control.steps(np.abs(u)), strict=True)
            return np.stack([coupling.absolute.apply(row) / self.theta for coupling, row in rows])
        result = np.zeros((self.lengths.size, self.engine.size))
        result[0] = self.shift(0) * self.initial.absolute.apply(np.abs(u))
        if self.theta < 1:
            result[0] += (1 - self.theta) / self.theta * (self._first_sizes @ self.embedded(np.abs(u)))
        return result

    def gradient_sizes(self, p: Array) -> Array:
        """The transpose of these: M_u^-1 |C|' |p|, for p (N, n)."""
        if self.initial is not None:
            result = self.shift(0) * self.initial.absolute.transposed(np.abs(p[0]))
            if self.theta < 1:
                nodal = self.initial.absolute.transposed(self._first_sizes.apply_transposed(np.abs(p[0])))
                result += (1 - self.theta) / self.theta * nodal / self.control.mass
            return result
        scales = 1.0 / (self.theta * self.lengths)
        rows = zip(self.couplings, scales, np.abs(p), strict=True)
        return np.concatenate([scale * coupling.absolute.transposed(row) for coupling, scale, row in rows])

    def rounding(self, n: int, y: Array, before: Array) -> Array:
        """What rounding may be in the residual of a step, without that of the control, at the free entries."""
        new, old, rest = self.levels[n + 1], self.levels[n], (1 - self.theta) / self.theta
        mass = self._mass_sizes @ (np.abs(y) + np.abs(before))
        sizes = self._steady_sizes(new, y) + self.shift(n) * mass
        if rest:
            sizes = sizes + rest * self._steady_sizes(old, before)
        return ROUNDING * new.lifting.restrict(sizes)

    def _steady_sizes(self, level: Level, y: Array) -> Array:
        affine = level.equation.affine
        assert affine is not None
        sizes = affine.load_size + level.load_size
        if self.engine.group.any(y.any()):
            sizes = sizes + abs(level.equation.jacobian(y, self.steady_control())) @ np.abs(y)
        return np.asarray(sizes)

    @cached_property
    def _first_sizes(self) -> SharedMatrix:
        """|e_y| of the equation at t_0."""
        level = self.levels[0]
        return abs(shared(level.equation.jacobian(level.lifting.initial(), self.steady_control())))

    @cached_property
    def _mass_sizes(self) -> Any:
        return abs(self.mass)

    def reference(self, n: int) -> tuple[Array, Array]:
        """Where the linear part of a step is taken: at the initial value, without control."""
        lifting = self.levels[n + 1].lifting
        return np.where(lifting.fixed, lifting.initial(), self.start), self.steady_control()

    def steady_control(self) -> Array:
        """The zero control of a step."""
        return self.couplings[0].space.zeros()

    def steps_of(self, u: Array) -> Array:
        """The controls (N, m) of the steps; m = 0 where the control is one of the initial value."""
        return np.zeros((self.lengths.size, 0)) if self.initial is not None else self.control.steps(u)

    def first_state(self, u: Array) -> Array:
        """y_0, with a control of it as a function of its nodal values."""
        return self.start if self.initial is None else self.start + self.embedded(u)

    def embedded(self, h: Array) -> Array:
        """A control of the initial value as a state."""
        assert self.initial is not None
        return np.where(self.levels[0].lifting.fixed, 0.0, self.initial.apply(h / self.control.mass))

    @cached_property
    def fingerprint(self) -> str:
        """Of every datum, with its region and time, and of the times."""
        engine, equation = self.engine, self.parabolic
        parts = (
            engine.name, engine.degree, self._sampler.digests, mesh_digest(engine.mesh, equation.steady),
            equation.scheme, self.times.tolist(),
        )  # fmt: skip
        equations = dict.fromkeys(level.equation.fingerprint for level in self.levels)
        return hashlib.sha256((repr(parts) + "".join(equations)).encode()).hexdigest()


def _functions(data: Any) -> Iterator[Callable[..., Any]]:
    """All functions in data."""
    if callable(data):
        yield data
    elif isinstance(data, Mapping):
        for item in data.values():
            yield from _functions(item)
    elif isinstance(data, Stated):
        for item in vars(data).values():
            yield from _functions(item)
    elif isinstance(data, (list, tuple)):
        for item in data:
            yield from _functions(item)


def _merged(lengths: Array) -> Array:
    """Lengths that differ by rounding alone made equal, so that their steps share a matrix."""
    order = np.argsort(lengths)
    groups = np.cumsum(np.diff(lengths[order], prepend=lengths[order[0]]) > 1e-10 * lengths[order])
    merged = np.empty_like(lengths)
    merged[order] = lengths[order][np.searchsorted(groups, groups)]
    return merged
