"""Equilibrated fluxes of degree 1."""

# ruff: noqa
# mypy: ignore-errors
import numpy as np

OPP = np.array((1, 2, 0))


class M:
    pass


class RT0:
    def __init__(self, tri, kappa, dirichlet):
        self.mesh = mesh = M()
        mesh.nc = tri.count
        mesh.nv = tri.points.shape[1]
        mesh.nf = tri.facets.shape[1]
        mesh.p = tri.points
        mesh.t = tri.cells
        mesh.mid = tri.points[:, tri.cells].mean(axis=1)
        mesh.area = tri.areas
        mesh.t2f = tri.facets_of
        mesh.f2t = tri.cells_of
        mesh.f2v = tri.facets
        mesh.g = tri.gradients.transpose(1, 0, 2)
        mesh.mid = mesh.mid
        nc, nv, nf = mesh.nc, mesh.nv, mesh.nf
        self.kappa = np.broadcast_to(np.asarray(kappa, float), (nc,))
        self.neu = tri.boundary & ~dirichlet
        P = mesh.p[:, mesh.t]
        d = mesh.mid[:, None] - P
        self.M = (np.einsum("dic,dkc->ikc", d, d) + ((d**2).sum((0, 1)) / 12)) / (4 * mesh.area * self.kappa)
        sg = (P[0, 1] - P[0, 0]) * (P[1, 2] - P[1, 0]) - (P[1, 1] - P[1, 0]) * (P[0, 2] - P[0, 0]) > 0
        cell = np.tile(np.arange(nc), 3)
        a = np.repeat(np.arange(3), nc)
        v = mesh.t.ravel()
        nxt, prv = (a + 1) % 3, (a + 2) % 3
        ccw = np.where(sg[cell], nxt, prv)
        cw = 3 - a - ccw
        fcw, fccw = mesh.t2f[OPP[cw], cell], mesh.t2f[OPP[ccw], cell]
        bd = mesh.f2t[1] == -1
        first = np.zeros(nv, int)
        first[v] = np.arange(3 * nc)
        b = np.flatnonzero(bd[fcw])
        first[v[b]] = b
        ang = np.arctan2(mesh.mid[1, cell] - mesh.p[1, v], mesh.mid[0, cell] - mesh.p[0, v])
        rel = (ang - ang[first[v]] + 1e-9) % (2 * np.pi)
        o = np.lexsort((rel, v))
        self.cell, self.a, self.v, self.cw, self.ccw, self.fcw, self.fccw = (
            x[o] for x in (cell, a, v, cw, ccw, fcw, fccw)
        )
        self.ptr = np.searchsorted(self.v, np.arange(nv))
        self.end = np.append(self.ptr[1:], 3 * nc) - 1
        self.sign = np.where(mesh.f2t[0, mesh.t2f[OPP]] == np.arange(nc), 1.0, -1.0)
        self.Maa, self.Mab, self.Mbb = (
            self.M[self.cw, self.cw, self.cell],
            self.M[self.cw, self.ccw, self.cell],
            self.M[self.ccw, self.ccw, self.cell],
        )
        self.den = np.add.reduceat(self.Maa - 2 * self.Mab + self.Mbb, self.ptr)
        self.bfirst, self.blast = bd[self.fcw[self.ptr]], bd[self.fccw[self.end]]
        self.nfirst, self.nlast = self.neu[self.fcw[self.ptr]], self.neu[self.fccw[self.end]]
        self.scw, self.sccw = self.sign[self.cw, self.cell], self.sign[self.ccw, self.cell]

    def __call__(self, y, Q, G):
        mesh = self.mesh
        g = np.einsum("ic,idc->dc", y[mesh.t], mesh.g)
        out = -2 * mesh.area * self.kappa * np.einsum("dc,idc->ic", g, mesh.g)
        b = Q.sum(1) if Q.ndim == 3 else Q
        D = (b + out / 2)[self.a, self.cell]
        cs = np.cumsum(D)
        ex = cs - D
        p = -(ex - ex[self.ptr][self.v])
        p1 = p - D
        v0, v1 = -p - out[self.cw, self.cell] / 2, p1 - out[self.ccw, self.cell] / 2
        num = -v0 * self.Maa + (v0 - v1) * self.Mab + v1 * self.Mbb
        t = -np.add.reduceat(num, self.ptr) / self.den
        if self.neu.any():
            w = np.flatnonzero(self.nfirst)
            f = self.fcw[self.ptr[w]]
            e = (mesh.f2v[1, f] == w).astype(int)
            t[w] = -G[e, :, f].sum(1)
            w = np.flatnonzero(self.nlast & ~self.nfirst)
            f = self.fccw[self.end[w]]
            e = (mesh.f2v[1, f] == w).astype(int)
            t[w] = G[e, :, f].sum(1) - p1[self.end[w]]
        x0, x1 = t[self.v] + p, t[self.v] + p1
        c0 = np.bincount(self.fccw, self.sccw * x1, mesh.nf)
        s = self.ptr[self.bfirst]
        c0 += np.bincount(self.fcw[s], -self.scw[s] * x0[s], mesh.nf)
        dl = self.sign * c0[mesh.t2f[OPP]] - out
        return np.sqrt(np.einsum("ic,ikc,kc->c", dl, self.M, dl) * self.kappa)


class LinearFlux(RT0):
    def __call__(self, y, Q, G):
        t = self.mesh.t
        full = np.zeros(t.max() + 1)
        full[t] = y
        return super().__call__(full, Q, G)
