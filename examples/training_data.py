r"""
Training data, and what Krylov recycling is worth
=================================================

Thousands of solutions of Darcy's equation with random coefficients,

.. math:: -\mathrm{div}(a \nabla u) = 1 \text{ in } (0,1)^2, \quad u = 0 \text{ on the boundary},

are what an operator network learns from. One call draws them, chooses the fastest solver by measuring, solves them
with a bound on every error, and keeps them on disk.

Sorting Krylov Recycling (SKR) solves the systems in an order in which neighbours are alike, and carries a space of
dimension 20 from each to the next. The first figure counts products with the matrix, hidden ones included, along such
a sequence. The matrices are symmetric and positive definite: recycling saves half of the products, but conjugate
gradients with the operator of the mean coefficient as preconditioner need a tenth of them. The second figure shows what
that means in time. On the operator of the published comparison, which by a slip of an index is not that of Darcy's
equation, most of the gain comes from deflated restarts within each solve (``benchmarks/recycling.py published``).
"""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import scipy.sparse as sp

import pdecontrol as pc
from pdecontrol.learn.families import Darcy
from pdecontrol.learn.strategy.choose import choose
from pdecontrol.learn.strategy.ordering import greedy
from pdecontrol.learn.strategy.precondition import ReferenceInverse, mean_operator
from pdecontrol.learn.strategy.solve import FamilySolver
from pdecontrol.linear.cg import cg
from pdecontrol.linear.gcrodr import gcrodr
from pdecontrol.parallel import world

STRATEGIES = ("skr", "jacobi", "lu", "mean")


def draw(family, count: int) -> list:
    """Samples of a family."""
    return [family.draw(np.random.default_rng((2401, i))) for i in range(count)]


def jacobi(matrix):
    """The inverse of the diagonal."""
    return sp.diags(1 / matrix.diagonal())


def products(family, samples, solver, precondition=jacobi, carry=True, order=None) -> np.ndarray:
    """Products with the matrix, system by system, of a solver that may carry its space."""
    space, counts = None, []
    for i in range(len(samples)) if order is None else order:
        matrix, b = family.system(samples[i])
        solved = solver(matrix, b, precondition(matrix), space=space)
        space = solved.space if carry else None
        counts.append(solved.products.total)
    return np.array(counts)


def compare(family, count: int) -> dict[str, np.ndarray]:
    """Products of the methods along a sequence of samples."""
    samples = draw(family, count)
    order = greedy(family.features(samples))
    return {
        "GMRES(40)": products(family, samples, partial(gcrodr, k=0), carry=False),
        "deflated restarts": products(family, samples, gcrodr, carry=False),
        "carried": products(family, samples, gcrodr),
        "carried, sorted (SKR)": products(family, samples, gcrodr, order=order),
    }


def conjugate_gradients(family, count: int) -> dict[str, np.ndarray]:
    """The same for the alternatives that a symmetric positive definite matrix allows."""
    samples = draw(family, count)
    mean = mean_operator(ReferenceInverse(family.reference(), family.grid))
    return {
        "CG": products(family, samples, cg),
        "CG, mean operator": products(family, samples, cg, precondition=lambda matrix: mean(matrix, True)),
    }


def seconds(family, strategy: str, count: int = 6) -> float:
    """Seconds a sample: ordering, assembly, set-up and solve, and the certificate."""
    samples = draw(family, count)
    solver = FamilySolver(choose(family, samples, count, strategy=strategy), family, 1e-8)
    solver.solve(samples[:2])
    return sum(solver.solve(samples)[1].values()) / count


def main(output: Path | None = None, n: int = 30, count: int = 16, sizes=(15, 31, 63)) -> dict[str, float]:
    """Count products on n by n inner nodes, time strategies on others, generate a small dataset."""
    counts = compare(Darcy(n), count) | conjugate_gradients(Darcy(n), count)
    pc.report("mean products a system")
    for name, each in counts.items():
        pc.report(f"    {name:<24} {each.mean():8.1f}")
    times = {name: [seconds(Darcy(size), name) for size in sizes] for name in STRATEGIES}
    pc.report("milliseconds a sample, by unknowns")
    for name, row in times.items():
        shown = (f"{size**2:8d}: {1e3 * time:7.2f}" for size, time in zip(sizes, row, strict=True))
        pc.report(f"    {name:<24}" + "".join(shown))
    with TemporaryDirectory() as directory:
        dataset = pc.generate(Darcy(n), count=50, seed=1, directory=Path(directory) / "darcy", progress=False)
        strategy, bound = dataset.manifest["plan"]["strategy"], dataset.summary["worst_bound"]
        pc.report(f"50 samples by strategy {strategy!r}, relative error at most {bound:.1e}")
    if output is not None and world().root:
        plot(counts, output / "training_data_products.png")
        plot_times(sizes, times, output / "training_data_times.png")
    return {name: each.mean() for name, each in counts.items()}


def plot(counts: dict[str, np.ndarray], path: Path) -> None:
    """Draw products along the sequence."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for name, each in counts.items():
        axes.plot(np.arange(1, len(each) + 1), each, marker=".", label=name)
    axes.set(yscale="log", xlabel="system", ylabel="products with the matrix")
    axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200)


def plot_times(sizes, times: dict[str, list[float]], path: Path) -> None:
    """Draw seconds a sample against unknowns."""
    from matplotlib.figure import Figure

    labels = {"skr": "SKR", "jacobi": "CG, Jacobi", "lu": "sparse factors", "mean": "CG, mean operator"}
    figure = Figure(figsize=(5.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for name, row in times.items():
        axes.plot(np.square(sizes), 1e3 * np.array(row), marker="o", label=labels[name])
    axes.set(xscale="log", yscale="log", xlabel="unknowns", ylabel="milliseconds a sample")
    axes.legend()
    figure.savefig(path, dpi=200)


if __name__ == "__main__":
    main(Path("results"))
