"""Run by test_mpi.py on several numbers of ranks: every example and case, with whole vectors in a file."""

import sys
import warnings
from pathlib import Path

import numpy as np
from pdecontrol.examples import (
    bang_bang,
    bilinear,
    boundary_control,
    boundary_in_time,
    boundary_observation,
    burgers,
    continuous_bound,
    heat_sources,
    heaters,
    inclusions,
    interface_control,
    interface_in_time,
    interface_jumps,
    interface_observed,
    inverse_heat,
    l_shape,
    moving_target,
    regularisation_path,
    semilinear,
    semilinear_sparse,
    stadler,
    star,
    three_dimensions,
    threshold,
)

import pdecontrol as pc
from pdecontrol.parallel import world

sys.path.insert(0, str(Path(__file__).parent.parent))
from cases import CASES, problem

SMALL = {
    stadler: {"n": 24, "method": "primal-dual"}, bang_bang: {"n": 16}, boundary_control: {"n": 12},
    boundary_observation: {"n": 12}, burgers: {"n": 40}, heat_sources: {"n": 20}, regularisation_path: {"n": 16},
    semilinear: {"n": 12}, bilinear: {"n": 4}, boundary_in_time: {"n": 6}, heaters: {"n": 8, "steps": 12},
    inverse_heat: {"n": 10, "steps": 4, "alpha": 0.1}, moving_target: {"n": 8, "steps": 4, "alpha": 2e-3},
    semilinear_sparse: {"n": 4}, three_dimensions: {"n": 6}, threshold: {"n": 16},
    inclusions: {"size": 0.2}, interface_control: {"size": 0.2}, interface_in_time: {"size": 0.3, "steps": 4},
    interface_jumps: {"size": 0.2, "backend": pc.Parallel(degree=2)}, interface_observed: {"n": 8, "alpha": 1e-2},
    star: {"size": 0.2}, continuous_bound: {"sizes": (8,), "backend": pc.Parallel},
    l_shape: {"total_tol": 0.5, "backend": pc.Parallel(degree=2)},
}  # fmt: skip


def x_first(x):
    return x[0]


def awkward_data():
    """Functions that dislike empty arrays, fields of other engines and ranks as data, and parts on one rank."""
    mesh = pc.unit_square(8).tag_boundary("dot", lambda x: (x[0] == 0) & (x[1] < 0.1))
    mesh = mesh.tag_part("spot", lambda x: x.sum(axis=0) < 0.2)
    bounded = problem(
        boundary={"dot": pc.Dirichlet(lambda x: x.max() + 0 * x[0])}, control=pc.Boundary("right"),
        terms=[pc.Box(lambda x: -x.max(axis=0).max() + 0 * x[0], 5.0)],
    )  # fmt: skip
    first = pc.solve(bounded, mesh, "dolfinx")
    yield "bounds", first.objective
    yield "its certificate elsewhere", pc.certify(bounded, first.control, pc.discretise(bounded, mesh, "skfem")).bound
    yield "a start elsewhere", pc.solve(bounded, mesh, "skfem", start=first).solves["total"]
    yield "a start from elsewhere", pc.solve(bounded, mesh, "dolfinx", start=pc.solve(bounded, mesh, "skfem")).objective
    finer = pc.solve(bounded, mesh.refine(), "dolfinx", start=first.control)
    yield "a start from another mesh", finer.objective
    flux = problem(boundary={"left": pc.Dirichlet(), "right": pc.Neumann(first.state)})
    yield "a field as flux", pc.solve(flux, mesh, "dolfinx").objective
    source = problem(pc.Elliptic(source={"spot": first.state}), tracking=pc.Tracking(first.state))
    yield "a field as source", pc.solve(source, mesh, "dolfinx").objective
    heaters = problem(boundary={"left": pc.Dirichlet()}, control=pc.Actuators([first.state, 1.0], on="right"))
    yield "a field as actuator", pc.solve(heaters, mesh, "dolfinx").objective
    for tags in (("left", "bottom"), ("bottom", "left")):
        conditions = {tag: pc.Dirichlet(value) for tag, value in zip(tags, (1.0, 2.0), strict=True)}
        with pc.discretise(problem(boundary=conditions), mesh, "dolfinx") as map:
            yield f"the corner of {tags}", map.field(map.control.zeros())([[0.0], [0.0]]).item()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", pc.AdvectionWarning)
        pc.discretise(problem(pc.Elliptic(1e-3, advection=(1.0, x_first))), mesh, "dolfinx")
    yield "warnings of all ranks", world().sum(len(caught))
    yield "the Peclet number", float(str(world().share(caught and caught[0].message)).partition(") is ")[2].split()[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error", pc.AdvectionWarning)
        try:
            pc.discretise(problem(pc.Elliptic(1e-3, advection=(1.0, x_first))), mesh, "dolfinx")
        except pc.AdvectionWarning:
            yield "ranks that raise", world().sum(1) / world().size


def main(output: Path) -> None:
    found = {}

    def keep(name, result):
        whole, certificate = result.gather(), result.certificate
        numbers = [result.objective, certificate.norm, certificate.measure, len(result.history), result.success]
        found[f"{name}.numbers"] = np.array(numbers, dtype=float)
        for field in (whole.control, whole.state, whole.adjoint):
            found[f"{name}.{field.name}"] = field.array

    for module, size in SMALL.items():
        name = module.__name__.rpartition(".")[2]
        results = module.main(output / name if world().size == 2 else None, **size)
        for number, result in enumerate(results if isinstance(results, list) else [results]):
            keep(f"{name} {number}", result)
    for case in CASES:
        with case.fresh_map(backend="dolfinx") as map:
            at = map.at(map.control.scatter(case.control()))
            found[f"{case.name}/state"] = map.solution.gather(at.state)
            found[f"{case.name}/observed"] = map.observation.gather(at.value)
            found[f"{case.name}/adjoint"] = map.control.gather(at.adjoint(at.value))
    for linear_solver in ("direct", "amg"):
        problem = pc.reference.box(1e-4).problem
        result = pc.solve(problem, pc.unit_square(20), pc.Parallel(linear_solver=linear_solver), discretisation=True)
        keep(f"E1, {linear_solver}", result)
        found[f"E1, {linear_solver}.discretisation"] = np.array(result.certificate.discretisation)
        found[f"E1, {linear_solver}.values"] = result.state(np.array([[0.1, 0.7], [0.2, 0.3]]))
    for name, number in awkward_data():
        found[f"awkward/{name}"] = np.array(number)
    if world().root:
        np.savez(output / f"{world().size}.npz", **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
