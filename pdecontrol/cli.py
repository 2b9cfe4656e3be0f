"""The command `pdecontrol`: what is installed, and the examples."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from pkgutil import iter_modules
from time import perf_counter
from types import ModuleType

import pdecontrol

from .errors import PdecontrolError
from .parallel import report
from .result import Status

_EXAMPLES = "pdecontrol.examples"
_ENGINES = {"skfem": "scikit-fem", "dolfinx": "fenics-dolfinx"}
_REMEDIES = {
    "numpy": "numpy", "scipy": "scipy", "scikit-fem": "scikit-fem", "matplotlib": "matplotlib", "meshio": "meshio",
    "pyamg": "'pdecontrol[amg]'",
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 after an error, 2 for unknown names, 130 after Ctrl-C.

    Parameters
    ----------
    arguments : those of the command line by default.

    Examples
    --------
    >>> main(["info"])    # doctest: +SKIP
    """
    chosen = _parser().parse_args(arguments)
    try:
        if chosen.command == "info":
            return _info()
        return _gallery(chosen.names, chosen.list, chosen.output)
    except (PdecontrolError, OSError) as error:
        print(f"pdecontrol: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("pdecontrol: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pdecontrol", description="Optimal control of partial differential equations, with certificates."
    )
    parser.add_argument("--version", action="version", version=f"pdecontrol {pdecontrol.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("info", help="show versions, and how to install what is missing")
    gallery = commands.add_parser("gallery", help="run examples, which write figures and results")
    gallery.add_argument("names", nargs="*", help="which examples; all by default")
    gallery.add_argument("--list", action="store_true", help="list the examples and run none")
    gallery.add_argument(
        "--output", type=Path, default=Path("results"), metavar="DIR", help="where to write (default: results)"
    )
    return parser


def _info() -> int:
    report(f"{'pdecontrol':<12} {pdecontrol.__version__}")
    report(f"{'python':<12} {platform.python_version()}")
    for package, remedy in _REMEDIES.items():
        report(f"{package:<12} {_version(package) or f'not installed: pip install {remedy}'}")
    found = _version("fenics-dolfinx")
    remedy = "apt-get install python3-dolfinx, or conda install -c conda-forge fenics-dolfinx"
    report(f"{'dolfinx':<12} {found or f'not installed: {remedy}'}")
    engines = [engine for engine, package in _ENGINES.items() if _version(package)]
    report(f"{'engines':<12} {', '.join(engines) or 'none: pip install scikit-fem'}")
    return 0


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _gallery(names: list[str], only_list: bool, output: Path) -> int:
    examples = _examples()
    unknown = [name for name in names if name not in examples]
    if unknown:
        print(f"pdecontrol: there is no example {unknown[0]!r}; there are: {', '.join(examples)}", file=sys.stderr)
        return 2
    chosen = {name: examples[name] for name in names} or examples
    if only_list:
        for name, module in chosen.items():
            report(f"{name:<20} {_title(module)}")
        return 0
    for name, module in chosen.items():
        report(f"{name}: {_title(module)}")
        start = perf_counter()
        results = module.main(output)
        results = results if isinstance(results, list) else [results]
        report(f"{name}: {perf_counter() - start:.1f} s, files in {output}\n")
        if any(result.status is Status.INTERRUPTED for result in results):  # a solve returns what it has
            raise KeyboardInterrupt
    return 0


def _examples() -> dict[str, ModuleType]:
    try:
        package = import_module(_EXAMPLES)
    except ModuleNotFoundError:
        raise PdecontrolError("the examples are not installed: pip install pdecontrol.") from None
    names = sorted(module.name for module in iter_modules(package.__path__))
    return {name: import_module(f"{_EXAMPLES}.{name}") for name in names}


def _title(module: ModuleType) -> str:
    return (module.__doc__ or "").strip().split("\n")[0]
