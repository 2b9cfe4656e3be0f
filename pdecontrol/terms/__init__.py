"""The terms of the objective, bound to their spaces: values, proximal maps and Fenchel-Young residuals."""

from .control import ControlCost
from .objective import Objective, bind
from .state import Affine, Functional, Quadratic, StateCost

__all__ = ["Affine", "ControlCost", "Functional", "Objective", "Quadratic", "StateCost", "bind"]
