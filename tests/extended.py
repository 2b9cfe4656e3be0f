"""Optima of small discrete problems in extended precision, from the matrices that a map has assembled."""

import numpy as np
import scipy.sparse as sp

import pdecontrol as pc
from pdecontrol.terms import Quadratic, bind

Long = np.longdouble


def eliminate(a, b):
    """a^-1 b for dense arrays by Gaussian elimination with partial pivoting, in the precision of the arrays."""
    a, b = a.copy(), b.copy()
    n = len(a)
    for k in range(n):
        pivot = k + int(np.argmax(np.abs(a[k:, k])))
        if pivot != k:
            a[[k, pivot]], b[[k, pivot]] = a[[pivot, k]], b[[pivot, k]]
        factors = a[k + 1 :, k] / a[k, k]
        a[k + 1 :, k:] -= factors[:, None] * a[k, k:]
        b[k + 1 :] -= factors[:, None] * b[k]
    for k in range(n - 1, -1, -1):
        b[k] = (b[k] - a[k, k + 1 :] @ b[k + 1 :]) / a[k, k]
    return b


def dense(matrix):
    return (matrix.toarray() if sp.issparse(matrix) else np.asarray(matrix)).astype(Long)


def free_entries(map):
    """The numbers of the entries of a state that carry no Dirichlet value."""
    return map.system.restrict(np.arange(map.solution.size))


def free_matrix(map):
    """The matrix of an affine equation on these entries, dense."""
    free = free_entries(map)
    return map.system.equation.matrix(map.system.initial()).toarray()[np.ix_(free, free)]


def solve(matrix, sums, b):
    """The solution with the row sums given, refined by residuals in differences: stiff parts lose digits otherwise."""
    x = eliminate(matrix, b)
    for _ in range(2):
        product = np.stack([row @ (x - x[i]) + sums[i] * x[i] for i, row in enumerate(matrix)])
        x = x + eliminate(matrix, b - product)
    return x


