"""Errors planted in a copy of the package, one at a time: the tests named must catch each.

    python tests/mutants.py [NAME ...]

Prints the outcome of each, and exits with 1 unless all are caught.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "pdecontrol"


class Mutant(NamedTuple):
    """A text that a file of the package has exactly once, what to put in its place, and the tests that catch it."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def planted(self) -> str:
        """The file with the error in it."""
        text = (PACKAGE / self.file).read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file} has {self.old!r} {text.count(self.old)} times, not once")
        return text.replace(self.old, self.new)


MUTANTS = {
    "the state of another control in a certificate": Mutant(
        "certificate.py", ".solve_adjoint(p, near), None  #", ".solve_adjoint(p, near), at  #",
        ("test_infinite_errors.py::test_a_state_that_is_known_is_not_taken_for_that_of_another_control[0]",)),
    "a proximal weight that stays": Mutant(
        "solvers/proximal_point.py", "max(FALL * weight, LEAST * norm**2)", "weight",
        ("test_proximal_point.py::test_the_gap_vanishes_with_the_weight",)),
    "a proximal centre that stays": Mutant(
        "solvers/proximal_point.py", "centre, weight = state.u, max(", "weight = max(",
        ("test_proximal_point.py::test_the_gap_vanishes_with_the_weight",)),
    "proximal points that are far from solved": Mutant(
        "solvers/proximal_point.py", "if inner > objective", "if inner > 1e3 * objective",
        ("test_proximal_point.py::test_the_gap_vanishes_with_the_weight",)),
    "controls without a bound compared by the relative gap": Mutant(
        "certificate.py", "value = self.gap if self.bound", "value = self.relative_gap if self.bound",
        ("test_proximal_point.py::test_a_target_that_can_be_reached_ends_at_rounding",)),
    "a bound without the distance to the projected control": Mutant(
        "solvers/given_control.py", "map.control.norm(u - projected.control) + certificate.bound", "certificate.bound",
        ("test_given_control.py::test_never_violated_whatever_the_dual_vector[0.0-1.0]",)),
    "the gap of another dual vector": Mutant(
        "solvers/given_control.py", "gap = certify_by_gap(objective, map, at, u, p, adjoint)",
        "gap = certify_by_gap(objective, map, at, u, objective.state.gradient(at.value), adjoint)",
        ("test_given_control.py::test_never_violated_whatever_the_dual_vector[0.0-1.0]",)),
    "checkpoints without the dual vector of the best control": Mutant(
        "solvers/checkpoint.py", '"adjoint": None, "dual": "observation"}', '"adjoint": None}',
        ("test_given_control.py::test_a_run_that_has_been_certified_is_so_when_it_is_taken_up_again",)),
    "stalled while the objective falls": Mutant(
        "solvers/schedule.py", "gained = max(self.least[0], fell)", "gained = self.least[0]",
        ("test_solvers.py::test_a_run_is_not_stalled_while_its_objective_falls",)),
    "stalled by bounds while the objective falls": Mutant(
        "solvers/schedule.py", "and now - fell > max(patience, now // 4)", "",
        ("test_solvers.py::test_a_run_is_not_stalled_while_its_objective_falls",)),
    "learned adjoints without error": Mutant(
        "learn/learned.py", "Adjoint(map.control.riesz(transposed), np.inf)",
        "Adjoint(map.control.riesz(transposed), 0.0)",
        ("test_learned_maps.py::test_the_adjoint_of_an_affine_network_is_its_transpose_in_the_inner_products_of_the_spaces[None]",)),
    "adjoint without the mass of the observation": Mutant(
        "learn/learned.py", "functional = map.observation, map.observation.dual(w)", "functional = map.observation, w",
        ("test_learned_maps.py::test_the_adjoint_of_an_affine_network_is_its_transpose_in_the_inner_products_of_the_spaces[None]",)),
    "a surrogate that is always trusted": Mutant(
        "solvers/surrogate_newton.py", "trusted=trusted", "trusted=True",
        ("test_certified.py::test_bad_surrogates_end_at_the_true_optimum_and_cost_little[zero-0.0001]",)),
    "residual bounds without coercivity": Mutant(
        "learn/residual.py", "eta = norm / sqrt(coercivity)", "eta = norm",
        ("test_residual_bound.py::test_no_error_is_larger_than_its_bound_and_no_bound_much_larger_than_its_error",)),
    "sign of the control in the derivative of a system": Mutant(
        "pinn/system/block.py", "else self.factor * self.control.slope(v)", "else -self.factor * self.control.slope(v)",
        ("test_training.py::test_the_jacobian_is_the_derivative_of_the_residual[on the domain]",
         "test_training.py::test_the_jacobian_is_the_derivative_of_the_residual[on the interface]",
         "test_training.py::test_the_jacobian_is_the_derivative_of_the_residual[over time]")),
    "damping forgotten by a checkpoint": Mutant(
        "pinn/training/least_squares.py", 'float(last.rest["damping"])', "DAMPING",
        ("test_training.py::test_a_run_that_goes_on_is_one_that_never_stopped",)),
    "weights that are best at the points of training": Mutant(
        "pinn/training/monitor.py", "stage.held_out < self.best.held_out", "stage.residual < self.best.residual",
        ("test_training.py::test_how_trainings_end",)),
    "sign of a control on an interface": Mutant(
        "fem/control.py", "Coupling(space, sign * matrix)", "Coupling(space, matrix)",
        ("test_interfaces.py::test_a_control_on_an_interface_is_added_to_the_jump_of_the_flux[skfem-P1]",
         "test_interfaces.py::test_the_optimal_control_on_an_interface_is_the_projection_of_plus_p_over_alpha[skfem]")),
    "sign of a jump of the flux": Mutant(
        "fem/conditions.py", "load -= region.functional(values)", "load += region.functional(values)",
        ("test_interfaces.py::test_states_with_jumps_of_value_and_flux_are_of_second_order[skfem]",)),
    "sign of a jump of the state": Mutant(
        "fem/conditions.py", "self._values[dofs] = -sampler", "self._values[dofs] = sampler",
        ("test_interfaces.py::test_states_with_jumps_of_value_and_flux_are_of_second_order[skfem]",)),
    "one side of an interface forgotten": Mutant(
        "fem/ties.py", "return functional + np.bincount(self._outer, functional[self.inner], functional.size)",
        "return functional",
        ("test_maps.py::test_adjoint[jumps]",)),
    "sign of a control on an interface in trial spaces": Mutant(
        "pinn/functions/projection.py", "sign = -1.0 if isinstance(problem.control, Boundary) else 1.0", "sign = 1.0",
        ("test_system.py::test_exact_solutions_satisfy_all_rows[flux control]",
         "test_system.py::test_the_reduced_gradient_is_alpha_u_plus_or_minus_p[interface]")),
    "sign of a jump of the flux in trial spaces": Mutant(
        "pinn/system/system.py", "                factors.append(-weight)", "                factors.append(weight)",
        ("test_system.py::test_exact_solutions_satisfy_all_rows[flux control]",)),
    "adjoint states forwards in time": Mutant(
        "pinn/system/system.py", "rate.times((1.0 if of_state else -1.0) / kappa)", "rate.times(1.0 / kappa)",
        ("test_system.py::test_exact_solutions_satisfy_all_rows[heat]",)),
    "second derivatives without those of phi": Mutant(
        "pinn/functions/ansatz.py", "mixed[2] += size * phi.laplacian", "mixed[2] += 0.0",
        ("test_ansatz.py::test_derivatives_are_those_of_the_values[star-spaces]",)),
    "jumps of values with the other sign in trial spaces": Mutant(
        "pinn/functions/lifting.py",
        "g = g - self._jump(tag, places.points, t)", "g = g + self._jump(tag, places.points, t)",
        ("test_ansatz.py::test_jumps_are_exact[circle]",)),
    "edges bent on one side": Mutant(
        "fem/interfaces.py", "for side in (tag, tag + OUTER):", "for side in (tag,):",
        ("test_interfaces.py::test_quadratic_states_are_of_third_order_where_the_shape_is_stated[skfem]",)),
    "jump of the flux at the initial time": Mutant(
        "fem/evolution.py", "loaded += [item.flux for item in interface.values()]", "loaded += []",
        ("test_interfaces.py::test_a_control_is_the_jump_of_the_flux_at_every_time[P1-skfem-1-crank-nicolson]",)),
    "sign of actuators on an interface": Mutant(
        "fem/control.py", "sign * sp.hstack(loads", "sp.hstack(loads",
        ("test_interfaces.py::test_a_control_is_the_jump_of_the_flux_at_every_time[actuator-skfem-1-None]",)),
    "sizes of loads without the jump of the flux": Mutant(
        "fem/conditions.py", "load -= region.functional(values)\n        sizes += ",
        "load -= region.functional(values)\n        sizes += 0 * ",
        ("test_interfaces.py::test_the_jump_of_the_flux_is_part_of_the_sizes_that_rounding_is_told_from",)),
    "largest part of a function with two values": Mutant(
        "evaluable.py", "key=lambda tag: -parts[tag].size", "key=lambda tag: parts[tag].size",
        ("test_sides.py::test_functions_with_two_values_on_nested_interfaces_are_data",)),
    "sides of a mesh not compared with the shape": Mutant(
        "mesh/fit.py", "wrong = shape.contains(x) != expected", "wrong = shape.contains(x) & False",
        ("test_fitted_meshes.py::test_a_file_that_fits_and_one_that_does_not",)),
    "vertices off an interface": Mutant(
        "mesh/fit.py", "turn / 8 if degree", "turn if degree",
        ("test_fitted_meshes.py::test_vertices_may_be_off_gamma_by_what_is_between_chord_and_arc",)),
    "turning of curves": Mutant(
        "problem/curves.py", "0.97 * np.minimum(size, turn /", "0.97 * np.minimum(size, 1.2 * turn /",
        ("test_shapes.py::test_curves_are_anticlockwise_and_as_fine_as_asked[0.3-0.2-circle]",)),
    "curvature without its residual": Mutant(
        "spectrum.py", "return value - max(residual, resolution)", "return value",
        ("test_norms.py::test_curvature_is_from_below_on_random_problems",)),
    "gap without e ||u - z||": Mutant(
        "certificate.py", "moved = (error * distance if distance > 0 else 0.0) + ", "moved = ",
        ("test_certificate.py::test_never_violated_on_random_problems[0.1-0.01]",)),
    "gap without e^2/(2 alpha)": Mutant(
        "terms/control.py", "return error and error**2 / (2 * self.alpha)", "return 0.0",
        ("test_certificate.py::test_errors_of_solves_enter_the_certificate",)),
    "gap without e diam(box)": Mutant(
        "terms/control.py", "return error * self.diameter", "return 0.0",
        ("test_certificate.py::test_errors_of_solves_enter_the_certificate",)),
    "modulus assumed to the end": Mutant(
        "certificate.py", "if enough is None or not enough(certificate):", "if True:",
        ("test_solvers.py::test_a_stationary_point_without_convexity_is_not_a_success[ProximalGradient(norm=None)]",)),
    "0.9 in place of a linear functional": Mutant(
        "terms/state.py", "return np.ones_like(y)", "return 0.9 * np.ones_like(y)",
        ("test_terms.py::test_state_cost",)),
    "weight of actuators": Mutant(
        "fem/control.py", "numbers(group, np.ones(", "numbers(group, 1.01 * np.ones(",
        ("test_rounding.py::test_nearly_singular_equations[reaction-1-0.01]",)),
    "solves before a restart not counted": Mutant(
        "solvers/checkpoint.py", 'go_on(header["solves"], ', 'go_on({"total": 0}, ',
        ("test_solvers.py::test_restart_continues_exactly[FISTA(norm=None)]",)),
    "fingerprint without the element": Mutant(
        "fem/control.py", 'f"{kind} {control.element}"', "kind",
        ("test_identity.py::test_every_datum_tells_problems_apart[distributed-skfem]",)),
    "nonlinear bound / 20": Mutant(
        "certificate.py", "error) / modulus, floor", "error) / (20 * modulus), floor",
        ("test_certificate.py::test_nonlinear_bounds_against_known_optima[1.0-1.01]",)),
    "nonlinear bound / 2": Mutant(
        "certificate.py", "error) / modulus, floor", "error) / (2 * modulus), floor",
        ("test_certificate.py::test_nonlinear_bounds_against_known_optima[1.0-1.01]",)),
    "u* = 0 whatever the error of q": Mutant(
        "certificate.py", "_known(fixed.error) + _known(error)", "_known(error)",
        ("test_identity.py::test_zero_is_not_declared_where_errors_could_hide_a_control[adjoint_noise]",)),
    "u* = 0 whatever the error of S(0)": Mutant(
        "certificate.py", "_known(fixed.error) + _known(error) * map.norm_bound", "_known(fixed.error)",
        ("test_identity.py::test_zero_is_not_declared_where_errors_could_hide_a_control[state_noise]",)),
    "constants halved": Mutant(
        "fem/bounds.py", "1.3 * float(np.sqrt(max(largest_eigenvalue(", "0.65 * float(np.sqrt(max(largest_eigenvalue(",
        ("test_norms.py::test_constants_of_iterative_certificates_are_from_above[2D]",
         "test_norms.py::test_constants_of_factors_are_from_above[2D]")),
    "compared norms halved": Mutant(
        "fem/bounds.py", "np.sqrt(np.max(shares, axis=0)) *", "0.5 * np.sqrt(np.max(shares, axis=0)) *",
        ("test_norms.py::test_norms_of_diffusion_are_bounded_by_a_single_solve[2D-direct]",)),
    "positive entries off the diagonal overlooked": Mutant(
        "linear/residual.py", "np.count_nonzero(local.data > 2 * ROUNDING *", "np.count_nonzero(local.data > 2 *",
        ("test_norms.py::test_what_has_no_bound_by_a_single_solve",)),
    "mu ten times larger": Mutant(
        "linear/solver.py", "np.sqrt(0.1 * least)", "np.sqrt(least)",
        ("test_rounding.py::test_the_constant_of_iterative_bounds_is_from_below[skfem]",)),
    "discretisation with 4/3": Mutant(
        "driver.py", "(refined.array - parents) * (4 / 3) ** 0.5", "(refined.array - parents) * (4 / 3)",
        ("test_identity.py::test_the_estimate_for_controls_on_cells",)),
    "fingerprint without the box": Mutant(
        "terms/control.py", "in (self.reference, self.lower, self.upper)]", "in (self.reference,)]",
        ("test_identity.py::test_every_datum_tells_problems_apart[distributed-skfem]",)),
    "argmin at 0.99 beta": Mutant(
        "terms/control.py", "np.where(q < -self.beta, self.upper, np.where(q > self.beta,",
        "np.where(q < -0.99 * self.beta, self.upper, np.where(q > 0.99 * self.beta,",
        ("test_terms.py::test_the_kink_of_argmin_without_a_tikhonov_term",)),
    "slope of the wrong sign": Mutant(
        "solvers/normal_map_newton.py", "before + ARMIJO * t * slope", "before - ARMIJO * t * slope",
        ("test_nonlinear_methods.py::test_steps_along_linearised_problems_reduce_the_objective",)),
    "no way back to FISTA's last control": Mutant(
        "solvers/fista_nonlinear.py", "if objective.value(u, y) >", "if False and objective.value(u, y) >",
        ("test_nonlinear_methods.py::test_fista_restarts_and_never_raises_the_objective",)),
    "multiplier of ADMM with the old z": Mutant(
        "solvers/admm.py", "multiplier = l + rho * (u - new)", "multiplier = l + rho * (u - z)",
        ("test_nonlinear_methods.py::test_iterates_of_admm_solve_their_subproblems_to_the_criterion",)),
    "second-order condition on all directions": Mutant(
        "certificate.py", "lambda h: alpha * derivative(h))", "lambda h: h)",
        ("test_nonlinear_methods.py::test_the_second_order_condition_is_reported[0.0001-10.0-3.0]",)),
    "second-order condition from above": Mutant(
        "spectrum.py", "return value - (0.0 if k == space.count else resolution)", "return value + resolution",
        ("test_norms.py::test_curvature_is_from_below_on_random_problems",)),
    "a Ritz value taken for a bound as soon as it is seen": Mutant(
        "spectrum.py", "enough = e * width <= resolution * (1.0 - 2.0 * e)", "enough = True",
        ("test_norms.py::test_no_eigenvector_is_overlooked",)),
    "tracking at the end with the whole weight": Mutant(
        "fem/evolution.py", "return 0.5 * (shares + np.append(shares[1:], 0.0))", "return shares",
        ("test_parabolic.py::test_the_objective_is_the_sum_that_is_documented[crank-nicolson]",)),
    "adjoint with the length of the wrong step": Mutant(
        "fem/steps.py", "carried = self.previous(n, p[n], True)", "carried = self.previous(n - 1, p[n], True)",
        ("test_maps.py::test_adjoint[actuators in time, points over an interval]",)),
    "controls at the ends of steps": Mutant(
        "fem/evolution.py", "inner = self.times[1:] - 0.5 * self.lengths if", "inner = self.times[1:] if",
        ("test_parabolic.py::test_the_objective_is_the_sum_that_is_documented[crank-nicolson]",)),
    "no second derivative at the old state": Mutant(
        "fem/trajectory.py", "curved = on_old", "curved = 0.0 * on_old",
        ("test_maps.py::test_tangent_and_hessian[exponential in time, Crank-Nicolson, boundary control]",)),
    "constants of marches halved": Mutant(
        "fem/bounds_in_time.py", "1.3 * float(", "0.65 * float(",
        ("test_parabolic.py::test_constants_of_marches_are_from_above[heat]",)),
    "no rounding in the residuals of steps": Mutant(
        "fem/evolution.py", "return ROUNDING * new.lifting.restrict(sizes)", "return 0.0 * new.lifting.restrict(sizes)",
        ("test_parabolic.py::test_rounding_is_part_of_the_bounds[cancelling]",)),
    "coarse levels damped like the finest": Mutant(
        "linear/kkt.py", "self.radii[:depth])", "self.radii[:1] * depth)",
        ("test_kkt.py::test_a_uniform_damping_would_not_do_in_3D",)),
    "Newton systems as accurate at small weights": Mutant(
        "fem/collective.py", "ACCURACY / (top * norm**2)", "ACCURACY",
        ("test_kkt.py::test_cycles_are_few_for_every_weight[2D]",)),
    "controls of Newton systems without their mass": Mutant(
        "linear/kkt.py", "weights / self._mass", "weights",
        ("test_kkt.py::test_solutions_are_those_of_the_system[Robin control P0]",)),
    "fluxes into the domain where they are prescribed": Mutant(
        "continuous/patches.py", "np.where(first, -data[0],", "np.where(first, data[0],",
        ("test_fluxes.py::test_fluxes_are_those_of_dense_minimisation_on_patches[1-one-mixed]",)),
    "sums round vertices that go on": Mutant(
        "continuous/patches.py", "np.cumsum(afresh) - values", "np.cumsum(afresh) - afresh",
        ("test_fluxes.py::test_fluxes_are_those_of_dense_minimisation_on_patches[1-slit-Dirichlet]",)),
    "a target of fluxes that does not commute": Mutant(
        "continuous/quadratic_flux.py", "error[:, 6:] = with_divergence(-self._residual(own, moments))",
        "error[:, 6:] = with_divergence(-moments)",
        ("test_fluxes.py::test_fluxes_are_those_of_dense_minimisation_on_patches[2-slit-Dirichlet]",)),
    "bounds without the weight of what is tracked": Mutant(
        "continuous/bound.py", "float(np.sqrt(statement.weight.max()))", "1.0",
        ("test_continuous.py::test_planted_errors_make_bounds_too_small[no weight of what is tracked]",)),
    "controls with data of another optimum": Mutant(
        "continuous/analysis.py", "distance + statement.off", "distance",
        ("test_continuous.py::test_given_controls_are_compared_with_the_reference_itself",)),
}  # fmt: skip


