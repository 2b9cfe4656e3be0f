"""The tags of a mesh: the regions that they name, and what may stand on them."""

from __future__ import annotations

from ..arrays import Indices
from ..errors import MeshError, ProblemError
from ..mesh.mesh import Mesh
from ..problem import Actuators, Boundary, Condition, ControlProblem, Dirichlet, Distributed
from .engine import Engine, Region


class Tags:
    """The regions of an engine by their tags; raises MeshError, with the name of what asks, for those it has not."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._mesh = engine, engine.mesh
        self._regions: dict[str | None, Region] = {None: engine.cells}

    def members(self, tag: str, name: str) -> Indices:
        """The cells of a part."""
        if tag not in self._mesh.parts:
            raise unknown(self._mesh, tag, "part", name)
        return self._engine.members(tag)

    def boundary(self, tag: str, name: str) -> Region:
        """The facets of a boundary."""
        if tag not in self._mesh.boundaries:
            raise unknown(self._mesh, tag, "boundary", name)
        if tag not in self._regions:
            self._regions[tag] = self._engine.facets(tag)
        return self._regions[tag]

    def region(self, tag: str | None, name: str) -> Region:
        """The domain, a part or a boundary."""
        if tag in self._mesh.boundaries:
            return self.boundary(str(tag), name)
        if tag not in self._regions:
            if tag not in self._mesh.parts:
                raise unknown(self._mesh, tag, "part or boundary", name)
            self._regions[tag] = self._engine.part(str(tag))
        return self._regions[tag]


def unknown(mesh: Mesh, tag: object, kind: str, name: str) -> MeshError:
    """The error for a tag that a mesh does not have."""
    parts, boundaries = list(mesh.parts), list(mesh.boundaries)
    return MeshError(f"{name}: the mesh has no {kind} {tag!r}; its parts are {parts}, its boundaries {boundaries}.")


def check_conditions(problem: ControlProblem, mesh: Mesh) -> None:
    """Conditions lie on the boundary and do not overlap; the control meets no Dirichlet condition."""
    conditions = list(problem.boundary.items())
    owners = _owners(conditions, mesh)
    control, on = problem.control, problem.control.on
    if isinstance(control, Distributed) or (isinstance(control, Actuators) and on not in mesh.boundaries):
        return
    if on not in mesh.boundaries:
        raise unknown(mesh, on, "boundary", "Boundary control")
    for number in sorted({owners.get(tuple(facet), -2) for facet in mesh.boundaries[str(on)].T.tolist()}):
        if number == -2 and isinstance(control, Boundary):
            raise ProblemError(f"Boundary control: the tag {on!r} names facets inside the domain.")
        if number >= 0 and isinstance(conditions[number][1], Dirichlet):
            raise ProblemError(
                f"{type(control).__name__} control on {on!r} meets the Dirichlet condition on "
                f"{conditions[number][0]!r}: Dirichlet control is not supported. Give that part a Neumann or "
                "Robin condition."
            )


def _owners(conditions: list[tuple[str, Condition]], mesh: Mesh) -> dict[tuple[int, ...], int]:
    """The number of the condition on each facet of the boundary, -1 for none."""
    for tag, _ in conditions:
        if tag not in mesh.boundaries:
            raise unknown(mesh, tag, "boundary", "boundary")
    owners = {tuple(facet): -1 for facet in mesh.boundaries["boundary"].T.tolist()}
    for number, (tag, _) in enumerate(conditions):
        for facet in map(tuple, mesh.boundaries[tag].T.tolist()):
            if facet not in owners:
                raise ProblemError(
                    f"boundary[{tag!r}]: the tag names facets inside the domain, where there are no conditions."
                )
            if owners[facet] >= 0:
                raise ProblemError(
                    f"boundary: the tags {conditions[owners[facet]][0]!r} and {tag!r} share facets, each with a "
                    "condition. Give every facet at most one."
                )
            owners[facet] = number
    return owners