class Extended:
    """y = constant + matrix u and the optimality system of a problem on the embedded engine, in extended precision.

    The assembled matrices, the target and the bounds are taken as exact, but for the diagonal of the equation:
    diffusion and advection annihilate constants, which rounding of the diagonal hides.
    """

    def __init__(self, problem, map):
        system = map.system
        self.objective = bind(problem, map)
        free, initial, zero = system.lifting.free, system.lifting.initial(), map.control.zeros()
        equation, y = system.equation, initial.astype(Long)
        linear, sums = dense(equation.jacobian(initial, zero)), equation.affine.row_sums[0].astype(Long)
        linear += np.diag(sums - linear.sum(axis=1))
        fixed = np.setdiff1d(np.arange(len(linear)), free)
        sums = sums - linear[:, fixed].sum(axis=1)
        columns = [equation.couple(initial, zero, h) for h in np.eye(zero.size)]
        coupling = np.stack(columns, axis=1).astype(Long)
        observation = np.stack([system.observation.apply(e) for e in np.eye(initial.size)], axis=1).astype(Long)
        load = -equation.residual(0 * initial, zero).astype(Long) - linear @ y
        solutions = solve(linear[np.ix_(free, free)], sums[free], np.column_stack([load, coupling])[free])
        self.constant = observation @ y + observation[:, free] @ solutions[:, 0]
        self.matrix = observation[:, free] @ solutions[:, 1:]
        self.observation = np.zeros((len(observation),) * 2, dtype=Long)  # the inner product, tracked components alone
        start = 0
        for factor in map.observation.factors:
            end = start + factor.size
            self.observation[start:end, start:end] = np.diag(factor.mass) if factor.diagonal else dense(factor.mass)
            start = end
        self.control = map.control.mass.astype(Long)
        parts = [(f, np.zeros(f.space.size)) for f in self.objective.state.functionals]
        self.target = np.concatenate([getattr(f, "target", zero) for f, zero in parts])
        tracked = np.concatenate([zero + isinstance(f, Quadratic) for f, zero in parts])
        self.quadratic = self.observation * np.outer(tracked, tracked)
        self.linear = (1 - tracked).astype(Long)

    def norm(self, a):
        return float(np.sqrt(np.sum(self.control * np.asarray(a, dtype=Long) ** 2)))

    def state(self, u):
        return self.constant + self.matrix @ u

    def value(self, u):
        """J(u), all in extended precision."""
        u = np.asarray(u, dtype=Long)
        c, y = self.objective.control, self.state(u)
        misfit = y - self.target
        integrand = Long(0.5) * c.alpha * (u - c.reference) ** 2 + c.beta * np.abs(u)
        return Long(0.5) * misfit @ self.quadratic @ misfit + self.linear @ y + np.sum(self.control * integrand)

    def terms(self, u):
        """The sum of the sizes of the terms of J(u), for its rounding."""
        size = np.abs(self.constant) + np.abs(self.matrix) @ np.abs(u)
        misfit = np.abs(self.state(u) - self.target)
        return float(np.abs(self.value(u)) + np.abs(self.linear) @ size + size @ np.abs(self.quadratic) @ misfit)

    def gradient(self, u):
        """q = S*(F'(S(u)))."""
        dual = self.quadratic @ (self.state(u) - self.target) + self.linear
        return (self.matrix.T @ dual) / self.control

    def optimum(self, u):
        """u* for alpha > 0, by active sets from u, which is near; None where they do not come to rest."""
        c = self.objective.control
        hessian = c.alpha * np.diag(self.control) + self.matrix.T @ self.quadratic @ self.matrix
        zero = np.zeros(len(self.control), dtype=Long)
        lower, upper, reference = (zero + np.asarray(a, dtype=Long) for a in (c.lower, c.upper, c.reference))
        constant = self.control * (self.gradient(zero) - c.alpha * reference)
        u, before = np.asarray(u, dtype=Long), None
        for _ in range(60):
            mu = -(self.gradient(u) - c.alpha * reference)  # argmin is that of alpha/2 u^2 + beta |u| - mu u
            z = np.clip(np.sign(mu) * np.maximum(np.abs(mu) - c.beta, 0) / c.alpha, lower, upper)
            free = (np.abs(mu) > c.beta if c.beta > 0 else True) & (z > lower) & (z < upper)
            signs = np.where(free & (c.beta > 0), np.sign(mu), 0)
            sets = (free.tobytes(), signs.astype(float).tobytes(), z[~free].astype(float).tobytes())
            if sets == before:
                return u
            before, u = sets, np.where(free, zero, z)
            if free.any():
                right = -(constant + hessian @ u + c.beta * self.control * signs)[free]
                u[free] = eliminate(hessian[np.ix_(free, free)], right[:, None])[:, 0]
        return None

    def allowance(self, optimum):
        """What the optimum itself may err by."""
        c = self.objective.control
        mu = c.alpha * c.reference - self.gradient(optimum)
        z = np.clip(np.sign(mu) * np.maximum(np.abs(mu) - c.beta, 0) / c.alpha, c.lower, c.upper)
        return self.norm(z - optimum) + 1e-18 * self.norm(optimum)


