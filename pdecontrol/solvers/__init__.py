"""Optimisation algorithms, one per file, all driven by `loop.minimise`."""

from .newton import SemismoothNewton
from .primal_dual import PrimalDual
from .proximal import FISTA, ProximalGradient

METHODS = {
    "primal-dual": PrimalDual,
    "fista": FISTA,
    "proximal-gradient": ProximalGradient,
    "semismooth-newton": SemismoothNewton,
}

__all__ = ["FISTA", "METHODS", "PrimalDual", "ProximalGradient", "SemismoothNewton"]
