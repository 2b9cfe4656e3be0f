r"""
How far from the true optimum, on an L-shaped domain
====================================================

The mesh is refined until the control is certified to be within a thousandth of the optimum of the *continuous* problem.

.. math::

    \min_u \; \tfrac12 \|y - 1\|^2 + \tfrac\alpha2 \|u\|^2 + \beta \|u\|_{L^1}, \quad
    -\Delta y = u \text{ in } \Omega, \quad y = 0 \text{ on the boundary}, \quad -5 \le u \le 5

with :math:`\alpha = \beta = 10^{-3}` on :math:`\Omega = (-1, 1)^2` without :math:`[0, 1) \times (-1, 0]`. States and
adjoint states behave like :math:`r^{2/3}` at the re-entrant corner, so that on uniform meshes errors fall with the
power :math:`4/3` of the size of the cells, for states of any degree. Cells are therefore refined where the bound comes
from. It is proved, with the singular function of the corner: nothing is known of the solution but what the problem
states. The control is 5 on 93 % of the domain, and zero in its corners.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import pdecontrol as pc

CORNERS = [(-1, -1), (0, -1), (0, 0), (1, 0), (1, 1), (-1, 1)]


def meshed(size: float) -> pc.Mesh:
    """The domain by gmsh, with cells of a size."""
    import gmsh

    gmsh.initialize()
    gmsh.option.setNumber("General.Terminal", 0)
    geometry = gmsh.model.geo
    points = [geometry.addPoint(*corner, 0, size) for corner in CORNERS]
    sides = [geometry.addLine(*ends) for ends in zip(points, points[1:] + points[:1], strict=True)]
    surface = geometry.addPlaneSurface([geometry.addCurveLoop(sides)])
    geometry.synchronize()
    gmsh.model.addPhysicalGroup(1, sides, name="walls")
    gmsh.model.addPhysicalGroup(2, [surface], name="domain")
    gmsh.model.mesh.generate(2)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "l_shape.msh"
        gmsh.write(str(path))
        gmsh.finalize()
        return pc.read_mesh(path)


def main(
    output: Path | None = None, total_tol: float = 1e-3, size: float = 0.5, backend: object = pc.Embedded(degree=2)
) -> pc.Result:
    """Solve on meshes that begin with cells of a size, until the control is as near to the optimum as asked for."""
    problem = pc.ControlProblem(
        equation=pc.Elliptic(),
        boundary={"walls": pc.Dirichlet(0.0)},
        control=pc.Distributed(),
        tracking=pc.Tracking(1.0),
        terms=[pc.Tikhonov(1e-3), pc.L1(1e-3), pc.Box(-5, 5)],
    )
    result = pc.solve(problem, meshed(size), backend, total_tol=total_tol)
    pc.report(result)

    pc.report("unknowns   bound relative to u   PDE solves")
    for level in result.levels:
        pc.report(f"{level.unknowns:8d} {level.bound / level.norm:21.1e} {level.solves:12.0f}")
    continuous = result.certificate.continuous
    assert continuous is not None
    pc.report(f"the bound rests on: {continuous.assumption}")
    pc.report(f"u = {result.control(np.array([[-0.95], [0.95]])).item():.3f} at (-0.95, 0.95)")
    if output is not None:
        result.plot_levels(output / "l_shape.png")
        result.save(output / "l_shape.npz")
        result.export(output / "l_shape.vtu")
    return result


if __name__ == "__main__":
    main(Path("results"))
