"""The sources of datasets that the command line offers, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import DatasetError
from .antiderivative import Antiderivative
from .darcy_control import DarcyControl
from .families import ConvectionDiffusion, Darcy, Helmholtz, Poisson, Thermal
from .helmholtz import NeumannHelmholtz
from .source import Source

FAMILIES: dict[str, type[Source]] = {
    family.name: family
    for family in (
        Darcy, Poisson, Helmholtz, Thermal, ConvectionDiffusion, NeumannHelmholtz, Antiderivative, DarcyControl,
    )
}  # fmt: skip


def source_of(definition: Mapping[str, Any]) -> Source:
    """The source of a dataset by the definition in its manifest; raises DatasetError for those that have no name."""
    parameters = dict(definition)
    name = parameters.pop("family", None)
    if name not in FAMILIES:
        raise DatasetError(f"the samples are of {name!r}, which has no name here: give their source.")
    try:
        source = FAMILIES[name](**parameters)
    except TypeError as error:
        raise DatasetError(f"{name}: the dataset is of another version of pdecontrol ({error}).") from None
    return source
