"""The terms of the objective, bound to their spaces: values, proximal maps and Fenchel-Young residuals."""

from .control import ControlCost
from .objective import Objective, bind
from .state import Functional, LinearFunctional, Quadratic, StateCost

__all__ = ["ControlCost", "Functional", "LinearFunctional", "Objective", "Quadratic", "StateCost", "bind"]
