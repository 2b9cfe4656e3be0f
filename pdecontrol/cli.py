"""The command `pdecontrol`: what is installed, the examples, datasets, networks that learn from them, and their use."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import MISSING, fields
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from pkgutil import iter_modules
from time import perf_counter
from types import ModuleType
from typing import Any, get_type_hints

import pdecontrol

from .errors import PdecontrolError
from .learn.data import generate, open_dataset
from .learn.queries import HEAD, break_even, offline_seconds, queries, row
from .learn.train import operator_errors, summary, train
from .learn.trained import Trained
from .parallel import report
from .result import Result, Status

_EXAMPLES = "pdecontrol.examples"
_FAMILIES = "pdecontrol.learn.catalogue"
_ENGINES = {"skfem": "scikit-fem", "dolfinx": "fenics-dolfinx"}
_REMEDIES = {
    "numpy": "numpy", "scipy": "scipy", "scikit-fem": "scikit-fem", "matplotlib": "matplotlib", "meshio": "meshio",
    "gmsh": "gmsh", "pyamg": "pyamg", "zarr": "zarr threadpoolctl tqdm", "torch": "torch",
}  # fmt: skip


class _UnknownError(PdecontrolError):
    """A name that is not there, or a value that is none of its type."""


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
        if chosen.command == "generate":
            return _generate(chosen)
        if chosen.command == "train":
            return _train(chosen)
        if chosen.command == "certify":
            return _certify(chosen)
        return _gallery(chosen.names, chosen.list, chosen.output)
    except (PdecontrolError, OSError) as error:
        print(f"pdecontrol: {error}", file=sys.stderr)
        return 2 if isinstance(error, _UnknownError) else 1
    except KeyboardInterrupt as interrupt:
        print(": ".join(["pdecontrol: interrupted", *map(str, interrupt.args)]), file=sys.stderr)
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
    dataset = commands.add_parser("generate", help="solve random samples of a family of equations, and keep them")
    dataset.add_argument("family", nargs="?", help="which equations")
    dataset.add_argument("parameters", nargs="*", metavar="NAME=VALUE", help="of the family; --list shows them")
    dataset.add_argument("--list", action="store_true", help="list the families and solve nothing")
    dataset.add_argument("--output", type=Path, metavar="DIR", help="where to write (default: results/FAMILY)")
    for name, default, meaning in (
        ("count", 100, "how many samples"), ("seed", 0, "of the random numbers"),
        ("tolerance", 1e-8, "of the relative residuals"), ("strategy", "auto", "how to solve"),
        ("processes", 1, "that divide the work"), ("chunk", 100, "samples that are solved and written together"),
    ):  # fmt: skip
        text = f"{meaning} (default: {default})"
        dataset.add_argument(f"--{name}", type=type(default), default=default, metavar=name[0].upper(), help=text)
    dataset.add_argument("--on-failure", choices=("stop", "skip"), default="stop", help="(default: stop)")
    _training_parser(commands.add_parser("train", help="train a network on a dataset of generate"))
    learned = commands.add_parser(
        "certify", help="solve problems of a family with a network of train, and certify them"
    )
    learned.add_argument("file", type=Path, metavar="FILE", help="of a network for the map of a named control problem")
    for name, default, meaning in (
        ("count", 20, "how many problems"), ("alpha", 1e-4, "the weight of Tikhonov's term"),
        ("tol", 1e-3, "to which relative error of the control"), ("seed", 0, "of coefficients and targets"),
    ):  # fmt: skip
        text = f"{meaning} (default: {default:g})"
        learned.add_argument(f"--{name}", type=type(default), default=default, metavar=name[0].upper(), help=text)
    return parser


def _training_parser(training: argparse.ArgumentParser) -> None:
    training.add_argument("dataset", type=Path, help="directory of the dataset")
    training.add_argument("network", help="which network, such as mgno, deeponet or low-rank")
    training.add_argument("options", nargs="*", metavar="NAME=VALUE", help="of the network, values as in JSON")
    training.add_argument("--output", type=Path, metavar="FILE", help="where to write (default: results/NETWORK.npz)")
    for name, default, meaning in (
        ("epochs", 100, "passes through the samples"), ("batch", 16, "samples of a step"),
        ("rate", 2e-3, "the largest learning rate"), ("seed", 1, "of weights and order"),
        ("loss", "auto", "h1, l2 or hsloss_mgno; auto is h1 where there is one"),
        ("device", "auto", "cpu or cuda; auto is cuda where there is one"),
    ):  # fmt: skip
        text = f"{meaning} (default: {default})"
        training.add_argument(f"--{name}", type=type(default), default=default, metavar=name[0].upper(), help=text)
    training.add_argument("--patience", type=int, metavar="P", help="epochs without improvement that end it")
    training.add_argument("--operator", type=int, default=3, metavar="K", help="coefficients at which the norm of the "
                          "error of a control map is found, with some fifty solves each (default: 3)")  # fmt: skip


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
        raise _UnknownError(f"there is no example {unknown[0]!r}; there are: {', '.join(examples)}")
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
        solved = [result for result in results if isinstance(result, Result)]
        if any(result.status is Status.INTERRUPTED for result in solved):  # a solve returns what it has
            raise KeyboardInterrupt
    return 0


def _examples() -> dict[str, ModuleType]:
    try:
        package = import_module(_EXAMPLES)
    except ModuleNotFoundError:
        raise PdecontrolError("the examples are not installed: pip install . in a checkout of pdecontrol.") from None
    names = sorted(module.name for module in iter_modules(package.__path__))
    return {name: import_module(f"{_EXAMPLES}.{name}") for name in names}


def _title(module: ModuleType | type) -> str:
    return (module.__doc__ or "").strip().split("\n")[0]


def _generate(chosen: argparse.Namespace) -> int:
    families = import_module(_FAMILIES).FAMILIES
    if chosen.list:
        for name, family in families.items():
            report(f"{name:<20} {_title(family)}")
            report(f"{'':<20} {_parameters(family)}")
        return 0
    if chosen.family not in families:
        missing = "name a family" if chosen.family is None else f"there is no family {chosen.family!r}"
        raise _UnknownError(f"{missing}; there are: {', '.join(families)}")
    dataset = generate(
        _source(families[chosen.family], chosen.parameters), chosen.count, chosen.seed,
        chosen.output or Path("results") / chosen.family, tolerance=chosen.tolerance, strategy=chosen.strategy,
        processes=chosen.processes, chunk=chosen.chunk, on_failure=chosen.on_failure,
    )  # fmt: skip
    report(dataset)
    return 0


def _parameters(family: type) -> str:
    defaults = {item.name: item.default for item in fields(family)}
    return " ".join(f"{name}=.." if value is MISSING else f"{name}={value}" for name, value in defaults.items())


def _source(family: type, parameters: list[str]) -> Any:
    """A family with parameters NAME=VALUE, read as the types of its fields."""
    types, values = get_type_hints(family), {}
    for parameter in parameters:
        name, equals, text = parameter.partition("=")
        if not equals or name not in {item.name for item in fields(family)}:
            raise _UnknownError(f"{parameter!r} is no parameter; there are: {_parameters(family)}")
        try:
            values[name] = {"true": True, "false": False}[text.lower()] if types[name] is bool else types[name](text)
        except (KeyError, ValueError):
            raise _UnknownError(f"{parameter}: expected a value of type {types[name].__name__}") from None
    missing = [item.name for item in fields(family) if item.default is MISSING and item.name not in values]
    if missing:
        raise _UnknownError(f"{missing[0]} has no default: give {missing[0]}=VALUE")
    return family(**values)


def _train(chosen: argparse.Namespace) -> int:
    dataset, output = open_dataset(chosen.dataset), chosen.output or Path("results") / f"{chosen.network}.npz"
    options = {}
    for option in chosen.options:
        name, equals, text = option.partition("=")
        if not equals:
            raise _UnknownError(f"{option!r} is no option: write NAME=VALUE.")
        try:
            options[name] = json.loads(text)
        except ValueError:
            options[name] = text
    checkpoint = output.with_suffix(".training.npz")
    trained = train(
        dataset, chosen.network, checkpoint, options=options, epochs=chosen.epochs, batch=chosen.batch,
        rate=chosen.rate, seed=chosen.seed, loss=chosen.loss, patience=chosen.patience, device=chosen.device,
    )  # fmt: skip
    if trained.header["metrics"]["status"] == "interrupted":
        raise KeyboardInterrupt(f"{checkpoint}: the same command goes on from there.")
    if trained.header["task"] == "control" and chosen.operator > 0:
        errors = operator_errors(trained, dataset, count=chosen.operator)
        trained.header["metrics"] |= {
            "operator norm": float(errors.mean()),
            "operator norm, worst": float(errors.max()),
        }
    path = trained.save(output)
    checkpoint.unlink(missing_ok=True)
    report(summary(trained))
    report(f"{'file':<15} {path}")
    return 0


def _certify(chosen: argparse.Namespace) -> int:
    """Exit code 1 where a problem is not certified."""
    trained, found = Trained.load(chosen.file), []
    asked = queries(trained, count=chosen.count, alpha=chosen.alpha, tol=chosen.tol, seed=chosen.seed)
    data, training = offline_seconds(trained)
    family = trained.header["data"]["definition"]["family"]
    report(f"{family} by {trained.header['network']}: alpha = {chosen.alpha:g}, certified to {chosen.tol:g}")
    report(HEAD)
    for query in asked:
        found.append(query)
        report(row(len(found), query))
    report(f"{'break-even':<15} {break_even(found, data + training)} (data {data:.3g} s, training {training:.3g} s)")
    if missed := sum(not query.success for query in found):
        raise PdecontrolError(f"{missed} of {len(found)} problems were not certified to {chosen.tol:g}.")
    return 0