def outcome(mutant: Mutant) -> str:
    """Whether the tests of a mutant fail on a copy of the package with it: "caught", "survived", or what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(PACKAGE, Path(folder, "pdecontrol"), ignore=shutil.ignore_patterns("__pycache__"))
        Path(folder, "pdecontrol", mutant.file).write_text(mutant.planted(), encoding="utf-8")
        options = ["-x", "-q", "-p", "no:cacheprovider", "-c", TESTS.parent / "setup.cfg", "--rootdir", TESTS.parent]
        run = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *(TESTS / test for test in mutant.tests)],
            cwd=folder, env=os.environ | {"PYTHONPATH": folder}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    return {0: "survived", 1: "caught"}.get(run.returncode, f"no outcome:\n{run.stdout}{run.stderr}")


def main(names: list[str]) -> int:
    outcomes = {}
    if not names:  # what catches errors must pass without
        tests = tuple(dict.fromkeys(test for mutant in MUTANTS.values() for test in mutant.tests))
        if outcome(Mutant("terms/control.py", "def soft(", "def soft(", tests)) != "survived":
            print("the tests fail without an error")
            return 1
    for name in names or MUTANTS:
        outcomes[name] = outcome(MUTANTS[name])
        print(f"{name:<40} {outcomes[name]}", flush=True)
    return int(set(outcomes.values()) != {"caught"})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
