"""Classical surrogates of maps, without any training: subspaces, multigrid, coarse meshes, other equations."""

from .mixed import SurrogateState
from .other import CoarseMesh, Surrogate
from .reduced_in_time import ReducedMarch
from .solves import ReducedBasis, SineGalerkin, VCycle

__all__ = ["CoarseMesh", "ReducedBasis", "ReducedMarch", "SineGalerkin", "Surrogate", "SurrogateState", "VCycle"]
