"""The families of equations that `pdecontrol generate` offers, on grids of the unit square or cube."""

from ..family import Family
from .convection_diffusion import ConvectionDiffusion
from .darcy import Darcy
from .helmholtz import Helmholtz
from .poisson import Poisson
from .thermal import Thermal

__all__ = ["FAMILIES", "ConvectionDiffusion", "Darcy", "Helmholtz", "Poisson", "Thermal"]

FAMILIES: dict[str, type[Family]] = {
    family.name: family for family in (Darcy, Poisson, Helmholtz, Thermal, ConvectionDiffusion)
}
