"""An equation that the package does not have: one class and one entry in the list of equations."""

from dataclasses import dataclass

import pdecontrol as pc
from pdecontrol.fem.engine import Integral, advection, constant_mass, diffusion
from pdecontrol.fem.equations import EQUATIONS, StateEquation


@dataclass(frozen=True, eq=False, repr=False)
class HamiltonJacobi(pc.Elliptic):
    """-div(nu grad y) + |grad y|^2 / 2 = f + control."""


class ViscousHamiltonJacobi(StateEquation):
    """(nu grad y, grad v) + (|grad y|^2 / 2, v) = (f, v) + (C u, v)."""

    affine, definite, fingerprint = None, False, "Hamilton-Jacobi"

    def __init__(self, equation, sampler, natural, coupling):
        self.engine, self.cells, self.coupling = sampler.engine, sampler.engine.cells, coupling
        viscosity = sampler.on_cells(equation.diffusion, "diffusion", None)
        self.terms = [Integral(diffusion, self.cells, viscosity), *natural.terms]
        self.linear = self.engine.matrix(self.terms)
        self.load = natural.load + self.cells.functional(sampler.on_cells(equation.source, "source", 0.0))

    def residual(self, y, u):
        steepness = (self.cells.gradients(y) ** 2).sum(axis=0) / 2
        return self.linear @ y + self.cells.functional(steepness) - self.load - self.coupling.apply(u)

    def jacobian(self, y, u, shift=0.0):
        more = [Integral(advection, self.cells, self.cells.gradients(y)), constant_mass(self.cells, shift)]
        return self.engine.matrix([*self.terms, *more])

    def second(self, y, u, p, eta, h):
        """(grad eta . grad v, p)."""
        flux = self.cells.values(p) * self.cells.gradients(eta)
        return self.cells.functional(0.0 * flux[0], flux), self.coupling.space.zeros()


EQUATIONS[HamiltonJacobi] = ViscousHamiltonJacobi
