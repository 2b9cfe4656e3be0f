r"""
An interface that moves
=======================

A circle of another material moves through a square, and comes nearly once around. A network of space and time takes
that as it takes any interface, by a kink that depends on time; no mesh follows it.

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 + \tfrac12 \|u\|^2, \quad
    y_t - \operatorname{div}(\kappa \nabla y) = f + u \text{ in } (-1,1)^2, \quad
    [y] = [\kappa \partial_n y] = 0 \text{ on } \Gamma(t), \quad -0.3 \le u \le 0.3

over times in :math:`(0, \tfrac\pi2)`, with :math:`y = 0` on the boundary and at :math:`t = 0`, and :math:`\kappa = 1`
inside of the circle :math:`\Gamma(t)` with the radius 0.4 and the centre :math:`c = \tfrac15 (\cos 4t, \sin 4t)`, 3
outside. Then :math:`u^* = \min(\max(-5 \cos(t) S / \kappa, -0.3), 0.3)` with
:math:`S = (|x - c|^2 - 0.16) (x_0^2 - 1) (x_1^2 - 1)`.

There is no certificate by fitted elements. There is one by elements on a mesh of squares cut in two, which see a
diffusion that depends on :math:`(x, t)`: where jumps are zero, this is the same problem. As the interface cuts their
cells, they converge slowly, and nearly all of the bound is their error. The comparison with the exact control says
what the network is worth.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

import pdecontrol as pc

SQUARE = [(-1, 1), (-1, 1)]


def exact(steps: int) -> pc.interface_reference.InterfaceReference:
    """The problem for so many steps, with its solution."""
    return pc.interface_reference.moving(steps, scheme="crank-nicolson", element="variational")


def without_interface(steps: int) -> pc.ControlProblem:
    """The same problem, with data that are functions of (x, t) on the whole square."""
    known = exact(steps)
    problem, equation = known.problem, known.problem.equation
    circle = problem.interface["gamma"].shape
    steady = pc.Elliptic(
        diffusion=lambda x, t: np.where(circle.at(t).contains(x), 1.0, 3.0),
        source=lambda x, t: known.at(equation.steady.source, x, t),
    )
    target = pc.Tracking(lambda x, t: known.at(problem.observations[0].target, x, t))
    return replace(problem, interface={}, equation=replace(equation, steady=steady), tracking=target)


def error(result: pc.Result) -> float:
    """That of the control, relative, at points and times that nobody has used."""
    known, axis = exact(1), (np.arange(60) + 0.5) / 30 - 1
    x = np.stack(np.meshgrid(axis, axis)).reshape(2, -1)
    times = np.linspace(0, np.pi / 2, 17)
    values = np.array([(result.control(x, t), known.at(known.control, x, t)) for t in times])
    return float(np.linalg.norm(values[:, 0] - values[:, 1]) / np.linalg.norm(values[:, 1]))


def main(
    output: Path | None = None, n: int = 32, steps: int = 20, method: str | pc.HardConstraint = "pinn"
) -> pc.Result:
    """Solve the problem by a network, and judge its control by n by n squares and so many steps, and exactly."""
    result = pc.solve(exact(steps).problem, SQUARE, method=method)
    cut = without_interface(steps)
    map = pc.discretise(cut, pc.unit_square(n).transform(lambda x: 2 * x - 1))
    result = replace(result, certificate=pc.certify(cut, result.control, map))
    pc.report(result)

    pc.report(f"||u - u*|| = {error(result):.1e} ||u*||, where u* is exact")
    if output is not None:
        result.plot(output / "network_moving.png")
        result.save(output / "network_moving.npz")
        result.export(output / "network_moving.xdmf")
    return result


if __name__ == "__main__":
    main(Path("results"))
