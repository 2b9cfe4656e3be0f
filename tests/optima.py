"""Optima of discrete problems at small Tikhonov weights with 64-bit mantissas, by sparse factors, and such problems."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

import pdecontrol as pc
from pdecontrol.terms import Quadratic, bind

Long = np.longdouble


def long_matrix(matrix):
    """A sparse matrix, or a diagonal, in extended precision."""
    return sp.csr_matrix(sp.diags(matrix) if getattr(matrix, "ndim", 2) == 1 else matrix).astype(Long)


def equation_matrix(equation, initial, zero):
    """A with the row sums that are known better than by its entries: rounding of the diagonal hides them."""
    matrix = long_matrix(equation.jacobian(initial, zero))
    if equation.affine.row_sums is None:
        return matrix
    excess = equation.affine.row_sums[0].astype(Long) - matrix @ np.ones(initial.size, Long)
    return sp.csr_matrix(matrix + sp.diags(excess))


class Optimality:
    """The optimality system of an affine problem on the embedded engine, its assembled matrices taken as exact:

        A x = b + C u,   A' lam = Q x - g,   u = argmin G + <C' lam / m, .>,   x the free entries of the state.
    """  # fmt: skip

    def __init__(self, problem, map):
        system = map.system
        objective, lifting = bind(problem, map), system.lifting
        self.control, self.mass = objective.control, map.control.mass.astype(Long)
        initial, zero, free = lifting.initial(), map.control.zeros(), lifting.free
        matrix = equation_matrix(system.equation, initial, zero)
        coupling = system.equation.coupling._matrix
        self.A, self.C = matrix[free][:, free], long_matrix(getattr(coupling, "_rows", coupling))[free]
        load = -system.equation.residual(0 * initial, zero).astype(Long)
        self.b = (load - matrix @ initial.astype(Long))[free]
        self.Q, self.g = 0 * self.A, np.zeros(free.size, Long)
        for part, functional in zip(system.observation._parts, objective.state.functionals, strict=True):
            O, M = long_matrix(part.matrix._rows if part.gram is None else part.matrix), long_matrix(part.space.mass)
            if isinstance(functional, Quadratic):
                self.Q = self.Q + (O @ M @ O.T)[free][:, free]
                self.g += (O @ (M @ (functional.target - O.T @ initial.astype(Long))))[free]
            else:
                self.g -= (O @ (M @ np.ones(part.space.size, Long)))[free]

    def norm(self, u):
        return float(np.sqrt(np.sum(self.mass * u**2)))

    def optimum(self, u):
        """u* by active sets from those of u, and how far it is from a fixed point; None where they do not repeat."""
        lower, upper, beta = self.control.lower, self.control.upper, self.control.beta
        solved, before = u, None
        for _ in range(40):
            inactive = (u > lower) & (u < upper) & ((u != 0) | (beta == 0))
            signs = np.sign(u) * (inactive & (beta > 0))
            sets = (inactive.tobytes(), signs.astype(float).tobytes(), u[~inactive].astype(float).tobytes())
            if sets == before:
                return solved, self.norm(solved - u)
            solved, adjoint = self._with_sets(inactive, signs, np.where(inactive, 0, u))
            u, before = self.control.argmin(self.C.T @ adjoint / self.mass), sets
        return None

    def _with_sets(self, inactive, signs, fixed):
        """u and lam where u is fixed but for its inactive entries, in lam/s, s u and x, s^2 = alpha."""
        cost, s, n = self.control, np.sqrt(Long(self.control.alpha)), self.b.size
        C, m = self.C[:, inactive], self.mass[inactive]
        wanted = m * (cost.alpha * cost.reference - cost.beta * signs)[inactive] / s
        K = sp.bmat([[-self.Q, s * self.A.T, None], [s * self.A, None, -C], [None, -C.T, -sp.diags(m)]], format="csr")
        right = np.concatenate([-self.g, s * (self.b + self.C @ fixed), -wanted])
        x = refined(K, right)
        u = fixed.astype(Long)
        u[inactive] = x[2 * n :] / s
        return u, s * x[n : 2 * n]


def refined(K, b):
    """K^-1 b by factors in double precision and residuals in extended one."""
    factors, x, least = splu(sp.csc_matrix(K.astype(float))), np.zeros(b.size, Long), np.inf
    for _ in range(40):
        r = b - K @ x
        size = np.abs(r).max()
        if not 0 < size < 0.5 * least:
            return x
        x, least = x + size * factors.solve((r / size).astype(float)), size
    return x


# -- random problems --------------------------------------------------------------------------------------------------


def wave(generator, dim, size):
    k, shift = 3 * generator.normal(size=dim), generator.uniform(0, 6)
    return lambda x: size * np.cos(k @ x + shift)


def jumping(generator, dim):
    """What no state is: a wave and a jump."""
    smooth, place = wave(generator, dim, 1.0), generator.uniform(0.3, 0.7)
    return lambda x: smooth(x) + (x[0] > place)


def pick(generator, *items):
    return items[int(generator.integers(len(items)))]


def random_mesh(generator, dim, degree, size):
    n = [(60, 200), (8, 24), (3, 8)][dim - 1]
    cells = max(2, int(size * generator.integers(*n)) // degree)
    mesh = (pc.unit_interval, pc.unit_square, pc.unit_cube)[dim - 1](cells)
    return mesh.tag_part("one", lambda x: x[0] < 0.5).tag_part("two", lambda x: x[0] >= 0.5)


def random_observations(generator, dim, kind):
    inner = generator.uniform(0.2, 0.8, (dim, int(generator.integers(1, 12))))
    points = pc.Tracking(generator.normal(size=inner.shape[1]), points=inner, weight=10.0 ** generator.uniform(-3, 0))
    whole, part = pc.Tracking(jumping(generator, dim)), pc.Tracking(wave(generator, dim, 2.0), on="two", weight=3.0)
    edge = pc.Tracking(wave(generator, dim, 1.0), on="right")
    if kind == "points":
        return points
    return pick(generator, whole, whole, part, [whole, part], [whole, points], [part, edge, points])


def random_terms(generator, dim, numbers):
    reference = pick(generator, 0.0, 0.0, 0.7, wave(generator, dim, 1.0))
    terms = [pc.Tikhonov(1.0, reference=0.0 if numbers else reference)]
    if generator.random() < 0.4:
        terms.append(pc.L1(10.0 ** generator.uniform(-5, -2.5)))
    size, bent = 10.0 ** generator.uniform(-0.5, 1.5), wave(generator, dim, 0.4)
    boxes = [pc.Box(-size, size), pc.Box(-size, 2 * size), pc.Box(upper=size), pc.Box(lower=-size)]
    if not numbers:
        boxes.append(pc.Box(lambda x: size * (-1 + bent(x)), lambda x: size * (1 + bent(x))))
    if generator.random() < 0.8:
        terms.append(pick(generator, *boxes))
    return terms


def random_problem(generator, size=1.0):
    """A problem with alpha = 1, its mesh, its degree, and in words what is special about it."""
    dim, degree = int(generator.integers(1, 4)), int(generator.random() < 0.2) + 1
    mesh = random_mesh(generator, dim, degree, size)
    diffusion = pick(generator, 1.0, 0.1, {"one": 1.0, "two": 10.0 ** generator.uniform(-2, 3)})
    advection = generator.normal(size=dim) if generator.random() < 0.2 else None
    condition = pick(generator, "Dirichlet", "Dirichlet", "mixed", "Robin", "Neumann")
    least = 1.0 if condition == "Neumann" else 0.0
    equation = pc.Elliptic(
        diffusion, least + pick(generator, 0.0, 1.0, 5.0), advection, pick(generator, 0.0, wave(generator, dim, 3.0))
    )
    boundary = {
        "Dirichlet": {"boundary": pc.Dirichlet(pick(generator, 0.0, wave(generator, dim, 1.0)))},
        "mixed": {"left": pc.Dirichlet(1.0)},
        "Robin": {"boundary": pc.Robin(10.0 ** generator.uniform(-1, 1), wave(generator, dim, 1.0))},
        "Neumann": {},
    }[condition]
    shapes = [lambda x, i=i: (np.floor(5 * x[0]) == i) * 1.0 for i in range(5)]
    controls = {
        "P1": pc.Distributed(), "P0": pc.Distributed(element="P0"), "part": pc.Distributed("one"),
        "variational": pc.Distributed(element="variational"), "actuators": pc.Actuators(shapes),
    }  # fmt: skip
    if condition != "Dirichlet":
        controls |= {"boundary": pc.Boundary("right"), "boundary P0": pc.Boundary("right", "P0")}
    control = pick(generator, *controls, "P1", list(controls)[-1])
    seen = pick(generator, "functions", "functions", "functions", "points")
    tracking = random_observations(generator, dim, seen)
    terms = random_terms(generator, dim, control == "actuators")
    problem = pc.ControlProblem(equation, controls[control], tracking, terms, boundary)
    words = [f"{dim}D P{degree}", condition, control, seen, "advection" * (advection is not None)]
    return problem, mesh, degree, " ".join(words).strip()
