r"""
Jumps of value and flux
=======================

Across a circle the diffusion changes by a factor of ten, and state and flux have jumps that are given.

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 + \tfrac12 \|u\|^2, \quad
    -\operatorname{div}(\kappa \nabla y) = f + u \text{ in } (-1,1)^2, \quad
    [y] = g_0, \ [\kappa \partial_n y] = g_1 \text{ on } \Gamma = \{r = \tfrac12\}, \quad -1 \le u \le 1

with :math:`y` given on the boundary, :math:`\kappa = 1` inside of :math:`\Gamma` and 10 outside, :math:`n` pointing
outwards and :math:`[w]` the value of :math:`w` outside minus that inside. With
:math:`S = (r^2 - \tfrac14) (x_0^2 - 1) (x_1^2 - 1)` the data are chosen such that :math:`y^* = e^{x_0 + x_1}` inside
and :math:`\tfrac1{10} \sin x_0 \sin x_1` outside, the adjoint state is :math:`-5 S / \kappa`, and
:math:`u^* = \min(\max(5 S / \kappa, -1), 1)`.

States of degree 2, the default here, have cells with curved edges at the circle, and errors of order 3; so have
variational controls. With ``backend="auto"`` the degree is 1, the circle a polygon, and the order 2.
"""

from pathlib import Path

import numpy as np

import pdecontrol as pc

KAPPA = {"inside": 1.0, "outside": 10.0}
CURVED = pc.Embedded(degree=2)


def bubble(x):
    """The function S."""
    return ((x**2).sum(axis=0) - 0.25) * (x[0] ** 2 - 1) * (x[1] ** 2 - 1)


def laplacian_of_bubble(x):
    """Delta S."""
    a, b = x**2
    return 2 * (a**2 + b**2 + 12 * a * b) - 16.5 * (a + b) + 5


def inner_state(x):
    """The optimal state y* inside."""
    return np.exp(x[0] + x[1])


def outer_state(x):
    """The optimal state y* outside."""
    return np.sin(x[0]) * np.sin(x[1]) / 10


def jump_of_state(x):
    """The jump g_0 of y*."""
    return outer_state(x) - inner_state(x)


def jump_of_flux(x):
    """The jump g_1 of kappa dy*/dn."""
    n = x / np.linalg.norm(x, axis=0)
    outer = n[0] * np.cos(x[0]) * np.sin(x[1]) + n[1] * np.sin(x[0]) * np.cos(x[1])
    return outer - (n[0] + n[1]) * inner_state(x)


EXACT_STATE = {"inside": inner_state, "outside": outer_state}
EXACT_CONTROL = {tag: lambda x, kappa=kappa: np.clip(5 * bubble(x) / kappa, -1, 1) for tag, kappa in KAPPA.items()}


def main(
    output: Path | None = None, size: float = 0.04, backend: str | pc.Embedded | pc.Parallel = CURVED
) -> pc.Result:
    """Solve the problem on a mesh of cells of a size and compare with the exact control."""
    source = {
        "inside": lambda x: -2 * inner_state(x) - EXACT_CONTROL["inside"](x),
        "outside": lambda x: 20 * outer_state(x) - EXACT_CONTROL["outside"](x),
    }
    problem = pc.ControlProblem(
        equation=pc.Elliptic(diffusion=KAPPA, source=source),
        interface={"gamma": pc.Interface(pc.Circle(0.5), jump_of_state, jump_of_flux, inside="inside")},
        boundary={"boundary": pc.Dirichlet(outer_state)},
        control=pc.Distributed(element="variational"),
        tracking=pc.Tracking({tag: lambda x, y=y: y(x) - 5 * laplacian_of_bubble(x) for tag, y in EXACT_STATE.items()}),
        terms=[pc.Tikhonov(1.0), pc.Box(-1, 1)],
    )
    mesh = pc.fitted_mesh([(-1, 1), (-1, 1)], problem.interface, size)
    result = pc.solve(problem, mesh, backend)
    pc.report(result)

    space = result.control.space
    exact = space.interpolate(EXACT_CONTROL)
    pc.report(f"||u - u*|| = {space.norm(result.control.array - exact) / space.norm(exact):.2e} ||u*||")
    angle = np.linspace(0, 2 * np.pi, 100)
    x = 0.5 * np.array([np.cos(angle), np.sin(angle)])
    jump = result.state(x, side="outside") - result.state(x, side="inside")
    error = abs(jump - jump_of_state(x)).max()
    pc.report(f"the jump of the state is {jump.min():.3f} to {jump.max():.3f}, up to {error:.1e} as prescribed")
    if output is not None:
        result.plot(output / "interface_jumps.png")
        result.save(output / "interface_jumps.npz")
        result.export(output / "interface_jumps.vtu")
    return result


if __name__ == "__main__":
    main(Path("results"))
