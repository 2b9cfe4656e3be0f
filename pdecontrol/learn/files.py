"""The files of a dataset: what is written is whole or not there, and what has changed since is found.

- manifest.json: what the samples are, and the plan by which they are solved; the first of two calls creates it.
- data.zarr: their values, in version 2 of the zarr format, which zarr 2 and 3 read.
- chunks/000012.json: the record of a chunk, written after its values: the call that they are of, checksums, residuals,
  failures, costs.
- summary.json: what the records add up to, written when all are there.
- .lock: held by the call that writes; the operating system lets go of it when that process ends, however it ends.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np

from ..arrays import Array
from ..errors import DatasetError

MANIFEST, SUMMARY, RECORDS, DATA, LOCK = "manifest.json", "summary.json", "chunks", "data.zarr", ".lock"
GOES_ON = "finished chunks are kept, and the same call goes on from there"
LARGEST = 2**31 - 32  # bytes that Blosc compresses at once
_COMPRESSOR = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}


@dataclass(frozen=True)
class Files:
    """The files of the dataset that a manifest describes."""

    directory: Path
    manifest: dict[str, Any]

    @property
    def chunks(self) -> range:
        """The numbers of its chunks."""
        return range(-(-self.manifest["count"] // self.manifest["chunk"]))

    @cached_property
    def call(self) -> str:
        """The checksum of what determines the values of a chunk: all of the manifest but what may change later."""
        free = ("count", "on_failure", "versions")
        fixed = {name: value for name, value in self.manifest.items() if name not in free}
        return checksum(json.dumps(fixed, sort_keys=True).encode())

    def samples(self, number: int) -> range:
        """The samples of a chunk."""
        size = self.manifest["chunk"]
        return range(number * size, min((number + 1) * size, self.manifest["count"]))

    def record(self, number: int) -> Path:
        """The file that says that a chunk is finished."""
        return self.directory / RECORDS / f"{number:06d}.json"

    @property
    def metadata(self) -> dict[Path, bytes]:
        """What the files that describe the arrays contain."""
        count, chunk = self.manifest["count"], self.manifest["chunk"]
        contents: dict[str, Any] = {".zgroup": {"zarr_format": 2}}
        for name, array in self.manifest["arrays"].items():
            contents[f"{name}/.zarray"] = {
                "zarr_format": 2, "shape": [count, *array["shape"]], "chunks": [chunk, *array["shape"]],
                "dtype": array["dtype"], "compressor": _COMPRESSOR, "fill_value": "NaN", "order": "C", "filters": None,
            }  # fmt: skip
        return {self.directory / DATA / name: json.dumps(value, indent=1).encode() for name, value in contents.items()}

    def arrays(self) -> dict[str, Any]:
        """The zarr arrays by name."""
        zarr = extra("zarr")
        if any(_stored(path) != checksum(content) for path, content in self.metadata.items()):
            raise DatasetError(f"the metadata in {self.directory / DATA} are damaged: the same call mends them.")
        group = zarr.open_group(str(self.directory / DATA), mode="r")
        return {name: group[name] for name in self.manifest["arrays"]}

    def prepare(self) -> None:
        """Describe the arrays where that is not done."""
        for path, content in self.metadata.items():
            if _stored(path) != checksum(content):
                write(path, content)

    def values(self, name: str, number: int) -> Path:
        """The file with the values of an array in a chunk."""
        axes = len(self.manifest["arrays"][name]["shape"])
        return self.directory / DATA / name / ".".join([str(number), *["0"] * axes])

    def save(self, number: int, arrays: dict[str, Array], report: dict[str, Any]) -> None:
        """Write the values of a chunk, then its record, with checksums of the values and of their files."""
        compress, stored = extra("numcodecs").get_codec(_COMPRESSOR).encode, {}
        for name, values in arrays.items():
            whole = np.full((self.manifest["chunk"], *values.shape[1:]), np.nan)
            whole[: len(values)] = values  # which are fewer in the last chunk
            content = bytes(compress(whole))
            stored[name] = checksum(content)
            write(self.values(name, number), content)
        checksums = {name: checksum(values.tobytes()) for name, values in arrays.items()}
        record = {"chunk": number, "call": self.call, **report, "checksums": checksums, "files": stored}
        write_sealed(self.record(number), record)

    def lost(self, numbers: Iterable[int]) -> list[int]:
        """Those of the chunks that have no record of this call, or whose files are not those that were written."""
        return [number for number in numbers if not self._intact(number)]

    def _intact(self, number: int) -> bool:
        record = self._recorded(number)
        files = record["files"] if record else {}
        return bool(files) and all(_stored(self.values(name, number)) == known for name, known in files.items())

    def _recorded(self, number: int) -> dict[str, Any] | None:
        """The record of a chunk, None if there is none, or that of another call or of fewer samples."""
        with suppress(DatasetError):
            record = read(self.record(number))
            if (record.get("call"), record.get("samples")) == (self.call, len(self.samples(number))):
                return record
        return None

    def summary(self) -> dict[str, Any]:
        """What is written of a complete dataset; else what the chunks that are there add up to."""
        with suppress(DatasetError):
            return read(self.directory / SUMMARY)
        records = [record for number in self.chunks if (record := self._recorded(number))]
        residuals, bounds = (
            np.array([value for record in records for value in record[name] if value is not None], dtype=float)
            for name in ("residuals", "bounds")
        )
        counts: dict[str, float] = {}
        for record in records:
            for name, value in record["counts"].items():
                counts[name] = counts.get(name, 0.0) + value
        return {
            "samples": sum(record["samples"] for record in records),
            "worst_residual": float(residuals.max()) if residuals.size else None,
            "median_residual": float(np.median(residuals)) if residuals.size else None,
            "worst_bound": float(bounds.max()) if bounds.size else None,
            "without_bound": int(residuals.size - bounds.size),
            "failures": {number: reason for record in records for number, reason in record["failures"].items()},
            "digest": checksum(json.dumps([record["checksums"] for record in records], sort_keys=True).encode()),
            "counts": counts,
        }

    @property
    def size(self) -> int:
        """How many bytes the files have together."""
        return sum(path.stat().st_size for path in self.directory.rglob("*") if path.is_file())


def checksum(data: bytes) -> str:
    """The checksum of bytes."""
    return hashlib.sha256(data).hexdigest()


def _stored(path: Path) -> str | None:
    """The checksum of a file, None if there is none that can be read."""
    try:
        return checksum(path.read_bytes())
    except OSError:
        return None


def _sealed(content: dict[str, Any]) -> bytes:
    text = json.dumps(content, indent=1, allow_nan=False)
    return json.dumps({**content, "sha256": checksum(text.encode())}, indent=1).encode()


def write_sealed(path: Path, content: dict[str, Any]) -> None:
    """Write JSON with its own checksum."""
    write(path, _sealed(content))


def read(path: Path) -> dict[str, Any]:
    """What `write_sealed` wrote; raises DatasetError if the file is missing or a byte of it was changed."""
    try:
        data = path.read_bytes()
        content: dict[str, Any] = json.loads(data)
        del content["sha256"]
        if _sealed(content) != data:
            raise ValueError("its checksum is another")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is missing or damaged ({error}).") from None
    return content


def create_sealed(path: Path, content: dict[str, Any]) -> bool:
    """Write JSON with its own checksum, unless the file is there: whether this process, of several, has done so."""
    return bool(write(path, _sealed(content), _create))


def _create(temporary: Path, path: Path) -> bool:
    """Rename a file if the name is free: whether it was."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            return False
        os.replace(temporary, path)
    return True


