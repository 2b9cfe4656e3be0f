"""Random problems with bounds to their continuous optima, and how far controls are from those on finer meshes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

import pdecontrol as pc
from pdecontrol.continuous.analysis import Analysis
from pdecontrol.continuous.samples import Whole, rule

QUADRATIC = pc.Embedded(degree=2)


def sample(mesh, cells=slice(None), order=2):
    """Points (2, k) of quadrature in some cells of a mesh, and their weights."""
    lam, weights = rule(2, order)
    places = np.einsum("qv,dvn->dnq", lam, mesh.points[:, mesh.cells[:, cells]])
    return places.reshape(2, -1), np.outer(mesh.volumes[cells], weights).ravel()


class Reference:
    """The optimum on a finer mesh with states of degree 2, and bounds on how far it is from the continuous one."""

    def __init__(self, problem, mesh):
        self.problem, self.mesh = problem, mesh
        self.result = pc.solve(problem, mesh, QUADRATIC, continuous=True)
        self.known = self.result.certificate.continuous
        on = problem.control.on
        self.cells = np.arange(mesh.cells.shape[1]) if on is None else mesh.part(on)
        self.points, self.weights = sample(mesh, self.cells)
        self.values = self.result.control(self.points)

    def distance(self, control):
        """||u - z|| for a function u and the control z of this mesh."""
        return float(np.sqrt(self.weights @ (control(self.points) - self.values) ** 2))

    @cached_property
    def _analysis(self):
        return Analysis(self.problem, self.mesh, 2)

    @property
    def lowest(self):
        """A number below a(v, v) / ||v||^2."""
        return self._analysis.estimator.lowest

    def states(self, control):
        """||S(u) - S(z)|| where the state is tracked, and J(u) - J(z), for a function u."""
        analysis, x = self._analysis, self.points
        galerkin, volumes = analysis.optimality.galerkin, analysis.statement.volumes
        u, z, q = control(x), self.values, self.result.control.function.adjoint(x)
        moments = Whole.of(self.cells, volumes, 2, 2).moments(u - z, volumes.size)
        y = galerkin.apply(galerkin.load(moments))
        square = y @ (analysis.optimality.weight @ y)
        tikhonov, l1 = self.problem.term(pc.Tikhonov), self.problem.term(pc.L1) or pc.L1(0.0)
        r = tikhonov.reference(x) if callable(tikhonov.reference) else tikhonov.reference
        costs = tikhonov.alpha / 2 * ((u - r) ** 2 - (z - r) ** 2) + l1.beta * (np.abs(u) - np.abs(z))
        return float(np.sqrt(square)), float(self.weights @ (costs + q * (u - z)) + square / 2)


@dataclass(frozen=True)
class Judgement:
    """A bound beside what a reference, of which there is another bound, says of the error."""

    words: str
    bound: float
    distance: float
    reference: float

    @property
    def violated(self) -> bool:
        return not self.distance <= self.bound + self.reference

    @property
    def ratio(self) -> float:
        """Of the bound to the error, as the reference tells it."""
        return self.bound / max(self.distance - self.reference, 1e-300)

    @property
    def informative(self) -> bool:
        """Whether the reference tells the error to a factor of 3."""
        return self.reference <= self.distance / 2


@dataclass(frozen=True)
class Domain:
    """Meshes by the number of cells a unit of length, a multiple of `step`, with parts "one" and "two"."""

    make: Callable[[int], pc.Mesh]
    step: int = 2
    corners: tuple[tuple[float, float], ...] = ()  # where solutions are singular

    def sizes(self, generator, count):
        """So many sizes up to 16."""
        return self.step * generator.integers(max(2, 4 // self.step), 16 // self.step + 1, count)

    def fine(self, n):
        """A mesh that is refined towards the corners."""
        mesh = self.make(n)
        for _ in range(8 if self.corners else 0):
            away = [np.abs(mesh.points - np.array(place)[:, None]).max(axis=0) for place in self.corners]
            mesh = mesh.bisect((np.min(away, axis=0) < 1e-9)[mesh.cells].any(axis=0))
        return mesh


# -- random problems -------------------------------------------------------------------------------------------------


def pick(generator, *items):
    return items[int(generator.integers(len(items)))]


def wave(generator, size):
    k, shift = generator.normal(size=2) * 3, generator.uniform(0, 6)
    return lambda x: size * np.cos(k @ x + shift)


def rough(generator, size):
    """A wave and a kink."""
    smooth, place = wave(generator, size), generator.uniform(0.3, 0.7)
    return lambda x: smooth(x) + size * np.abs(x[0] + x[1] / 2 - place)


def stripes(count):
    """The square with parts "one" and "two", in layers across the first axis."""

    def make(n):
        mesh = pc.unit_square(n)
        return mesh.tag_part("one", lambda x: np.floor(count * x[0]) % 2 == 0).tag_part(
            "two", lambda x: np.floor(count * x[0]) % 2 == 1
        )

    return make


def inclusion(n):
    """The square with a part "one" inside."""

    def inside(x):
        return np.abs(x - 0.5).max(axis=0) < 0.25

    return pc.unit_square(n).tag_part("one", inside).tag_part("two", lambda x: ~inside(x))


def corner(n):
    """The L-shaped domain, with a part "one" on its left and the whole boundary as "left"."""
    mesh = pc.l_shape(n // 2).tag_part("one", lambda x: x[0] < 0).tag_part("two", lambda x: x[0] > 0)
    return mesh.tag_boundary("left", lambda x: x[0] == -1).tag_boundary("right", lambda x: x[0] == 1)


def sheared(n):
    """A parallelogram."""
    return stripes(2)(n).transform(lambda x: np.stack([x[0] + 0.4 * x[1], 0.8 * x[1] - 0.2 * x[0]]))


def room(n):
    """The square with a square hole."""
    mesh = pc.unit_square(n)
    kept = np.abs(mesh.points[:, mesh.cells].mean(axis=1) - 0.5).max(axis=0) > 0.25
    used, cells = np.unique(mesh.cells[:, kept], return_inverse=True)
    mesh = pc.Mesh(mesh.points[:, used], cells.reshape(3, -1))
    mesh = mesh.tag_part("one", lambda x: x[0] < 0.5).tag_part("two", lambda x: x[0] > 0.5)
    return mesh.tag_boundary("left", lambda x: x[0] == 0).tag_boundary("right", lambda x: x[0] == 1)


HOLE = ((0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75))
DOMAINS = {
    "square": Domain(stripes(2)), "strips": Domain(stripes(4), 4), "inclusion": Domain(inclusion, 4, HOLE),
    "L": Domain(corner, 2, ((0.0, 0.0),)), "sheared": Domain(sheared), "room": Domain(room, 4, HOLE),
}  # fmt: skip
OFTEN = (*DOMAINS, "square", "square")


def moved(mesh, generator, share):
    """The mesh with vertices moved that are in the interior of a part."""
    edges = np.sort(np.concatenate([mesh.cells[[i, j]] for i, j in ((0, 1), (1, 2), (0, 2))], axis=1), axis=0)
    of_part = np.zeros(mesh.cells.shape[1], dtype=int)
    of_part[mesh.part("one")] = 1
    owners = np.tile(of_part, 3)
    still = np.zeros(mesh.points.shape[1], dtype=bool)
    still[mesh.facets("boundary")] = True
    for part in (0, 1):  # the edges of each part that are on its boundary
        columns, counts = np.unique(edges[:, owners == part], axis=1, return_counts=True)
        still[columns[:, counts == 1]] = True
    step = share * np.sqrt(mesh.volumes.min()) * generator.uniform(-1, 1, mesh.points.shape)
    return mesh.transform(lambda x: np.where(still, x, x + step))


def random_terms(generator, alpha):
    terms = [pc.Tikhonov(alpha, pick(generator, 0.0, 0.0, 0.0, 0.7, wave(generator, 1.0)))]
    size = 10.0 ** generator.uniform(-0.5, 1.5)
    if generator.random() < 0.5:
        terms.append(pc.L1(size * alpha * 10.0 ** generator.uniform(-1, 1)))
    bent = wave(generator, 0.4)
    boxes = [pc.Box(-size, size), pc.Box(-size, 2 * size), pc.Box(0.0, size), pc.Box(upper=size), pc.Box(lower=-size)]
    boxes.append(pc.Box(lambda x: size * (-1 + bent(x)), lambda x: size * (1 + bent(x))))
    if generator.random() < 0.8:
        terms.append(pick(generator, *boxes))
    return terms


def random_tracking(generator, boundary):
    """Some of what is tracked, with Linear terms."""
    target = pick(generator, wave, wave, wave, rough)(generator, 1.0)
    whole, part = pc.Tracking(target), pc.Tracking(wave(generator, 2.0), on="two", weight=3.0)
    tracking = pick(generator, whole, whole, part, [whole, part], pc.Tracking(wave(generator, 1.0), weight=0.1))
    functionals = [[], [], [pc.Linear(wave(generator, 0.3))], [pc.Linear(0.2, on="one")]]
    if boundary:
        functionals.append([pc.Linear(-0.1, on="right")])
    return tracking, pick(generator, *functionals)


def random_problem(generator):
    """A problem of the class that has bounds in the plane, its domain, and in words what is special about it."""
    domain = pick(generator, *OFTEN)
    condition = pick(generator, "Dirichlet", "Dirichlet", "Neumann", "mixed")
    diffusion = pick(generator, 1.0, 0.3, {"one": 1.0, "two": 10.0 ** generator.uniform(-1, 1.5)})
    reaction = pick(generator, 0.0, 0.0, 2.0, {"one": 1.0, "two": 5.0})
    if condition == "Neumann" and reaction == 0.0:
        reaction = 1.0
    boundary = {
        "Dirichlet": {"boundary": pc.Dirichlet(pick(generator, 0.0, 0.0, 0.5, lambda x: x[0] - x[1]))},
        "Neumann": {"left": pc.Neumann(0.3)},
        "mixed": {"left": pc.Dirichlet(0.2), "right": pc.Neumann(-0.4)},
    }[condition]
    equation = pc.Elliptic(diffusion, reaction, source=pick(generator, 0.0, 1.0, wave(generator, 3.0)))
    control = pick(generator, *[pc.Distributed(element=kind) for kind in ("P1", "P0", "variational")],
                   pc.Distributed(on="one"))  # fmt: skip
    alpha = 10.0 ** generator.uniform(-5, -1)
    tracking, functionals = random_tracking(generator, condition != "Dirichlet")
    terms = random_terms(generator, alpha) + functionals
    words = f"{domain}, {condition}, alpha {alpha:.0e}, diffusion {diffusion}, reaction {reaction}"
    return pc.ControlProblem(equation, control, tracking, terms, boundary), DOMAINS[domain], words


# -- bounds beside references ----------------------------------------------------------------------------------------


def judgements(generator, count=4, given=False):
    """Of so many meshes of a random problem, every other one with moved vertices; with a control that is given."""
    problem, domain, words = random_problem(generator)
    reference = Reference(problem, domain.fine(24))
    for number, n in enumerate(domain.sizes(generator, count)):
        mesh = moved(domain.make(int(n)), generator, 0.3) if number % 2 else domain.make(int(n))
        degree = 2 if number % 4 == 2 and n <= 12 else 1
        result = pc.solve(problem, mesh, pc.Embedded(degree=degree), continuous=True)
        known, distance = result.certificate.continuous, reference.distance(result.control)
        yield Judgement(f"{words}, n = {n}, P{degree}", known.bound, distance, reference.known.bound)
    if given:
        yield Judgement(f"{words}, states", *judged_states(result, reference))
        yield Judgement(f"{words}, gap", *judged_gap(result, reference))
        yield judged_given(problem, mesh, words, result, reference, generator)


def judged_states(result, reference):
    """The bound of the state; what the reference may err by has a hundredth for its own states."""
    distance, _ = reference.states(result.control)
    known = result.certificate.continuous
    return known.state_bound, distance, reference.known.state_bound + 0.01 * distance


def judged_gap(result, reference):
    """The gap, likewise."""
    apart, gap = reference.states(result.control)
    own, known = reference.known, result.certificate.continuous
    tracked = max(item.weight for item in reference.problem.tracking) ** 0.5 * own.state_bound
    adjoint = reference.problem.term(pc.Tikhonov).alpha * own.bound + tracked / reference.lowest
    return known.gap, gap, own.gap + adjoint * reference.distance(result.control) + 0.01 * apart**2


def judged_given(problem, mesh, words, result, reference, generator):
    """Of a control near to the optimum, as a function, an array, a number, or a field."""
    shift, scale = wave(generator, 0.02), 1.0 + 0.02 * generator.normal()
    map = pc.discretise(problem, mesh)
    number, field = float(generator.normal()), pc.Field(scale * result.control.array, map.control)
    given, function = {
        "function": (lambda x: scale * result.control(x) + shift(x),) * 2, "field": (field, field),
        "array": (field.array, field), "number": (number, lambda x: np.full(x.shape[1], number)),
    }[kind := pick(generator, "function", "field", "array", "number")]  # fmt: skip
    bound = pc.certify(problem, given, map, continuous=True).continuous.bound
    return Judgement(f"{words}, given {kind}", bound, reference.distance(function), reference.known.bound)
