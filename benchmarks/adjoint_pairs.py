"""What pairs of duals and gradients are worth in training: the control of Burgers' equation by a network, both ways.

    python benchmarks/adjoint_pairs.py            # about a minute, one thread
    python benchmarks/adjoint_pairs.py --quick

Errors of states and of gradients are relative, in L2, on samples held out; `optimum` is the error of the control that
is optimal for the network, against that for the exact map. Medians of the seeds, the largest in brackets.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import pdecontrol as pc

PROBLEM = pc.ControlProblem(
    equation=pc.burgers(viscosity=1 / 12),
    boundary={"boundary": pc.Dirichlet()},
    control=pc.Distributed(),
    tracking=pc.Tracking(0.3),
    terms=[pc.Tikhonov(0.1), pc.Box(upper=0.3)],
)


def errors(n: int, count: int, epochs: int, seeds: int) -> dict[bool, list[tuple[float, ...]]]:
    """Forward, adjoint, optimum and processor seconds for each seed, without and with the pairs."""
    source = pc.ControlSamples(PROBLEM, pc.unit_interval(n), length=0.4, deviation=0.3)
    map = source.map_at()
    best, norm = pc.minimise(PROBLEM, map, tol=1e-8).control.array, map.control.norm
    found: dict[bool, list[tuple[float, ...]]] = {False: [], True: []}
    with TemporaryDirectory() as folder:
        dataset = pc.generate(source, count, 0, Path(folder) / "data")
        for adjoint, rows in found.items():
            for seed in range(1, seeds + 1):
                trained = pc.train(
                    dataset, "pod-deeponet", source=source, epochs=epochs, batch=50, rate=4e-3, loss="l2",
                    adjoint=adjoint, seed=seed,
                )  # fmt: skip
                own = pc.minimise(PROBLEM, trained.map(map), tol=1e-6, max_iterations=100).control.array
                names = ("forward L2", "adjoint L2", "cpu seconds")
                forward, back, seconds = (trained.header["metrics"][name] for name in names)
                rows.append((forward, back, norm(own - best) / norm(best), seconds))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    found = errors(32, 200, 20, 1) if arguments.quick else errors(128, 3000, 100, arguments.seeds)
    print(f"{'':<14}{'forward':>16}{'adjoint':>16}{'optimum':>16}{'CPU s':>10}")
    for adjoint, rows in found.items():
        cells = [f"{median(column):.2%} ({max(column):.2%})" for column in list(zip(*rows, strict=True))[:3]]
        seconds = median(row[3] for row in rows)
        print(
            f"{'with pairs' if adjoint else 'states alone':<14}"
            + "".join(f"{c:>16}" for c in cells)
            + f"{seconds:10.1f}"
        )


if __name__ == "__main__":
    main()
