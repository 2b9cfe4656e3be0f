r"""
Control on an interface, by a network
=====================================

State and flux have jumps that are given, and the control is added to that of the flux. It acts on a circle only, on
which the network of the adjoint state is evaluated: no point of a mesh is on it.

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 + \tfrac1{20} \|u\|_{L^2(\Gamma)}^2, \quad
    -\operatorname{div}(\kappa \nabla y) = f \text{ in } (-1,1)^2, \quad
    [y] = g_0, \; [\kappa \partial_n y] = g_1 + u \text{ on } \Gamma = \{r = \tfrac12\}, \quad -1 \le u \le 2

with :math:`y` given on the boundary, :math:`\kappa = 1` inside of :math:`\Gamma` and 10 outside, :math:`n` pointing
outwards and :math:`[w]` the value of :math:`w` outside minus that inside. A positive control is a sink, so that its
law has a plus, :math:`u^* = \min(\max(10 p, -1), 2)`; here :math:`p = x_0 (x_0^2 - 1) (x_1^2 - 1)` on :math:`\Gamma`,
and :math:`y^* = e^{x_0 + x_1}` inside, :math:`\tfrac1{10} \sin x_0 \sin x_1` outside.

The jump of the state is exact whatever the weights of the network are; that of the flux is not, and is measured.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

import pdecontrol as pc

SQUARE = [(-1, 1), (-1, 1)]
EXACT = pc.interface_reference.flux_control()
ANGLE = np.linspace(0, 2 * np.pi, 400, endpoint=False)
NORMAL = np.array([np.cos(ANGLE), np.sin(ANGLE)])


def error(result: pc.Result) -> float:
    """That of the control on the circle, relative."""
    exact = EXACT.control["gamma"](0.5 * NORMAL)
    found = result.control(0.5 * NORMAL, side="gamma")
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def jump_errors(result: pc.Result) -> tuple[float, float]:
    """The largest differences of the jumps of state and flux from those that are prescribed."""
    x, gamma = 0.5 * NORMAL, EXACT.problem.interface["gamma"]
    inner, outer = (result.state(x, side=side) for side in ("inside", "outside"))
    slopes = [(result.state.gradient(x, side=side) * NORMAL).sum(axis=0) for side in ("inside", "outside")]
    flux = 10 * slopes[1] - slopes[0] - gamma.flux(x) - result.control(x, side="gamma")
    return float(abs(outer - inner - gamma.value(x)).max()), float(abs(flux).max())


def main(output: Path | None = None, size: float = 0.025, method: str | pc.HardConstraint = "pinn") -> pc.Result:
    """Solve the problem by a network, certify its control on a mesh of cells of a size, compare with the exact one."""
    problem = EXACT.problem
    result = pc.solve(problem, SQUARE, method=method)
    mesh = pc.fitted_mesh(SQUARE, problem.interface, size)
    map = pc.discretise(problem, mesh, pc.Embedded(degree=2))
    result = replace(result, certificate=pc.certify(problem, result.control, map))
    pc.report(result)

    pc.report(f"||u - u*|| = {error(result):.1e} ||u*|| on the interface")
    pc.report("the jump of the state errs by {:.1e}, that of the flux by {:.1e}".format(*jump_errors(result)))
    if output is not None:
        result.plot(output / "network_flux.png")
        result.save(output / "network_flux.npz")
        result.export(output / "network_flux.vtu")
    return result


if __name__ == "__main__":
    main(Path("results"))
