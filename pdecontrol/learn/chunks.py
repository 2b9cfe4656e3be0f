"""Chunks of a dataset: drawn, solved, checked and written together."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from ..arrays import Array
from ..errors import ConvergenceError, DatasetError
from .files import GOES_ON, Files
from .manifest import generator, one_thread
from .source import Batch, Source


@dataclass(frozen=True)
class Maker:
    """What a process needs to make chunks."""

    source: Source
    files: Files

    def make(self, number: int) -> None:
        """Draw, solve, check and write the samples of a chunk."""
        manifest, samples, start = self.files.manifest, self.files.samples(number), perf_counter()
        generators = [generator(manifest["seed"], sample) for sample in samples]
        with one_thread():
            batch = self.source.batch(manifest["plan"], generators, manifest["tolerance"])
        arrays, failures = self._checked(batch, samples)
        if manifest["on_failure"] == "stop":
            refuse(failures)
        counts = {"seconds": perf_counter() - start, **batch.counts}
        report = {
            "samples": len(samples), "failures": failures, "counts": {name: float(n) for name, n in counts.items()},
            "residuals": _numbers(arrays["residual"]), "bounds": _numbers(arrays["bound"]),
        }  # fmt: skip
        self.files.save(number, arrays, report)

    def _checked(self, batch: Batch, samples: range) -> tuple[dict[str, Array], dict[str, str]]:
        """The arrays of a batch, NaN where a sample failed, and what failed by the number of the sample."""
        arrays, failures = {}, dict(batch.failures)
        given = {**batch.arrays, "residual": batch.residuals, "bound": batch.bounds}
        for name, array in self.files.manifest["arrays"].items():
            shape = (len(samples), *array["shape"])
            if np.iscomplexobj(given.get(name, ())):
                raise DatasetError(f"the source gave complex values of {name}: give real and imaginary parts.")
            arrays[name] = np.array(given.get(name, ()), dtype=array["dtype"], order="C")
            if arrays[name].shape != shape:
                raise DatasetError(f"the source gave {name} the shape {arrays[name].shape}, not {shape}.")
            if name != "bound":
                finite = np.isfinite(arrays[name]).all(axis=tuple(range(1, len(shape))))
                failures = {int(i): f"{name} is not finite" for i in np.flatnonzero(~finite)} | failures
        tolerance, residuals = self.files.manifest["tolerance"], arrays["residual"]
        loose = np.flatnonzero(residuals > tolerance * (1 + 1e-12))
        failures = {int(i): f"the residual {residuals[i]:.1e} is above the tolerance" for i in loose} | failures
        if strangers := set(failures) - set(range(len(samples))):
            raise DatasetError(f"the source reports a failure of sample {strangers.pop()} of {len(samples)}.")
        for values in arrays.values():
            values[list(failures)] = np.nan
            values[np.isnan(values)] = np.nan  # all with the same bits, for the checksum
        return arrays, {str(samples[i]): failures[i] for i in sorted(failures)}


def refuse(failures: dict[str, str]) -> None:
    """Raise ConvergenceError if samples have failed, with the reasons by their numbers."""
    if failures:
        reasons = "; ".join(f"sample {number}: {reason}" for number, reason in list(failures.items())[:5])
        more = f"; and {len(failures) - 5} more" if len(failures) > 5 else ""
        raise ConvergenceError(f"{reasons}{more}. on_failure='skip' leaves such samples out; {GOES_ON}.")


def _numbers(values: Array) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values.tolist()]
