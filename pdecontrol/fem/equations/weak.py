"""Equations given by forms of UFL, with derivatives by UFL, on the distributed engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...arrays import Array
from ...errors import ProblemError
from ...linear.matrix import SharedMatrix
from ...problem import Weak
from .. import compat
from ..conditions import Natural
from ..control import Coupling
from ..dolfinx import DolfinxEngine
from ..engine import constant_mass
from ..forms import Domain, brief, digest_of_data, scalar_residual, soundly_integrated
from ..sampler import Sampler
from .equation import Affine, StateEquation


class WeakEquation(StateEquation):
    """F(y; v) = (control, v) for all v, with natural conditions: e(y, u) = F(y) + B y - g - C u, derivatives by UFL."""

    def __init__(self, equation: Weak, sampler: Sampler, natural: Natural, coupling: Coupling) -> None:
        if not isinstance(sampler.engine, DolfinxEngine):
            raise ProblemError("an equation given by a form (Weak) needs backend='dolfinx'.")
        import ufl
        from dolfinx import fem

        self._engine, self._states, self._natural = sampler.engine, sampler.engine.states, natural
        space, self.coupling = self._states.space, coupling
        self._y, self._p, self._eta = (fem.Function(space) for _ in range(3))
        v = ufl.TestFunction(space)
        domain = Domain(self._states, sampler)
        residual = scalar_residual(equation, self._y, v, domain)
        self.varies = domain.varies
        residual = soundly_integrated(residual, self._engine.mesh.dim)
        jacobian = ufl.derivative(residual, self._y, ufl.TrialFunction(space))
        affine = self._y not in ufl.algorithms.expand_derivatives(jacobian).coefficients()
        second = ufl.derivative(ufl.derivative(ufl.replace(residual, {v: self._p}), self._y, self._eta), self._y, v)
        # The signature of a form leaves out the values of constants and functions in it.
        self.fingerprint = residual.signature() + digest_of_data(residual, self._y, self._states)
        try:
            self._residual, self._jacobian = compat.form(residual), compat.form(jacobian)
            self._second = None if affine else compat.form(second)
        except Exception as error:
            raise ProblemError(f"the form of Weak cannot be compiled ({brief(error)}).") from error
        self._robin = self._engine.matrix(natural.terms) if natural.terms else None
        self.definite, self.affine = equation.definite, None
        if affine:
            sizes = np.abs(self._assemble(self._residual, 0.0 * natural.load)) + natural.sizes
            self.affine = Affine(sizes, equation.definite)

    def residual(self, y: Array, u: Array) -> Array:
        result = self._assemble(self._residual, y) - self._natural.load
        if self._robin is not None:
            result += self._robin @ y
        return result - self.coupling.apply(u)

    def jacobian(self, y: Array, u: Array, shift: float = 0.0) -> SharedMatrix:
        self._set(self._y, y)
        terms = [*self._natural.terms, *([constant_mass(self._engine.cells, shift)] if shift else [])]
        matrix = self._engine.matrix(terms, form=self._jacobian)
        if self.definite:
            self._refuse_unsymmetric(matrix)
        return matrix

    def second(self, y: Array, u: Array, p: Array, eta: Array, h: Array) -> tuple[Array, Array]:
        self._set(self._p, p)
        self._set(self._eta, eta)
        return self._assemble(self._second, y), self.coupling.space.zeros()

    def _set(self, function: Any, array: Array) -> None:
        function.x.array[:] = self._states.spread(array)

    def _assemble(self, form: Any, y: Array) -> Array:
        """The values of a linear form at the state y."""
        from dolfinx import fem

        self._set(self._y, y)
        return self._states.gathered(np.array(fem.assemble_vector(form).array[: self._states.halo.numbers.size]))

    def _refuse_unsymmetric(self, matrix: SharedMatrix) -> None:
        """Compare <A x, z> with <x, A z> for two rough functions of the coordinates."""
        nodes, total = self._engine.nodes / self._engine.mesh.diameter, self._engine.group.sum
        x, z = (np.sin(1e3 * (k + nodes.sum(axis=0) + k * nodes[0])) for k in (1.0, 2.0))
        one, other = total(np.einsum("i,i->", matrix @ x, z)), total(np.einsum("i,i->", x, matrix @ z))
        scale = total(np.einsum("i,i->", abs(matrix.local).sum(axis=1).A1, np.abs(x)))
        if abs(one - other) > 1e-10 * scale:
            raise ProblemError("Weak(definite=True): the derivative of the form is not symmetric; leave definite out.")
