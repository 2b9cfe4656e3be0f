"""Two equations that the package does not have, each one class and one entry in the list of equations."""

from dataclasses import dataclass

import numpy as np

import pdecontrol as pc
from pdecontrol.fem.engine import Integral, advection, diffusion, mass
from pdecontrol.fem.equations import EQUATIONS, StateEquation


@dataclass(frozen=True, eq=False, repr=False)
class Viscous(pc.Elliptic):
    """-nu y'' + y y' = f + control."""


@dataclass(frozen=True, eq=False, repr=False)
class Bilinear(pc.Elliptic):
    """-div(kappa grad y) + u y = f, with a control u that is constant on cells."""


class Burgers(StateEquation):
    """(nu y', v') + (y y', v) = (f, v) + (C u, v)."""

    affine, definite, fingerprint = None, False, "burgers"

    def __init__(self, equation, sampler, natural, coupling):
        self.engine, self.cells, self.coupling = sampler.engine, sampler.engine.cells, coupling
        viscosity = sampler.on_cells(equation.diffusion, "diffusion", None)
        self.terms = [Integral(diffusion, self.cells, viscosity), *natural.terms]
        self.linear = self.engine.matrix(self.terms)
        self.load = natural.load + self.cells.functional(sampler.on_cells(equation.source, "source", 0.0))

    def residual(self, y, u):
        (slope,) = self.cells.gradients(y)
        return (
            self.linear @ y + self.cells.functional(self.cells.values(y) * slope) - self.load - self.coupling.apply(u)
        )

    def jacobian(self, y, u, shift=0.0):
        carried = Integral(advection, self.cells, self.cells.values(y)[None])
        return self.engine.matrix(
            [*self.terms, carried, Integral(mass, self.cells, self.cells.gradients(y)[0] + shift)]
        )

    def second(self, y, u, p, eta, h):
        """((eta v)', p) = int eta' p v + eta p v'."""
        p, eta, slope = self.cells.values(p), self.cells.values(eta), self.cells.gradients(eta)
        return self.cells.functional(slope[0] * p, flux=(eta * p)[None]), self.coupling.space.zeros()


class BilinearControl(StateEquation):
    """(kappa grad y, grad v) + (u y, v) = (f, v): the coupling knows y, the matrix u, and second derivatives mix."""

    affine, definite, fingerprint = None, False, "bilinear"

    def __init__(self, equation, sampler, natural, coupling):
        self.engine, self.cells, self.coupling = sampler.engine, sampler.engine.cells, coupling
        kappa = sampler.on_cells(equation.diffusion, "diffusion", None)
        self.terms = [Integral(diffusion, self.cells, kappa), *natural.terms]
        self.load = natural.load + self.cells.functional(sampler.on_cells(equation.source, "source", 0.0))

    def weight(self, u):
        return np.broadcast_to(u[:, None], (self.cells.count, self.cells.quadrature))

    def means(self, values):
        """M_u^-1 times the integrals over the cells."""
        return values @ self.engine.basis.dx[0] / self.engine.basis.dx[0].sum()

    def residual(self, y, u):
        return self.jacobian(y, u) @ y - self.load

    def jacobian(self, y, u, shift=0.0):
        return self.engine.matrix([*self.terms, Integral(mass, self.cells, self.weight(u) + shift)])

    def couple(self, y, u, h):
        return -self.cells.functional(self.weight(h) * self.cells.values(y))

    def couple_transposed(self, y, u, p):
        return -self.means(self.cells.values(y) * self.cells.values(p))

    def second(self, y, u, p, eta, h):
        p, eta = self.cells.values(p), self.cells.values(eta)
        return self.cells.functional(self.weight(h) * p), self.means(eta * p)


EQUATIONS[Viscous], EQUATIONS[Bilinear] = Burgers, BilinearControl
