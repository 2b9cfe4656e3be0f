"""The heat equation by implicit Euler in numpy: a map over time, with states that are linear and controls constant."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

import pdecontrol as pc
from pdecontrol.mesh.elements import cell_lagrange, facet_lagrange
from pdecontrol.space import Space


def stiffness(mesh):
    corners = mesh.points[:, mesh.cells]
    gradients = np.linalg.inv((corners[:, 1:] - corners[:, :1]).transpose(2, 0, 1))
    gradients = np.concatenate([-gradients.sum(axis=1, keepdims=True), gradients], axis=1)
    local = np.einsum("cid,cjd,c->cij", gradients, gradients, mesh.volumes)
    rows, columns = np.broadcast_arrays(mesh.cells.T[:, :, None], mesh.cells.T[:, None, :])
    return sp.csr_matrix((local.ravel(), (rows.ravel(), columns.ravel())), (mesh.points.shape[1],) * 2)


class Heat(pc.SolutionMap):
    """y_t - div(grad y)/10 + y/10 = B u, y(0) = 0, natural conditions; controls P1, P0, on a side, of actuators."""

    affine = exact = True

    def __init__(self, mesh, edges, control="P1"):
        self.edges, self.steps = np.asarray(edges, dtype=float), np.diff(edges)
        elements = cell_lagrange(mesh, 1)
        lumped = elements.lumped_mass()
        self.mass = sp.diags(lumped).tocsr()
        elliptic = stiffness(mesh) / 10 + self.mass / 10
        self.factors = {step: splu((self.mass / step + elliptic).tocsc()) for step in set(self.steps)}
        base, self.coupling = self.controls(mesh, elements, control)
        times = self.edges[1:]
        self.control = base.over(times, self.steps, self.edges)
        self.observation = Space(elements.mass_matrix(), elements).over(times, self.steps)
        self.fingerprint = f"heat {control} {self.edges}"

    @staticmethod
    def controls(mesh, elements, control):
        lumped = elements.lumped_mass()
        if isinstance(control, int):
            shapes = np.stack([np.sin((k + 1) * np.pi * mesh.points[0]) for k in range(control)], axis=1)
            return Space(np.ones(control)), sp.csr_matrix(lumped[:, None] * shapes)
        if control == "P1":
            return Space(lumped, elements), sp.diags(lumped).tocsr()
        if control == "P0":
            cells, corners = cell_lagrange(mesh, 0), len(mesh.cells)
            shares = np.repeat(mesh.volumes / corners, corners)
            entries = mesh.cells.T.ravel(), np.repeat(np.arange(mesh.volumes.size), corners)
            return Space(cells.lumped_mass(), cells), sp.csr_matrix((shares, entries), (elements.size, cells.size))
        side = facet_lagrange(mesh, control, 1)
        nodes = [np.abs(elements.points - point[:, None]).sum(axis=0).argmin() for point in side.points.T]
        weights = side.lumped_mass()
        return Space(weights, side), sp.csr_matrix((weights, (nodes, np.arange(side.size))), (elements.size, side.size))

    def at(self, u, start=None, accuracy=None):
        return HeatAt(self, u)

    def march(self, u):
        y, rows = np.zeros(self.mass.shape[0]), []
        for step, row in zip(self.steps, self.control.steps(u), strict=True):
            y = self.factors[step].solve(self.mass @ y / step + self.coupling @ row)
            rows.append(y)
        return np.concatenate(rows)


class HeatAt(pc.Linearisation):
    def __init__(self, map, u):
        self.map, self.u = map, u

    @cached_property
    def value(self):
        with self.map.solves.solving("state"):
            return self.map.march(self.u)

    def tangent(self, h):
        with self.map.solves.solving("tangent"):
            return self.map.march(h)

    def solve_adjoint(self, w, start=None):
        map, p, rows = self.map, np.zeros(self.map.mass.shape[0]), []
        later = 1.0
        with map.solves.solving("adjoint"):
            for step, row in zip(map.steps[::-1], map.observation.steps(map.observation.dual(w))[::-1], strict=True):
                p = map.factors[step].solve(map.mass @ p / later + row)
                rows.append(p / step)
                later = step
        states = np.stack(rows[::-1])
        functional = np.concatenate([step * (map.coupling.T @ p) for step, p in zip(map.steps, states, strict=True)])
        return pc.Adjoint(map.control.riesz(functional), 0.0, states.ravel())


def moving(x, t):
    """A bump that moves along the first axis."""
    return np.exp(-20 * ((x[0] - 0.2 - 0.6 * t) ** 2 + sum((s - 0.5) ** 2 for s in x[1:])))


TERMS = (pc.Tikhonov(1e-3), pc.L1(1e-3), pc.Box(-0.5, 0.8))


def stated(map, terms=TERMS, target=moving):
    return pc.ControlProblem(tracking=pc.Tracking(map.observation.interpolate(target)), terms=list(terms))


def solved(mesh, control="P1", steps=6, terms=TERMS, **options):
    map = Heat(mesh, np.linspace(0.0, 1.0, steps + 1), control)
    return pc.minimise(stated(map, terms), map, **{"tol": 1e-3} | options)
