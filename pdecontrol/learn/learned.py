"""The map of a control problem by a network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from copy import deepcopy
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Array, real_array
from ..errors import DataError
from ..maps import Adjoint, Linearisation, SolutionMap
from ..space import Space
from .places import order, places

if TYPE_CHECKING:
    from torch import Tensor

    from .operators.model import ControlModel


class LearnedMap(SolutionMap):
    r"""S~(u) = y_0 + L_a u, or N(u): a trained network in the place of the map of an equation.

    Parameters
    ----------
    model : what was trained.
    like : the exact map that it approximates, whose spaces it has; nothing is solved with it.
    coefficient : a, for models of families u -> S_a(u); it is encoded once.
    name : a digest of the model, by which restarts recognise it.
    device : where it is applied.

    Raises
    ------
    DataError
        For spaces that are not those of the training, and coefficients that do not fit.

    Notes
    -----
    The adjoint is that of S~ in the inner products of the spaces, S~'* w = M_u^-1 S~'^T M_y w, to rounding, and this is
    no evidence that it is near to S'(u)*: a network that was trained on states alone may err by ten times more. So
    nothing bounds its error, and what a run with this map finds is certified by an exact map alone.

    On several processes the first one applies the network to vectors that are gathered, and scatters what it finds.
    All is in double precision.
    """

    exact = False
    arithmetic = "a learned map, whose errors nothing bounds"

    def __init__(
        self,
        model: ControlModel,
        like: SolutionMap,
        coefficient: Array | None = None,
        name: str = "",
        device: str = "cpu",
    ) -> None:
        self.control, self.observation = like.control, like.observation
        self.affine, self.twice = model.affine, not model.affine
        group = self.control.group
        with group.agree():
            self._a = _checked(model, coefficient)
        found, scale = (places(self.control), places(self.observation)), self.control.scale
        with group.agree():
            if group.root:
                known = (points.cpu().numpy() for points in (model.control_points, model.observation_points))
                names = "the control", "what is observed"
                self._orders = [order(*item) for item in zip(known, found, (scale, scale), names, strict=True)]
        self._model = deepcopy(model).double().to(device).eval().requires_grad_(False)
        self._device = device
        coefficient_name = "" if self._a is None else hashlib.sha256(self._a.tobytes()).hexdigest()[:16]
        self.fingerprint = f"learned {name} {coefficient_name}"

    @cached_property
    def encoded(self) -> Any:
        """What the network keeps of the coefficient."""
        with self.solves.timing():
            self.solves.factorisations += 1
            return self._model.encode(None if self._a is None else self.tensor(self._a[None]))

    def tensor(self, a: Array) -> Tensor:
        import torch

        return torch.as_tensor(a, dtype=torch.float64, device=self._device)

    def network(self, u: Tensor) -> Tensor:
        """S~ on one whole vector, in the order of the network."""
        found: Tensor = self._model.apply_to(self.encoded, u[None])[0]
        return found

    @cached_property
    def graph(self) -> tuple[Tensor, Tensor]:
        """A control and the state of an affine network there, which backpropagates all duals."""
        return self.traced(self.tensor(np.zeros(self._model.control_points.shape[1])))

    def traced(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """A control and its state, recorded for backpropagation."""
        u = u.requires_grad_()
        return u, self.network(u)

    def on_root(self, work: Callable[..., Tensor], *vectors: tuple[Space, Array], to: Space) -> Array:
        """What the first process makes of whole vectors, in the order of the network, as a vector of a space.

        Control and observation are told apart by which space is which.
        """
        group = self.control.group
        wholes = [space.gather(vector) for space, vector in vectors]
        result = np.zeros(0)
        with group.agree():
            if group.root:
                arguments = [
                    self.tensor(whole[self._order(space)]) for (space, _), whole in zip(vectors, wholes, strict=True)
                ]
                found = work(*arguments).detach().cpu().numpy()
                result = np.empty_like(found)
                result[self._order(to)] = found
        return to.scatter(result)

    def _order(self, space: Space) -> Any:
        return self._orders[0] if space is self.control else self._orders[1]

    def at(self, u: Array, start: Array | None = None, accuracy: float | None = None) -> LearnedLinearisation:
        return LearnedLinearisation(self, self.control.checked(u, "the control"))


class LearnedLinearisation(Linearisation):
    """The network at one control, with its derivatives by automatic differentiation."""

    error = 0.0

    def __init__(self, map: LearnedMap, u: Array) -> None:
        self._map, self._u = map, u
        self._trace: tuple[Tensor, Tensor] | None = None

    @cached_property
    def value(self) -> Array:
        def work(u: Tensor) -> Tensor:
            return self._map.network(u) if self._map.affine else self._traced(u)[1]

        with self._map.solves.solving("state"):
            return self._map.on_root(work, (self._map.control, self._u), to=self._map.observation)

    def tangent(self, h: Array) -> Array:
        map = self._map

        def work(u: Tensor, h: Tensor) -> Tensor:
            if map.affine:
                return map.network(h) - map.graph[1]
            u, y = self._traced(u)
            dual = y.detach().clone().requires_grad_()
            return _gradient(_gradient(y, u, dual), dual, h)  # S'^T is linear, and S' its transpose

        with map.solves.solving("tangent"):
            return map.on_root(work, (map.control, self._u), (map.control, h), to=map.observation)

    def solve_adjoint(self, w: Array, start: Array | None = None) -> Adjoint:
        map = self._map

        def work(u: Tensor, w: Tensor) -> Tensor:
            u, y = map.graph if map.affine else self._traced(u)
            return _gradient(y, u, w)

        with map.solves.solving("adjoint"):
            functional = map.observation, map.observation.dual(w)
            transposed = map.on_root(work, (map.control, self._u), functional, to=map.control)
            return Adjoint(map.control.riesz(transposed), np.inf)

    def second(self, h: Array, w: Array, adjoint: Adjoint, outer: Callable[[Array], Array]) -> Array:
        map, control, observation = self._map, self._map.control, self._map.observation

        def work(u: Tensor, h: Tensor, w: Tensor) -> Tensor:
            u, y = self._traced(u)
            return _gradient(_gradient(y, u, w), u, h)

        linear = self.solve_adjoint(outer(self.tangent(h))).gradient
        with map.solves.timing():
            dual = observation, observation.dual(w)
            curved = map.on_root(work, (control, self._u), (control, h), dual, to=control)
        return linear + control.riesz(curved)

    def _traced(self, u: Tensor) -> tuple[Tensor, Tensor]:
        if self._trace is None:
            self._trace = self._map.traced(u)
        return self._trace


def _gradient(y: Tensor, u: Tensor, w: Tensor) -> Tensor:
    """The derivative of <y, w> by u, recorded for another one where it depends on something."""
    import torch

    if not y.requires_grad:
        return torch.zeros_like(u)
    found = torch.autograd.grad(y, u, w, create_graph=True, allow_unused=True)[0]
    return torch.zeros_like(u) if found is None else found


def _checked(model: ControlModel, coefficient: Array | None) -> Array | None:
    """The coefficient as numbers of the shape that the model takes."""
    shape = model.coefficient
    if shape is None:
        if coefficient is not None:
            raise DataError("this network was trained for one equation: it takes no coefficient.")
        return None
    if coefficient is None:
        raise DataError(f"this network was trained for a family of equations: give coefficient=, of shape {shape}.")
    a = real_array(coefficient, "the coefficient")
    if a.shape != shape or not np.isfinite(a).all():
        raise DataError(f"the coefficient has finite values of shape {shape}, got shape {a.shape}.")
    return a
