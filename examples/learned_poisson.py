r"""
Poisson control by a learned map, certified
===========================================

A network in the place of the Poisson equation, and what its answers are worth.

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 + \tfrac\alpha2 \|u\|^2, \quad
    -\Delta y = u + f \text{ in } (0,1)^2, \quad y = 0 \text{ on the boundary}, \quad |u| \le \tfrac12

with :math:`\alpha = 10^{-3}` and data for which the optimum is known (:func:`pdecontrol.reference.box`). A map of low
rank is trained on pairs of controls and states, and of duals and gradients. Its own optimum comes without a bound, and
looks as converged as any. Two exact solves certify it, a few more with directions from the network make it as good as
one likes: far fewer than without. Sixty-four sines do as well here without any training, and are to be tried first.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import pdecontrol as pc
from pdecontrol.learn.surrogates import SineGalerkin
from pdecontrol.learn.trained import Trained

ALPHA = 1e-3


def learned(problem: pc.ControlProblem, mesh: pc.Mesh, count: int, epochs: int, rank: int) -> Trained:
    """A map of a rank, trained on so many samples of the equation of the problem."""
    source = pc.ControlSamples(problem, mesh, length=(0.05, 0.5))
    with TemporaryDirectory() as directory:
        dataset = pc.generate(source, count, seed=1, directory=Path(directory) / "poisson")
        return pc.train(
            dataset, "low-rank", source=source, options={"rank": rank}, epochs=epochs, batch=32, schedule="one-cycle"
        )


def main(
    output: Path | None = None, n: int = 32, count: int = 1000, epochs: int = 40, rank: int = 96, tol: float = 1e-6
) -> pc.Result:
    """Train on n by n squares, and solve by the network alone, with two exact solves, and to a certified tolerance."""
    problem, mesh = pc.reference.box(ALPHA).problem, pc.unit_square(n)
    exact, trained = pc.discretise(problem, mesh), learned(problem, mesh, count, epochs, rank)
    surrogate = trained.map(exact)

    own = pc.minimise(problem, surrogate, tol=tol)
    judged = pc.certify(problem, own.control, exact)
    pc.report(f"the network alone   {own.status.name.lower()}, no bound; by the exact map {judged.relative:.1e}")
    screened = pc.screen(problem, surrogate, exact)
    pc.report(f"screening           {screened.certificate.relative:.1e} by {screened.solves['total']} exact solves")
    result = pc.certified(problem, surrogate, exact, tol)
    sines = pc.certified(problem, SineGalerkin(exact, 8), exact, tol)
    cold = pc.minimise(problem, exact, tol=tol)
    for name, found in (("with the network", result), ("with 64 sines", sines), ("cold", cold)):
        pc.report(
            f"{name:<20}{found.certificate.relative:.1e} by {found.solves['total']} exact solves, "
            f"{found.solves['applications']} applications"
        )
    pc.report(result)
    if output is not None:
        result.plot(output / "learned_poisson.png")
        result.save(output / "learned_poisson.npz")
        result.export(output / "learned_poisson.vtu")
    return result


if __name__ == "__main__":
    main(Path("results"))