def write(path: Path, data: bytes, place: Callable[[Path, Path], object] = os.replace) -> object:
    """Write a file, whole or not at all, and return what `place` does, which names it; raises DatasetError."""
    temporary = path.with_name(f".{path.name}.{token_hex(8)}.tmp")
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            return place(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """A block in which no other call writes to a directory, from which it removes what killed ones left half written.

    Without locks, as on Windows and some network file systems, two calls may write: of different ones the second finds
    the manifest of the first, and equal ones write the same.
    """
    with ExitStack() as held:
        try:
            fcntl = import_module("fcntl")
            fcntl.flock(held.enter_context(open(directory / LOCK, "ab")), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatasetError(
                f"another call is writing to {directory}: wait until it has ended, or give another directory."
            ) from None
        except (ImportError, OSError):
            pass  # a directory that can only be read is enough where all chunks are there
        else:
            with writing(directory):
                for path in directory.rglob(".*.tmp"):
                    path.unlink(missing_ok=True)
        yield


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A block whose errors of the file system say what becomes of the dataset."""
    try:
        yield
    except OSError as error:
        raise DatasetError(f"{path} cannot be written ({error.strerror or error}); {GOES_ON}.") from error


def extra(name: str) -> Any:
    """A module that only datasets need."""
    try:
        return import_module(name)
    except ImportError:
        raise DatasetError(f"datasets need {name}: pip install zarr threadpoolctl tqdm.") from None
