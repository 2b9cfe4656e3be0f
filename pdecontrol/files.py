"""Files that are written whole or not at all, and archives of arrays whose contents are checked."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import Array
from .errors import ResultFileError

FORMAT = 2


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path of the same ending to write to, which takes the place of a file in the end; raises ResultFileError."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        with _named(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def stage(path: Path) -> Path:
    """A path of the same name in a new folder, to write to with files beside it; then `settle` and `discard` it."""
    folder = path.with_name(f".{path.name}.{os.getpid()}")
    with _named(path):
        folder.mkdir(parents=True)
    return folder / path.name


def settle(staged: Path, path: Path) -> None:
    """Put a staged file in its place, after what is beside it; folders take the place of those of their names."""
    folder = staged.parent
    with _named(path):
        for item in sorted(folder.iterdir(), key=lambda item: item == staged):
            target = path.with_name(item.name)
            if item.is_dir() and target.is_dir():
                os.replace(target, folder / f"{item.name}.old")
            os.replace(item, target)


def discard(staged: Path) -> None:
    """Delete what was staged, or what is left of it."""
    shutil.rmtree(staged.parent, ignore_errors=True)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """A block whose errors of the system are those of a file."""
    try:
        yield
    except OSError as error:
        raise ResultFileError(f"{path} cannot be written ({error.strerror or error}).") from error


def _path(path: Any) -> Path:
    """The path of a file; raises ResultFileError for what is none."""
    if not isinstance(path, (str, os.PathLike)) or not Path(path).name:
        raise ResultFileError(f"a path is text or a pathlib.Path, got {path!r}.")
    return Path(path)


def npz(path: str | Path) -> Path:
    """The path with the ending .npz, which is added if missing."""
    path = _path(path)
    return path if path.suffix == ".npz" else path.with_name(path.name + ".npz")


def write_arrays(path: str | Path, header: dict[str, Any], arrays: dict[str, Array]) -> Path:
    """Write a JSON header and arrays to one .npz file, whole or not at all; raises ResultFileError."""
    path = npz(path)
    header = {"format": FORMAT, **header}
    text = json.dumps(header | {"digest": _checksum(header, arrays)}).encode()
    contents: dict[str, Any] = {"header": np.frombuffer(text, dtype=np.uint8), **arrays}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **contents)
        file.flush()
        os.fsync(file.fileno())
    return path


def read_arrays(path: str | Path, kind: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """The header and arrays of a file of `write_arrays`, checked; raises ResultFileError."""
    path = _path(path) if _path(path).is_file() else npz(path)
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes().decode())
    except FileNotFoundError:
        raise ResultFileError(f"there is no file {path}.") from None
    except (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise ResultFileError(f"{path} is damaged or not a file of pdecontrol ({error}).") from None
    except Exception as error:  # zlib and struct errors of truncated files have no common base
        raise ResultFileError(f"{path} is damaged ({error}).") from None
    if not isinstance(header, dict) or header.get("kind") != kind or header.get("format") != FORMAT:
        raise ResultFileError(f"{path} is not a {kind} of this version of pdecontrol.")
    if header.pop("digest", None) != _checksum(header, arrays):
        raise ResultFileError(f"{path} is damaged: its contents are not those that were written.")
    return header, arrays


@contextmanager
def readable(path: str | Path) -> Iterator[None]:
    """A block that takes the contents of a file apart: what it lacks or has of the wrong kind is a ResultFileError."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ResultFileError(f"{path} is damaged, or not of this version of pdecontrol ({reason}).") from None


def _checksum(header: dict[str, Any], arrays: dict[str, Array]) -> str:
    """A checksum of all that a file holds."""
    checksum = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        checksum.update(f"{name} {array.dtype.str} {array.shape}".encode())
        checksum.update(array.tobytes())
    return checksum.hexdigest()
