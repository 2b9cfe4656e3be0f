"""Boundary conditions: Dirichlet values, which are lifted, and natural ones, which add to the equation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ..arrays import Array
from ..errors import ProblemError
from ..problem import Condition, Dirichlet, Neumann
from .engine import Region, Term, mass
from .sampler import Sampler


class Lifting:
    """y = y_D + what is free: the Dirichlet values, and the entries of states that carry none.

    Of conditions that share a node the later one has it.
    """

    def __init__(self, conditions: Mapping[str, Condition], sampler: Sampler) -> None:
        size = sampler.engine.size
        self.fixed, self._values = np.zeros(size, dtype=bool), np.zeros(size)
        for tag, condition in conditions.items():
            if isinstance(condition, Dirichlet):
                dofs = sampler.tags.boundary(tag, "boundary").dofs()
                self.fixed[dofs] = True
                self._values[dofs] = sampler.at_nodes(condition.value, dofs, f"Dirichlet value on {tag!r}")
        self.free = np.flatnonzero(~self.fixed)
        if not sampler.engine.group.any(bool(self.free.size)):
            raise ProblemError("every node carries a Dirichlet value, nothing is left to solve for: refine the mesh.")

    def initial(self) -> Array:
        """y_D: zero with the Dirichlet values."""
        return self._values.copy()

    def extend(self, free: Array) -> Array:
        """The state with the free entries given, and zeros on the fixed ones."""
        y = np.zeros(self.fixed.size)
        y[self.free] = free
        return y

    def restrict(self, functional: Array) -> Array:
        """The free entries: the transpose of `extend`."""
        return functional[self.free]


class Natural(NamedTuple):
    """What Neumann and Robin conditions add to an equation.

    Attributes
    ----------
    terms : the forms int c y v of Robin coefficients.
    load : the functional int g v.
    sizes : the sizes of its terms, entry by entry, however much of them cancels.
    """

    terms: list[Term]
    load: Array
    sizes: Array


def natural_conditions(conditions: Mapping[str, Condition], sampler: Sampler) -> Natural:
    """kappa dy/dn + c y = g on the parts with Neumann (c = 0) and Robin conditions."""
    terms, load, sizes = [], np.zeros(sampler.engine.size), np.zeros(sampler.engine.size)
    for tag, condition in conditions.items():
        if isinstance(condition, Dirichlet):
            continue
        region = sampler.tags.boundary(tag, "boundary")
        if isinstance(condition, Neumann):
            values = sampler(condition.flux, region, f"Neumann flux on {tag!r}")
        else:
            coefficient = sampler(condition.coefficient, region, f"Robin coefficient on {tag!r}")
            _refuse_negative(coefficient, region, f"Robin coefficient on {tag!r}", sampler)
            terms.append(Term(mass, region, coefficient))
            values = sampler(condition.value, region, f"Robin value on {tag!r}")
        load += region.functional(values)
        sizes += region.functional(np.abs(values))
    return Natural(terms, load, sizes)


def _refuse_negative(coefficient: Array, region: Region, name: str, sampler: Sampler) -> None:
    with sampler.engine.group.agree():
        if np.any(coefficient < 0):
            raise ProblemError(f"the {name} must not be negative, its least value is {coefficient.min():.6g}.")
