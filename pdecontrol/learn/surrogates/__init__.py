"""Classical surrogates of maps, without any training: subspaces, multigrid, coarse meshes, other equations."""

from .mixed import SurrogateState
from .solves import ReducedBasis, SineGalerkin, VCycle
from .transfers import CoarseMesh, Surrogate

__all__ = ["CoarseMesh", "ReducedBasis", "SineGalerkin", "Surrogate", "SurrogateState", "VCycle"]
