"""Interface problems by networks: beside other ways to solve them, beside published errors, and what is wanted of them.

    python benchmarks/networks.py time                                   # errors against time, all cases and ways
    python benchmarks/networks.py time --case circle --way default adam  # Adam as published takes minutes, by name only
    python benchmarks/networks.py published --seeds 3
    python benchmarks/networks.py soft                                   # exact conditions against rows with weights
    python benchmarks/networks.py wanted --case circle star              # a line for each number: PASS or SHORT

Errors are those of `network_cases`, the median of some seeds of random numbers and the worst of them. Seconds are those
of the processor, with all that is set up, meshed and chosen; limits of trainings are by the clock, so set
OMP_NUM_THREADS=1 and leave the machine alone. With --quick there is one seed and the smallest setting of each.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from network_cases import CASES, Case, Found, by_elements, by_grid, by_networks, family_errors
from network_published import ADAM, LEARNED, POINTS, PUBLISHED

import pdecontrol as pc
from pdecontrol import interface_reference as reference

TOLERATED = 3.0  # times the number wanted, for the worst seed
COMPARED = ("circle", "unbounded", "beta 5", "star", "control", "heat")


class Way(NamedTuple):
    """A way to solve a case at one setting; `seeded` where random numbers matter."""

    setting: str
    solve: Callable[[Case, int], Found]
    seeded: bool = True


def elements(backend: str, degree: int, sizes: Sequence[float]) -> list[Way]:
    return [Way(f"h = {h:g}", lambda case, _, h=h: by_elements(case, h, degree, backend), seeded=False) for h in sizes]


def adam(name: str, quick: bool) -> Way:
    """As published."""
    training = pc.Adam(**ADAM[name] | ({"steps": 20, "refinement": 0, "every": 10} if quick else {}))
    return Way(f"{training.steps} steps", partial(by_networks, training=training, points=POINTS.get(name, 1024)))


def distributed() -> bool:
    return find_spec("dolfinx") is not None


def ways(name: str, quick: bool, budgets: Sequence[float]) -> dict[str, Callable[[], list[Way]]]:
    """Those for a case, each at some settings."""
    sizes = (0.2,) if quick else (0.2, 0.1, 0.05) if name == "heat" else (0.1, 0.05, 0.025)
    few = (100,) if quick else (400, 1000)

    def random(counts: Sequence[int], text: str = "", **options: Any) -> list[Way]:
        return [Way(f"{n} features{text}", partial(by_networks, features=n, **options)) for n in counts]

    def trained(training: Callable[..., Any]) -> list[Way]:
        return [Way(f"{s:g} s", partial(by_networks, training=training(seconds=s))) for s in budgets]

    def soft() -> list[Way]:
        kinds = [(f", weight {w:g}", {"training": "collocation", "weight": w}) for w in (1.0, 10.0)]
        return [way for text, options in kinds for way in random([2 * few[0]], text, **options)]

    found: dict[str, Callable[[], list[Way]]] = {
        "default": lambda: random(few) if quick else [Way("", by_networks)],
        "collocation": lambda: random(few, training="collocation"),
        "variable projection": lambda: trained(pc.VariableProjection),
        "Levenberg-Marquardt": lambda: trained(pc.LevenbergMarquardt),
        "adam": lambda: [adam(name, quick)],
        "soft": soft,
    }
    for backend in ("skfem", "dolfinx") if distributed() else ("skfem",):
        for degree in (1, 2):
            found[f"{backend} P{degree}"] = partial(elements, backend, degree, sizes)
    if name not in ("control", "heat"):
        found["Cartesian"] = lambda: [
            Way(f"h = {h:g}", lambda case, _, h=h: by_grid(case, h), seeded=False) for h in sizes
        ]
    return found


Numbers = dict[str, list[float]]  # of several seeds, by name


def measured(case: Case, way: Way, seeds: int) -> Numbers:
    """Errors and seconds."""
    rows = []
    for seed in range(seeds if way.seeded else 1):
        found = way.solve(case, seed)
        rows.append(case.errors(found) | {"seconds": found.seconds})
    return {name: [row[name] for row in rows] for name in rows[0]}


def worst(values: Sequence[float]) -> float:
    return max(values, key=abs)


def print_row(label: str, way: Way, case: Case, seeds: int) -> None:
    """A line of a table: medians, and the worst ones; or why there is no answer."""
    line = f"  {label:<21}{way.setting:<24}"
    try:
        numbers = measured(case, way, seeds)
    except pc.ConvergenceError as error:
        print(f"{line}  no answer: {error}"[:120], flush=True)
        return
    for name, values in numbers.items():
        if name == "seconds":
            line += f"{median(values):>9.1f} s"
        else:
            line += f"  {name} {median(values):>8.1e} ({worst(values):>8.1e})"
    print(line, flush=True)


def against_time(arguments: argparse.Namespace) -> None:
    """Errors against time."""
    for name in arguments.case or (["circle"] if arguments.quick else COMPARED):
        case, budgets = CASES[name](), (1.0,) if arguments.quick else arguments.budget
        print(f"\n{name}")
        offered = ways(name, arguments.quick, budgets)
        chosen = arguments.way or [label for label in offered if label != "adam"]
        for label in (label for label in chosen if label in offered):
            for way in offered[label]():
                print_row(label, way, case, arguments.seeds)


def published(arguments: argparse.Namespace) -> None:
    """The published errors, and ours."""
    for row in PUBLISHED[:1] if arguments.quick else PUBLISHED:
        if arguments.case and row.case not in arguments.case:
            continue
        print(f"\n{row.case}, {row.kind}")
        state = "" if np.isnan(row.state) else f"  y {row.state:.1e}"
        print(f"  published: u {row.control:.1e}{state}  {60 * row.minutes:.0f} s, {row.remark}")
        print_row("ours", Way("", partial(by_networks, **row.options)), CASES[row.case](), arguments.seeds)


def soft(arguments: argparse.Namespace) -> None:
    """Exact conditions against rows with weights, in the span of as many features, at the same points."""
    case = CASES["circle"]()
    for count in (250,) if arguments.quick else (400, 700):
        for weight in (None, 1.0, 10.0, 100.0):
            way = Way(f"{count} features", partial(matched, weight=weight, features=count))
            label = "exact" if weight is None else f"weight {weight:g}"
            print_row(label, way, case, arguments.seeds)


def matched(case: Case, seed: int, weight: float | None, features: int = 400) -> Found:
    """Collocation at the same points with the same hidden layer, whatever the conditions are."""
    points = 15 * features // 2
    return by_networks(case, seed, weight, training="collocation", features=features, points=points, scale=2.0)


# -- what is wanted ---------------------------------------------------------------------------------------------------


class Wanted(NamedTuple):
    """Numbers for a seed, and what they should not exceed."""

    measure: Callable[[int], dict[str, float]]
    limits: dict[str, float]


def of(name: str, **options: Any) -> Callable[[int], dict[str, float]]:
    """Errors and seconds of a case by the seed."""

    def measure(seed: int) -> dict[str, float]:
        case = CASES[name]()
        found = by_networks(case, seed, **options)
        return case.errors(found) | {"seconds": found.seconds}

    return measure


def hard_and_soft(seed: int) -> dict[str, float]:
    """Errors of u with exact conditions over those with rows at weights 1 and 10, of which the second is the best."""
    case = CASES["circle"]()
    exact, *rows = (case.errors(matched(case, seed, weight))["u"] for weight in (None, 1.0, 10.0))
    return {"hard/soft": exact / rows[0], "hard/best soft": exact / rows[1]}


def no_answer(seed: int) -> dict[str, float]:
    """1 if collocation gives an answer on the star, where it has none."""
    try:
        by_networks(Case(reference.star()), seed, training="collocation")
    except pc.ConvergenceError:
        return {"answers": 0.0}
    return {"answers": 1.0}


WANTED = {
    "circle": Wanted(of("circle"), {"u": 1e-5, "y": 2e-5, "seconds": 15}),
    "unbounded": Wanted(of("unbounded"), {"u": 1e-5, "y": 1e-4, "seconds": 20}),
    "trained, 20 s": Wanted(of("circle", training=pc.VariableProjection(seconds=18.0)), {"u": 1e-4, "seconds": 20}),
    "trained, 60 s": Wanted(of("circle", training=pc.VariableProjection(seconds=57.0)), {"u": 2e-5, "seconds": 60}),
    "control": Wanted(of("control"), {"u": 5e-6, "y": 2e-5, "seconds": 15}),
    "heat": Wanted(of("heat"), {"u": 5e-6, "y": 2e-5, "seconds": 60}),
    "star": Wanted(of("star"), {"u": 5e-3, "y": 5e-3, "max u": 2e-4, "J": 5e-3, "seconds": 60}),
    "star, strong form": Wanted(no_answer, {"answers": 0}),
    "hard, soft": Wanted(hard_and_soft, {"hard/soft": 1 / 20, "hard/best soft": np.inf}),
    "alpha 1e-4": Wanted(of("alpha 1e-4"), {"u": 1e-4, "y": 1e-4}),
    "(1, 1e3)": Wanted(of("(1, 1e3)"), {"u": 1e-5}),
    "(1e3, 1)": Wanted(of("(1e3, 1)"), {"u": 1e-3}),
    "(1, 1e-3)": Wanted(of("(1, 1e-3)"), {"u": 1e-3}),
    "(1, 1e3), jumps": Wanted(of("(1, 1e3), jumps"), {"u": 1e-3}),
    "(1e3, 1), jumps": Wanted(of("(1e3, 1), jumps"), {"u": 1e-3}),
    "(1, 1e-3), jumps": Wanted(of("(1, 1e-3), jumps"), {"u": 1e-3}),
    "learned h, g, phi": Wanted(of("circle", **LEARNED), {"u": 7.4e-4, "seconds": 180}),
    "inclusions": Wanted(of("inclusions"), {"u": 1e-3, "y": 1e-3, "seconds": 60}),
    "moving": Wanted(of("moving"), {"u": 5e-5, "seconds": 30}),
    "family": Wanted(family_errors, {"u": 5e-3, "y": 5e-3, "seconds": 60}),
}


def wanted(arguments: argparse.Namespace) -> None:
    """Each number that is wanted, beside the median and the worst: PASS unless that is over, or this three times so."""
    print(f"{'':<20}{'':<16}{'wanted':>9}{'median':>10}{'worst':>10}")
    for name in arguments.case or (["circle"] if arguments.quick else list(WANTED)):
        try:
            rows = [WANTED[name].measure(seed) for seed in range(arguments.seeds)]
        except pc.ConvergenceError as error:
            print(f"{name:<20}no answer: {error}  SHORT"[:150], flush=True)
            continue
        for number, limit in WANTED[name].limits.items():
            print(judged(name, number, limit, [row[number] for row in rows]), flush=True)


def judged(name: str, number: str, limit: float, values: Sequence[float]) -> str:
    """The line of a number."""
    typical, largest = median(map(abs, values)), abs(worst(values))
    passes = typical <= limit and largest <= TOLERATED * limit
    return f"{name:<20}{number:<16}{limit:>9.2g}{typical:>10.2g}{largest:>10.2g}  {'PASS' if passes else 'SHORT'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tables = parser.add_subparsers(required=True)
    for name, show, cases in (
        ("time", against_time, list(COMPARED)),
        ("published", published, list(ADAM)),
        ("soft", soft, ["circle"]),
        ("wanted", wanted, list(WANTED)),
    ):
        own = tables.add_parser(name, help=show.__doc__)
        own.set_defaults(show=show)
        own.add_argument("--quick", action="store_true", help="the smallest setting")
        own.add_argument("--seeds", type=int, default=5)
        own.add_argument("--case", nargs="+", choices=cases, default=[])
        if name == "time":
            own.add_argument("--way", nargs="+", help="default, collocation, adam, .., by default all but adam")
            own.add_argument("--budget", type=float, nargs="+", default=[2.0, 20.0, 60.0], help="seconds of trainings")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds = 1
    threads, load = os.environ.get("OMP_NUM_THREADS", "all"), os.getloadavg()[0]
    print(f"{arguments.seeds} seeds, {threads} threads, load {load:.1f} of {os.cpu_count()} processors")
    arguments.show(arguments)


if __name__ == "__main__":
    main()
