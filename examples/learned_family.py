r"""
A family of control problems from one surrogate
===============================================

Twenty problems, each with another medium and another target, solved with the help of one network and without it:

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 + \tfrac\alpha2 \|u\|^2, \quad
    -\operatorname{div}(a \nabla y) = u \text{ in } (0,1)^2, \quad y = 0 \text{ on the boundary}, \quad |u| \le 30,

where :math:`a` is 12 or 3 by the sign of a random field, and :math:`\alpha = 10^{-4}`. The script generates pairs of
controls and states, and of duals and gradients, trains a gated multigrid network on them, and solves the problems. Each
error is a certified bound of the exact map. The network saves most of the exact solves in every problem. It saves no
time: an exact solve takes less than a millisecond here, and an application of the network four. Break-even says so.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import pdecontrol as pc
from pdecontrol.learn.darcy_control import DarcyControl
from pdecontrol.learn.queries import HEAD, Query, break_even, offline_seconds, queries, row


def main(
    output: Path | None = None, n: int = 32, fields: int = 400, epochs: int = 5, count: int = 20, tol: float = 1e-3
) -> list[Query]:
    """Generate data for so many media on n by n squares, train, and solve so many problems."""
    with TemporaryDirectory() as directory:
        dataset = pc.generate(DarcyControl(n), fields, seed=1, directory=Path(directory) / "media")
        trained = pc.train(dataset, "gated-multigrid", epochs=epochs, batch=12, rate=3e-3)
    pc.report(HEAD)
    found = []
    for query in queries(trained, count=count, tol=tol):
        found.append(query)
        pc.report(row(len(found), query))
    data, training = offline_seconds(trained)
    pc.report(f"data {data:.0f} s, training {training:.0f} s: break-even {break_even(found, data + training)}")
    if output is not None:
        trained.save(output / "learned_family.npz")
        plot(found, output / "learned_family.png")
    return found


def plot(found: list[Query], path: Path) -> None:
    """Draw solves and errors, problem by problem."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.4), layout="constrained")
    solves, errors = figure.subplots(1, 2)
    numbers = range(1, len(found) + 1)
    solves.bar(numbers, [query.cold.solves["total"] for query in found], color="lightgrey", label="cold")
    solves.bar(numbers, [query.result.solves["total"] for query in found], label="with the network")
    most = max(query.cold.solves["total"] for query in found)
    solves.set(xlabel="problem", ylabel="exact solves", ylim=(0, 1.25 * most))
    solves.legend(fontsize="small")
    errors.semilogy(numbers, [query.error for query in found], "o")
    errors.set(xlabel="problem", ylabel=r"certified error, relative to $\|u\|$")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200)


if __name__ == "__main__":
    main(Path("results"))
