"""Learned predictions: errors, parameters and seconds beside the mean, ridge regression, the POD floor, and FNO.

    python benchmarks/operators.py                         # all small cases, three seeds; trains for some 25 minutes
    python benchmarks/operators.py --case darcy --seeds 1
    python benchmarks/operators.py --quick                 # seconds: few samples and epochs, no claim
    python benchmarks/operators.py --device cuda           # the large cases, where there is a GPU

Errors are means over test samples that no training has seen, of L2 and H1 (by differences at all nodes, the boundary
included): the median of the seeds of the networks, and the worst. Each training chooses its weights by some of its own
samples. Seconds are those of the processor in the training. For a coercive equation a table follows of what the
residual shows of the predictions of MgNO, for samples of the training's distribution and of another one. Set
OMP_NUM_THREADS=1; data and networks are kept in --output. The large cases have settings for a GPU of a data centre and
ten minutes each, and generate their data for some minutes before.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from learned_cases import has_cuda
from operator_baselines import gradient_errors, has_fno, relative_errors
from operator_cases import LARGE, SMALL, Found, Run, pair

import pdecontrol as pc
from pdecontrol.learn.grid import faces
from pdecontrol.learn.residual import FamilyBound
from pdecontrol.learn.trained import Trained

TOLERANCES = (0.05, 0.10, 0.15)


def numbers(found: Found, wanted: Any) -> dict[str, float]:
    """Errors in percent, and seconds."""
    spacing = 1.0 / (wanted.shape[1] - 1)
    return {
        "L2": 100 * float(relative_errors(found.values, wanted).mean()),
        "H1": 100 * float(gradient_errors(found.values, wanted, spacing).mean()),
        "seconds": found.seconds,
    }


def judged(name: str, parameters: int, rows: Sequence[Mapping[str, float]], limits: Mapping[str, float]) -> str:
    """The line of a way: medians, the worst in brackets, and whether the medians are what is wanted."""
    typical = {number: median(row[number] for row in rows) for number in rows[0]}
    cells = [f"{typical[number]:8.2f} ({max(row[number] for row in rows):.2f})" for number in ("L2", "H1")]
    units = {"L2": "L2 <= {:g} %", "H1": "H1 <= {:g} %", "seconds": "{:g} s"}
    text = ", ".join(units[number].format(limit) for number, limit in limits.items())
    verdict = "PASS" if all(typical[number] <= limit for number, limit in limits.items()) else "SHORT"
    ending = f"{text}: {verdict}" if limits else ""
    return f"  {name:<18}{parameters:>11}{cells[0]:>17}{cells[1]:>17}{typical['seconds']:>9.1f}  {ending}".rstrip()


def table(run: Run, name: str, seeds: int) -> Trained | None:
    """Print all rows; the MgNO of the first seed, if there is one."""
    wanted, first = run.samples[3], None
    print(f"\n{name}: {len(run.samples[1])} samples to train on, {len(wanted)} others for the test")
    print(f"  {'':<18}{'parameters':>11}{'L2 % (worst)':>17}{'H1 % (worst)':>17}{'CPU s':>9}  wanted", flush=True)
    for label, way in run.ways.items():
        rows = []
        for seed in range(1, seeds + 1):
            found = way(seed)
            rows.append(numbers(found, wanted))
            if found.trained is not None and label == "MgNO" and seed == 1:
                first = found.trained
            if label in ("mean", "ridge") or label.startswith("POD floor"):
                break
        print(judged(label, found.parameters, rows, run.case.wanted.get(label, {})), flush=True)
    if run.case.fno and not has_fno():
        print("  FNO: skipped, the package neuraloperator is not there")
    return first


def bounds(family: Any, dataset: pc.Dataset, trained: Trained) -> dict[str, Any]:
    """What the residual bound says of predictions: accepted shares, violations, largest effectivities."""
    inputs, outputs = pair(dataset)
    judge, accepted, effectivities, violations, limits = FamilyBound(family), [], [], 0, []
    for a, y, prediction in zip(inputs, outputs, trained.predict(inputs), strict=True):
        sample = {"coefficient": a}
        bound, (matrix, _) = judge.bound(sample, prediction), family.system(sample)
        e, x = (part[1:-1, 1:-1].ravel() for part in (y - prediction, y))
        error, size = (float(np.sqrt(v @ (matrix @ v))) for v in (e, x))
        accepted.append([bound.accepts(tolerance) for tolerance in TOLERANCES])
        wrong = any(bound.accepts(tolerance) and error > tolerance * size for tolerance in TOLERANCES)
        violations += wrong or error > bound.energy
        effectivities.append(bound.energy / error)
        limits.append(np.sqrt(max(face.max() for face in faces(a)) / family.coercivity(sample)))
    return {
        "accepted": np.mean(accepted, axis=0), "violations": violations, "effectivity": max(effectivities),
        "limit": max(limits), "L2": 100 * float(relative_errors(trained.predict(inputs), outputs).mean()),
    }  # fmt: skip


def judgements(run: Run, trained: Trained) -> None:
    """Print what the residual shows, in and out of the distribution of the training."""
    heads = " ".join(f"{f'{tolerance:.0%}':>6}" for tolerance in TOLERANCES)
    print(f"  {'residual bound':<18}{'L2 %':>8}  accepted at {heads}  violations  effectivity (its limit)")
    for name, family, folder, seed in (
        ("as trained", run.case.source, "test", 1),
        ("out of it", run.case.elsewhere, "elsewhere", 2),
    ):
        found = bounds(family, run.test(family, folder, seed), trained)
        shares = " ".join(f"{share:>6.0%}" for share in found["accepted"])
        print(
            f"  {name:<18}{found['L2']:>8.2f}  {'':<11} {shares}  {found['violations']:>10}  "
            f"{found['effectivity']:>11.2f} ({found['limit']:.2f})",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=[*SMALL, *LARGE])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("results") / "operators")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true", help="one seed, few samples and epochs")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not has_cuda():
        print("there is no CUDA device here: nothing was run.")
        return
    known = SMALL if arguments.device == "cpu" else LARGE
    threads, load = os.environ.get("OMP_NUM_THREADS", "all"), os.getloadavg()[0]
    print(f"{threads} threads, load {load:.1f} of {os.cpu_count()} processors, {arguments.device}")
    for name in arguments.case or known:
        folder = arguments.output / (f"{name} quick" if arguments.quick else name)
        run = Run((SMALL | LARGE)[name](), folder, arguments.device, arguments.quick)
        trained = table(run, name, 1 if arguments.quick else arguments.seeds)
        if trained is not None and run.case.elsewhere is not None:
            judgements(run, trained)


if __name__ == "__main__":
    main()
