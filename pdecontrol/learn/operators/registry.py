"""The closed list of networks that files may name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ...errors import DataError
from .deeponet import ControlDeepONet, DeepONet, PODDeepONet
from .gated import GatedMultigrid
from .in_time import ModesInTime
from .low_rank import LowRank, SelfAdjoint
from .mgno import ControlMgNO, MgNO
from .network import ControlNetwork, Prediction
from .reduced import ReducedMap

PREDICTIONS: dict[str, type[Prediction]] = {
    "deeponet": DeepONet,
    "pod-deeponet": PODDeepONet,
    "mionet": DeepONet,
    "mgno": MgNO,
}
CONTROLS: dict[str, type[ControlNetwork]] = {
    "deeponet": ControlDeepONet,
    "low-rank": LowRank,
    "self-adjoint": SelfAdjoint,
    "pod-deeponet": ReducedMap,
    "mgno": ControlMgNO,
    "gated-multigrid": GatedMultigrid,
    "modes-in-time": ModesInTime,
}


def build(kind: str, name: str, options: Mapping[str, Any]) -> Prediction | ControlNetwork:
    """The network of a kind, "prediction" or "control", by its name and options; raises DataError for others."""
    networks: Mapping[str, type[Prediction | ControlNetwork]] = PREDICTIONS if kind == "prediction" else CONTROLS
    if name not in networks:
        raise DataError(f"there is no {kind} network {name!r}; there are: {', '.join(networks)}.")
    known = list(inspect.signature(networks[name]).parameters)
    for option in options:
        if option not in known:
            raise DataError(f"{name} has no option {option!r}; there are: {', '.join(known)}.")
    try:
        return networks[name](**options)
    except TypeError as error:
        raise DataError(f"{name}: an option has a value of the wrong type ({error}).") from None
    except (ValueError, RuntimeError) as error:
        raise DataError(f"{name}: {error}.") from None