def judged(problem, mesh, degree, generator):
    """The result for a random tolerance, and errors, bounds, excesses of the objective and gaps of two controls.

    The controls are the answer and one near to it. Errors and excesses are less what the optimum may err by; without
    alpha there is no error, and the better control stands for the optimum. None where the optimum is not found.
    """
    map = pc.discretise(problem, mesh, pc.Embedded(degree=degree))
    extended, tol = Extended(problem, map), 10.0 ** generator.uniform(-13, -4)
    result = pc.minimise(problem, map, tol=tol, max_solves=300)
    u, cost = result.control.array, extended.objective.control
    near = u + 10.0 ** generator.uniform(-12, 0) * generator.standard_normal(u.size)
    near = np.clip(near, cost.lower, cost.upper)
    controls, certificates = (u, near), (result.certificate, pc.certify(problem, near, map))
    optimum = extended.optimum(u) if cost.alpha > 0 else min(controls, key=extended.value)
    if optimum is None:
        return None
    pairs = []
    for control, certificate in zip(controls, certificates, strict=True):
        excess = extended.value(control) - extended.value(optimum) - 1e-17 * extended.terms(control)
        error = extended.norm(control - optimum) - extended.allowance(optimum) if cost.alpha > 0 else 0.0
        pairs.append((error, certificate.bound, excess, certificate.gap))
    return result, pairs


def random_problem(generator):
    """A small problem of any kind, with its mesh and the degree of the state."""
    dim = int(generator.integers(1, 4))
    shapes, most = (pc.unit_interval, pc.unit_square, pc.unit_cube), (16, 6, 3)
    mesh = shapes[dim - 1](int(generator.integers(min(3, most[dim - 1] - 1), most[dim - 1])))
    if generator.random() < 0.5:
        shift, size = generator.normal(size=(dim, 1)), np.exp(generator.normal(size=(dim, 1)))
        mesh = mesh.transform(lambda x: size * x + 3 * shift)
    middle = mesh.points[0].mean()
    mesh = mesh.tag_part("one", lambda x: x[0] < middle).tag_part("two", lambda x: x[0] >= middle)
    contrast = 10.0 ** (generator.uniform(0, 9) * generator.integers(0, 2))
    wave = _wave(generator, dim)
    reaction = generator.choice([0.0, 1.0, 10.0 ** generator.uniform(-6, 2)])
    advection = 0.2 * generator.normal(size=dim) if generator.random() < 0.3 else None
    equation = pc.Elliptic(
        {"one": 1.0, "two": contrast}, reaction, advection, wave if generator.random() < 0.5 else 0.0
    )
    condition = generator.choice(3)
    boundary = [
        {"boundary": pc.Dirichlet(_wave(generator, dim))},
        {"boundary": pc.Robin(10.0 ** generator.uniform(-4, 1), wave)},
        {"left": pc.Dirichlet(1.0)},
    ][condition]
    controls = [pc.Distributed(), pc.Distributed("one"), pc.Distributed(element="P0"), pc.Actuators([1.0, wave])]
    if condition != 0:
        controls.append(pc.Boundary("right"))
    weights = 10.0 ** generator.uniform(-2, 2, 3)
    tracking = [pc.Tracking(_wave(generator, dim), weight=weights[0])]
    if generator.random() < 0.4:
        tracking.append(pc.Tracking(1.0, on="two", weight=weights[1]))
    if generator.random() < 0.3:
        tracking.append(pc.Tracking(0.3, points=mesh.points[:, mesh.cells].mean(axis=1)[:, :2], weight=weights[2]))
    alpha = 10.0 ** generator.uniform(-7, 1) if generator.random() < 0.9 else 0.0
    terms = [pc.Tikhonov(alpha, reference=generator.choice([0.0, 0.5]))]
    terms += [pc.L1(alpha * generator.uniform(0, 1))] if generator.random() < 0.5 else []
    terms += (
        [pc.Box(-generator.uniform(0, 2), generator.uniform(0.1, 3))] if alpha == 0 or generator.random() < 0.5 else []
    )
    terms += [pc.Linear(wave)] if generator.random() < 0.3 else []
    control = controls[int(generator.integers(len(controls)))]
    return pc.ControlProblem(equation, control, tracking, terms, boundary), mesh, int(generator.integers(1, 3))


def _wave(generator, dim):
    k, shift, size = generator.normal(size=dim) * 3, generator.uniform(0, 6), 10.0 ** generator.uniform(-2, 2)
    return lambda x: size * np.cos(k @ x + shift)
