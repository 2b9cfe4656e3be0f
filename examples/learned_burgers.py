r"""
Burgers control by a learned map
================================

A nonlinear network in the place of Burgers' equation, in the problem of *Control of Burgers' equation*:

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 + \tfrac\alpha2 \|u\|^2, \quad
    -\nu y'' + y y' = u \text{ in } (0,1), \quad y(0) = y(1) = 0, \quad u \le u_b

with :math:`\nu = 1/12`, :math:`\alpha = 0.1` and :math:`y_d = u_b = 0.3`. A DeepONet on the principal modes of the
states learns them and, by pairs of duals and gradients, the derivative. The optimum for the network errs by less than a
thousandth against the one on a mesh sixteen times finer. Nothing but the exact map knows that, which certifies it and,
with directions from the network, corrects it by a few solves.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import pdecontrol as pc
from pdecontrol.learn.trained import Trained

PROBLEM = pc.ControlProblem(
    equation=pc.burgers(viscosity=1 / 12),
    boundary={"boundary": pc.Dirichlet(0.0)},
    control=pc.Distributed(),
    tracking=pc.Tracking(0.3),
    terms=[pc.Tikhonov(0.1), pc.Box(upper=0.3)],
)


def learned(mesh: pc.Mesh, count: int, epochs: int) -> Trained:
    """The map of controls, trained on so many samples."""
    source = pc.ControlSamples(PROBLEM, mesh, length=0.4, deviation=0.3)
    with TemporaryDirectory() as directory:
        dataset = pc.generate(source, count, seed=1, directory=Path(directory) / "burgers")
        return pc.train(dataset, "pod-deeponet", source=source, epochs=epochs, batch=50, rate=4e-3, loss="l2")


def error(found: pc.Result, fine: pc.Result) -> float:
    """Of a control, relative to that on a fine mesh, whose nodes are among others those of the coarse one."""
    space = found.control.space
    best = fine.control(space.points)
    return space.norm(found.control.array - best) / space.norm(best)


def main(
    output: Path | None = None, n: int = 128, count: int = 3000, epochs: int = 200, tol: float = 1e-4
) -> list[pc.Result]:
    """Train on n intervals; the optimum for the network, and the certified one."""
    mesh = pc.unit_interval(n)
    exact, trained = pc.discretise(PROBLEM, mesh), learned(mesh, count, epochs)
    surrogate = trained.map(exact)
    own = pc.minimise(PROBLEM, surrogate, tol=1e-6)
    result = pc.certified(PROBLEM, surrogate, exact, tol)
    cold = pc.minimise(PROBLEM, exact, tol=tol)
    fine = pc.solve(PROBLEM, pc.unit_interval(16 * n), tol=1e-6)
    pc.report(f"the network alone   error {error(own, fine):.1e}, {own.status.name.lower()}")
    for name, found in (("certified", result), ("cold", cold)):
        pc.report(
            f"{name:<20}error {error(found, fine):.1e}, bound {found.certificate.relative:.1e}, "
            f"{found.solves['total']} exact solves"
        )
    pc.report(result)
    if output is not None:
        plot(own, result, fine, output / "learned_burgers.png")
        result.save(output / "learned_burgers.npz")
        result.export(output / "learned_burgers.vtu")
    return [own, result, cold, fine]


def plot(own: pc.Result, result: pc.Result, fine: pc.Result, path: Path) -> None:
    """Draw the controls and what they err by."""
    from matplotlib.figure import Figure

    x = np.sort(result.control.space.points[0])[None]
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    controls, errors = figure.subplots(1, 2)
    controls.plot(x[0], fine.control(x), label="fine mesh")
    controls.plot(x[0], own.control(x), "--", label="network alone")
    controls.set(xlabel="x", ylabel="u")
    for name, found in (("network alone", own), ("certified", result)):
        errors.semilogy(x[0], abs(found.control(x) - fine.control(x)) + 1e-16, label=name)
    errors.set(xlabel="x", ylabel="error of u", ylim=(1e-9, None))
    controls.legend(fontsize="small")
    errors.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200)


if __name__ == "__main__":
    main(Path("results"))
