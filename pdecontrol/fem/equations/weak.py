"""Equations given by forms of UFL, with derivatives by UFL, on the distributed engine."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ...arrays import Array, Data, Indices
from ...errors import MeshError, PdecontrolError, ProblemError
from ...layout import digest
from ...linear.matrix import SharedMatrix
from ...mesh.cells import number_columns
from ...problem import Weak
from .. import compat
from ..engine import Region
from ..sampler import Sampler
from .elliptic import Load

if TYPE_CHECKING:
    from ..dolfinx import DolfinxEngine


SCALAR = "the function takes (y, v, domain), where y and v are real and scalar, their gradients and domain.x vectors"


class Domain:
    """What the form of a `Weak` equation may use: coordinates, normal, measures by tag, and functions of x."""

    def __init__(self, engine: DolfinxEngine, sampler: Sampler) -> None:
        import ufl

        self._engine, self._sampler = engine, sampler
        self.x = ufl.SpatialCoordinate(engine.domain)
        self.normal = ufl.FacetNormal(engine.domain)
        self.mesh = engine.domain

    @cached_property
    def dx(self) -> TaggedMeasure:
        """The measure of the domain; dx("inside") that of a part."""
        engine, mesh = self._engine, self._engine.mesh
        cells = np.arange(engine.owned_cells)
        inside = np.array([np.isin(cells, engine.members(tag)) for tag in mesh.parts])
        return TaggedMeasure("dx", self.mesh, mesh.dim, cells, inside, list(mesh.parts), engine)

    @cached_property
    def ds(self) -> TaggedMeasure:
        """The measure of the boundary; ds("inlet") that of one of its parts."""
        engine, mesh = self._engine, self._engine.mesh
        region, tags = engine.facets("boundary"), list(mesh.boundaries)
        boundary = mesh.facets("boundary")
        inside = []
        for tag in tags:
            _, numbers = number_columns(np.hstack([boundary, mesh.facets(tag)]))
            inside.append(np.isin(numbers[: boundary.shape[1]], numbers[boundary.shape[1] :])[region.numbers])
        return TaggedMeasure(
            "ds", self.mesh, mesh.dim - 1, engine.facet_numbers(region), np.array(inside), tags, engine
        )

    def function(self, data: Data, name: str = "a function of Weak") -> Any:
        """The interpolant of a number or a function of x in the space of states."""
        from dolfinx import fem

        values = self._sampler.at_nodes(data, np.arange(self._engine.size), name)
        function = fem.Function(self._engine.space)
        function.x.array[:] = self._engine.spread(values)
        return function


class TaggedMeasure:
    """A measure of UFL that is called with tags of the mesh; tags may overlap."""

    def __init__(
        self, kind: str, mesh: Any, dim: int, entities: Indices, inside: Indices, tags: list[str], engine: DolfinxEngine
    ) -> None:
        import ufl
        from dolfinx.mesh import meshtags

        self._kind, self._tags = kind, tags
        # Entities with the same tags have the same number, the bits of which are the tags.
        bits = (1 << np.arange(len(tags), dtype=np.int64)) @ inside.reshape(len(tags), -1) if tags else 0 * entities
        self._classes = sorted({int(c) for part in engine.group.collect(np.unique(bits)) for c in part})
        order = np.argsort(entities)
        values = np.searchsorted(self._classes, bits).astype(np.int32)[order] + 1
        self._markers = meshtags(mesh, dim, entities[order].astype(np.int32), values)
        self._measure = ufl.Measure(kind, domain=mesh, subdomain_data=self._markers)

    def __call__(self, tag: str | None = None, **options: Any) -> Any:
        if tag is None:
            return self._measure(**options)
        if tag not in self._tags:
            raise MeshError(f"{self._kind}: the mesh has no tag {tag!r} there; it has {self._tags}.")
        bit = 1 << self._tags.index(tag)
        numbers = tuple(i for i, c in enumerate(self._classes, start=1) if c & bit)
        if not numbers:
            raise MeshError(f"{self._kind}: the facets of {tag!r} are not on the boundary.")
        return self._measure(numbers, **options)

    def __rmul__(self, integrand: Any) -> Any:
        return integrand * self._measure


def soundly_integrated(form: Any, dim: int) -> Any:
    """The form with orders of quadrature on tetrahedra as `compat.sound_order` has them, where it names none itself."""
    if dim < 3:
        return form  # all rules are sound
    import ufl

    integrals = []
    for integral in ufl.algorithms.expand_derivatives(form).integrals():
        metadata = integral.metadata()
        if integral.integral_type() == "cell" and "quadrature_degree" not in metadata:
            order = ufl.algorithms.estimate_total_polynomial_degree(integral.integrand())
            metadata = {**metadata, "quadrature_degree": compat.sound_order(dim, int(order))}
        integrals.append(integral.reconstruct(metadata=metadata))
    return type(form)(integrals)


def _values(form: Any, y: Any, engine: DolfinxEngine) -> str:
    """A digest of the constants and of the functions, but y, of a form."""
    arrays = [np.asarray(constant.value, dtype=float) for constant in form.constants()]
    for function in form.coefficients():
        if function is not y:
            array = np.asarray(function.x.array, dtype=float)
            space = function.function_space
            owned, block = space.dofmap.index_map.size_local, space.dofmap.index_map_bs
            try:
                places = space.tabulate_dof_coordinates()[:owned].T / engine.mesh.diameter
            except RuntimeError:  # elements without points
                places = np.zeros((1, owned))
            # by place: the entries are numbered differently on other numbers of processes
            keys = np.round(places * 1e9).astype(np.int64)
            arrays.append(np.array(digest(engine.group, keys, array[: owned * block].reshape(owned, block).T)))
    return "".join(map(repr, (array.tolist() for array in arrays)))


def _residual(equation: Weak, y: Any, v: Any, domain: Domain) -> Any:
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
            raise ProblemError(f"the form of Weak failed ({_brief(error)}): {SCALAR}.") from error
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
            raise ProblemError(f"the form of Weak {kind} ({_brief(error)}): {SCALAR}.") from error
        if not arguments:
            raise ProblemError("Weak: the form lacks the test function v, in which it must be linear.")
        if arguments != (v,):
            raise ProblemError("Weak: the form has a trial function: the unknown is y, and v the only argument.")
        try:
            check_form_arity(expanded, arguments)
        except (Exception, ArityMismatch) as error:  # the latter is no Exception
            detail = f" ({_brief(error)})" if isinstance(error, ArityMismatch) else ""
            raise ProblemError(
                f"Weak: the form must be linear in the test function v, which every term has once{detail}."
            ) from error
        if y not in form.coefficients():
            raise ProblemError("Weak: the form lacks the state y.")
    return form


def _brief(error: BaseException) -> str:
    """An error on a line."""
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text[:150]}"


class WeakEquation:
    """F(y; v) as an equation (see `system.Equation`), with its derivatives by UFL."""

    def __init__(
        self, engine: DolfinxEngine, equation: Weak, sampler: Sampler, boundary: list[tuple[str, Region, Array]],
        load: Load,
    ) -> None:  # fmt: skip
        import ufl
        from dolfinx import fem

        self._engine, self._boundary, self._load, self._sizes = engine, boundary, *load
        self._y, self._p, self._eta = (fem.Function(engine.space) for _ in range(3))
        v = ufl.TestFunction(engine.space)
        residual = soundly_integrated(_residual(equation, self._y, v, Domain(engine, sampler)), engine.mesh.dim)
        jacobian = ufl.derivative(residual, self._y, ufl.TrialFunction(engine.space))
        expanded = ufl.algorithms.expand_derivatives(jacobian)
        self.affine = self._y not in expanded.coefficients()
        self.symmetric = self.definite = equation.definite
        self._signature = residual.signature() + _values(residual, self._y, engine)
        second = ufl.derivative(ufl.derivative(ufl.replace(residual, {v: self._p}), self._y, self._eta), self._y, v)
        try:
            self._residual, self._jacobian = compat.form(residual), compat.form(jacobian)
            self._second = None if self.affine else compat.form(second)
        except Exception as error:
            raise ProblemError(f"the form of Weak cannot be compiled ({_brief(error)}).") from error
        self._robin = engine.matrix(boundary) if boundary else None

    @property
    def fingerprint(self) -> str:
        """The signature of the form, which leaves out the values of constants and functions in it, and these."""
        return str(self._signature)

    @property
    def row_sums(self) -> None:
        return None

    @property
    def load_size(self) -> Array:
        return np.abs(self.apply(0.0 * self._load) + self._load) + self._sizes

    def apply(self, y: Array) -> Array:
        self._set(self._y, y)
        result = self._assemble(self._residual) - self._load
        return result if self._robin is None else result + self._robin @ y

    def matrix(self, y: Array) -> SharedMatrix:
        self._set(self._y, y)
        matrix = self._engine.matrix_of(self._jacobian, self._boundary)
        if self.definite:
            self._refuse_unsymmetric(matrix)
        return matrix

    def _refuse_unsymmetric(self, matrix: SharedMatrix) -> None:
        """Compare <A x, z> with <x, A z> for two rough functions of the coordinates."""
        nodes, total = self._engine.nodes / self._engine.mesh.diameter, self._engine.group.sum
        x, z = (np.sin(1e3 * (k + nodes.sum(axis=0) + k * nodes[0])) for k in (1.0, 2.0))
        one, other = total(np.einsum("i,i->", matrix @ x, z)), total(np.einsum("i,i->", x, matrix @ z))
        scale = total(np.einsum("i,i->", abs(matrix.local).sum(axis=1).A1, np.abs(x)))
        if abs(one - other) > 1e-10 * scale:
            raise ProblemError("Weak(definite=True): the derivative of the form is not symmetric; leave definite out.")

    def definite_at(self, y: Array) -> bool:
        return self.definite

    def curvature(self, y: Array, p: Array, eta: Array) -> Array:
        for function, array in ((self._y, y), (self._p, p), (self._eta, eta)):
            self._set(function, array)
        return self._assemble(self._second)

    def _set(self, function: Any, array: Array) -> None:
        function.x.array[:] = self._engine.spread(array)

    def _assemble(self, form: Any) -> Array:
        return self._engine.gathered(compat.assemble_vector(form, self._engine.halo.numbers.size))
