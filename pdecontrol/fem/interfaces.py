"""The mesh of a problem with interfaces, made ready for an engine."""

from __future__ import annotations

from ..mesh.cut import OUTER, cut
from ..mesh.fit import bent, check_fit
from ..mesh.mesh import Mesh
from ..problem import ControlProblem, Shape


def divided(problem: ControlProblem, mesh: Mesh, degree: int) -> Mesh:
    """The mesh cut along the interfaces of a problem, with cells of degree 2 there for states of higher degree.

    Raises MeshError where the mesh does not fit the shapes of the interfaces, or has none of their tags.
    """
    for tag, interface in problem.interface.items():
        check_fit(mesh, tag, interface, degree)
    if not problem.interface:
        return mesh
    halves = cut(mesh, {tag: interface.inside for tag, interface in problem.interface.items()})
    for tag, interface in problem.interface.items():
        if degree > 1 and isinstance(interface.shape, Shape):
            for side in (tag, tag + OUTER):
                halves = bent(halves, side, interface.shape)
    return halves
