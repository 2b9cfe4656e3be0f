"""Optimisation algorithms, one per file, all driven by `loop.run`; `choice` finds the one that fits."""

from .checkpoint import Checkpoint
from .choice import ADMM, FISTA, METHODS, PrimalDual, ProximalGradient, ProximalPoint, SemismoothNewton, SurrogateNewton

__all__ = [
    "ADMM", "FISTA", "METHODS", "Checkpoint", "PrimalDual", "ProximalGradient", "ProximalPoint", "SemismoothNewton",
    "SurrogateNewton",
]  # fmt: skip
