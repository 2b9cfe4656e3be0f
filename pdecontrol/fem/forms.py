"""Forms of UFL that users give: what may be in them, and that they are residuals of equations."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any

import numpy as np

from ..arrays import Data, Indices, takes_time
from ..errors import MeshError, PdecontrolError, ProblemError
from ..layout import digest
from ..mesh.cells import number_columns
from ..problem import Weak
from . import compat
from .partition import Partition
from .regions import FacetRegion
from .sampler import Sampler

SCALAR = "the function takes (y, v, domain), where y and v are real and scalar, their gradients and domain.x vectors"


class Domain:
    """What the form of a `Weak` equation may use: coordinates, time, normal, measures by tag, and functions of x.

    `varies` is whether it has used anything that depends on time.
    """

    varies = False

    def __init__(self, states: Partition, sampler: Sampler) -> None:
        import ufl

        self._states, self._sampler = states, sampler
        self.x = ufl.SpatialCoordinate(states.domain)
        self.normal = ufl.FacetNormal(states.domain)
        self.mesh = states.domain

    @cached_property
    def t(self) -> Any:
        """The time, in parabolic equations."""
        from dolfinx import fem

        if self._sampler.time is None:
            raise ProblemError("Weak: there is no time, domain.t, as the equation is a steady one.")
        self.varies = True
        return fem.Constant(self._states.domain, float(self._sampler.time))

    @cached_property
    def dx(self) -> TaggedMeasure:
        """The measure of the domain; dx("inside") that of a part."""
        cells, members = np.arange(self._states.owned_cells), self._sampler.engine.members
        inside = {tag: np.isin(cells, members(tag)) for tag in self._states.mesh.parts}
        return TaggedMeasure("dx", self._states, cells, inside)

    @cached_property
    def ds(self) -> TaggedMeasure:
        """The measure of the boundary; ds("inlet") that of one of its parts."""
        mesh, region = self._states.mesh, FacetRegion(self._states, "boundary")
        boundary, inside = mesh.facets("boundary"), {}
        for tag in mesh.boundaries:
            _, numbers = number_columns(np.hstack([boundary, mesh.facets(tag)]))
            inside[tag] = np.isin(numbers[: boundary.shape[1]], numbers[boundary.shape[1] :])[region.numbers]
        return TaggedMeasure("ds", self._states, self._states.facet_numbers(region.cells, region.opposite), inside)

    def function(self, data: Data, name: str = "a function of Weak") -> Any:
        """The interpolant of a number, a function of x, or of (x, t), in the space of states."""
        from dolfinx import fem

        self.varies |= callable(data) and takes_time(data)

        values = self._sampler.at_nodes(data, np.arange(self._states.size), name)
        function = fem.Function(self._states.space)
        function.x.array[:] = self._states.spread(values)
        return function


class TaggedMeasure:
    """A measure of UFL that is called with tags of the mesh; tags may overlap."""

    def __init__(self, kind: str, states: Partition, entities: Indices, inside: dict[str, Indices]) -> None:
        import ufl
        from dolfinx.mesh import meshtags

        self._kind, self._tags = kind, list(inside)
        # Entities with the same tags have the same number, the bits of which are the tags.
        bits = np.zeros(entities.size, dtype=np.int64)
        for number, members in enumerate(inside.values()):
            bits |= members.astype(np.int64) << number
        self._classes = sorted({int(c) for part in states.group.collect(np.unique(bits)) for c in part})
        order, dim = np.argsort(entities), states.mesh.dim - (kind == "ds")
        values = np.searchsorted(self._classes, bits).astype(np.int32)[order] + 1
        self._markers = meshtags(states.domain, dim, entities[order].astype(np.int32), values)
        self._measure = ufl.Measure(kind, domain=states.domain, subdomain_data=self._markers)

    def __call__(self, tag: str | None = None, **options: Any) -> Any:
        if tag is None and self._kind == "dx":
            return self._measure(**options)
        tag = tag or "boundary"  # not the two sides of interfaces
        if tag not in self._tags:
            raise MeshError(f"{self._kind}: the mesh has no tag {tag!r} there; it has {self._tags}.")
        bit = 1 << self._tags.index(tag)
        numbers = tuple(i for i, c in enumerate(self._classes, start=1) if c & bit)
        if not numbers:
            raise MeshError(f"{self._kind}: the facets of {tag!r} are not on the boundary.")
        return self._measure(numbers, **options)

    def __rmul__(self, integrand: Any) -> Any:
        return integrand * self()


def soundly_integrated(form: Any, dim: int) -> Any:
    """The form with orders of quadrature on tetrahedra as `compat.sound_order` has them, where it names none itself."""
    if dim < 3:
        return form  # all rules are sound
    import ufl

    integrals = []
    for integral in ufl.algorithms.expand_derivatives(form).integrals():
        metadata = integral.metadata()
        if integral.integral_type() == "cell" and "quadrature_degree" not in metadata:
            order = int(ufl.algorithms.estimate_total_polynomial_degree(integral.integrand()))
            if not integral.ufl_domain().is_piecewise_linear_simplex_domain():
                order += dim  # of how cells with bent edges are stretched
            metadata = {**metadata, "quadrature_degree": compat.sound_order(dim, order)}
        integrals.append(integral.reconstruct(metadata=metadata))
    return type(form)(integrals)


def digest_of_data(form: Any, y: Any, states: Partition) -> str:
    """A digest of the constants and of the functions, but y, of a form."""
    arrays = [np.asarray(constant.value, dtype=float) for constant in form.constants()]
    for function in form.coefficients():
        if function is not y:
            array = np.asarray(function.x.array, dtype=float)
            space = function.function_space
            owned, block = space.dofmap.index_map.size_local, space.dofmap.index_map_bs
            try:
                places = space.tabulate_dof_coordinates()[:owned].T / states.mesh.diameter
            except RuntimeError:  # elements without points
                places = np.zeros((1, owned))
            # by place: the entries are numbered differently on other numbers of processes
            keys = np.round(places * 1e9).astype(np.int64)
            arrays.append(np.array(digest(states.group, keys, array[: owned * block].reshape(owned, block).T)))
    return "".join(map(repr, (array.tolist() for array in arrays)))


def scalar_residual(equation: Weak, y: Any, v: Any, domain: Domain) -> Any:
    """The form of an equation in y and v; raises ProblemError unless it is one that is linear in v alone."""
    from ufl.algorithms import expand_derivatives
    from ufl.algorithms.check_arities import ArityMismatch, check_form_arity
    from ufl.algorithms.remove_complex_nodes import remove_complex_nodes
    from ufl.core.expr import Expr
    from ufl.equation import Equation
    from ufl.form import Form

    with compat.quiet(logging.ERROR):
        try:
            form = equation.residual(y, v, domain)
        except PdecontrolError:
            raise
        except Exception as error:
            raise ProblemError(f"the form of Weak failed ({brief(error)}): {SCALAR}.") from error
        if isinstance(form, Expr):
            raise ProblemError("Weak: the function returns an integrand, no form: multiply it by domain.dx (or .ds).")
        if isinstance(form, Equation):
            raise ProblemError("Weak: the function returns an equation, left == right: return the form left - right.")
        if not isinstance(form, Form):
            raise ProblemError(f"Weak: the function must return a form of UFL, it returns {type(form).__name__}.")
        if form.empty():
            raise ProblemError("Weak: the function returns a form that is zero.")
        if any(integral.integral_type() not in ("cell", "exterior_facet") for integral in form.integrals()):
            raise ProblemError("Weak: the form has integrals over facets inside the domain: take domain.dx and .ds.")
        try:
            expanded = expand_derivatives(remove_complex_nodes(form))
            arguments = form.arguments()
        except Exception as error:
            kind = "has complex numbers" if "omplex" in str(error) else "makes no sense"
            raise ProblemError(f"the form of Weak {kind} ({brief(error)}): {SCALAR}.") from error
        if not arguments:
            raise ProblemError("Weak: the form lacks the test function v, in which it must be linear.")
        if arguments != (v,):
            raise ProblemError("Weak: the form has a trial function: the unknown is y, and v the only argument.")
        try:
            check_form_arity(expanded, arguments)
        except (Exception, ArityMismatch) as error:  # the latter is no Exception
            detail = f" ({brief(error)})" if isinstance(error, ArityMismatch) else ""
            raise ProblemError(
                f"Weak: the form must be linear in the test function v, which every term has once{detail}."
            ) from error
        if y not in form.coefficients():
            raise ProblemError("Weak: the form lacks the state y.")
    return form


def brief(error: BaseException) -> str:
    """An error on a line."""
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text[:150]}"
