"""Trained networks: predictions, learned maps, and their files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Array, real_array
from ..errors import DataError, PdecontrolError, ResultFileError
from ..files import read_arrays, readable, write_arrays
from ..maps import SolutionMap
from .learned import LearnedMap

if TYPE_CHECKING:
    from torch import Tensor

    from .operators.model import ControlModel, PredictionModel

KIND = "trained network"
BATCH = 64


@dataclass(frozen=True, eq=False)
class Trained:
    """A network that `train` found, y = N(a, ..) or y = S(u), with all that says where it comes from.

    Attributes
    ----------
    model : the network with its units and boundary values, a module of torch.
    header : "task" ("prediction" or "control"), "network" and its "options", the "data", the "recipe", the "seed" and
        the "metrics" of the training: plain values.

    Examples
    --------
    >>> trained = Trained.load("darcy.npz")  # doctest: +SKIP
    >>> y = trained.predict(a)  # doctest: +SKIP
    """

    model: PredictionModel | ControlModel
    header: dict[str, Any]

    def __repr__(self) -> str:
        return f"<Trained: {self.header['task']}, {self.header['network']}, {self.parameters} parameters>"

    @property
    def parameters(self) -> int:
        """The number of weights."""
        return sum(weight.numel() for weight in self.model.parameters())

    @cached_property
    def digest(self) -> str:
        """Of network and weights."""
        checksum = hashlib.sha256(repr(self.header["network"]).encode())
        for name, array in sorted(self._arrays().items()):
            checksum.update(name.encode() + array.tobytes())
        return checksum.hexdigest()[:16]

    def predict(self, *inputs: Array) -> Array:
        """Output functions (count, ..) for input functions (count, ..) each; a single function gives a single one.

        For control maps the inputs are controls (count, n), and coefficients where there are any. In double precision.
        Raises DataError for other shapes, and for values that are not finite.
        """
        import torch

        arrays, shapes = [real_array(x, "an input function") for x in inputs], self._shapes
        if len(arrays) != len(shapes):
            raise DataError(f"{self.header['network']} takes {len(shapes)} input functions, got {len(arrays)}.")
        single = arrays[0].shape == shapes[0]
        arrays = [x[None] if single else x for x in arrays]
        for x, shape in zip(arrays, shapes, strict=True):
            if x.shape[1:] != shape or len(x) != len(arrays[0]):
                raise DataError(
                    f"{self.header['network']} takes functions of shapes {shapes}, as many of each, got one of "
                    f"{x.shape[1:]}: resample them to the grid of the training."
                )
            if not np.isfinite(x).all():
                raise DataError("an input function has values that are not finite.")
        with torch.no_grad():
            parts = [
                self._double(*(torch.as_tensor(x[i : i + BATCH]) for x in arrays)).numpy()
                for i in range(0, len(arrays[0]), BATCH)
            ]
        found = np.concatenate(parts)
        return found[0] if single else found

    def map(self, exact: SolutionMap, coefficient: Array | None = None, device: str = "cpu") -> LearnedMap:
        """The learned map in the spaces of an exact one, for a coefficient where the data had any; see `LearnedMap`."""
        if self.header["task"] != "control":
            raise DataError("a prediction is no map of a control problem: train it on samples of one (ControlSamples).")
        return LearnedMap(self.model, exact, coefficient, self.digest, device)

    def save(self, path: str | Path) -> Path:
        """Write all to one .npz file, plain arrays and a JSON header; `load` reads it."""
        return write_arrays(path, {"kind": KIND, **self.header}, self._arrays())

    @classmethod
    def load(cls, path: str | Path) -> Trained:
        """The network of a file.

        Raises
        ------
        ResultFileError
            For files that are damaged, of networks that this version has not, or whose weights do not fit: nothing in a
            file is executed, and only networks of a closed list are built.
        """
        try:
            from .operators.model import rebuilt
        except ImportError:
            raise PdecontrolError("networks need torch: pip install torch.") from None
        header, arrays = read_arrays(path, KIND)
        with readable(path):
            header = {name: value for name, value in header.items() if name not in ("kind", "format")}
            try:
                return cls(
                    rebuilt(header["task"], header["network"], header["options"], header["model"], arrays), header
                )
            except PdecontrolError as error:
                raise ResultFileError(f"{path} has no network of this version of pdecontrol: {error}") from None

    def _arrays(self) -> dict[str, Any]:
        return {name: value.detach().cpu().numpy() for name, value in self.model.state_dict().items()}

    @property
    def _shapes(self) -> list[tuple[int, ...]]:
        """The shapes of one of each input function."""
        described = self.header["model"]
        if self.header["task"] == "prediction":
            return [tuple(shape) for shape in described["inputs"]]
        controls, a = self.model.control_points.shape[1], described["coefficient"]
        return [(controls,)] if a is None else [(controls,), tuple(a)]

    @cached_property
    def _double(self) -> Callable[..., Tensor]:
        return deepcopy(self.model).cpu().double().eval()
