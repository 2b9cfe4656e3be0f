"""Small random systems as a source of datasets; run by test_data.py and test_mpi.py, which kill it too."""

import json
import os
import signal
import sys
import time
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_info

from pdecontrol.errors import PdecontrolError, ProblemError
from pdecontrol.learn.data import generate
from pdecontrol.learn.source import Batch, Source
from pdecontrol.parallel import report, world


@dataclass(frozen=True)
class Systems(Source):
    size: int = 6
    shift: float = 4.0
    failing: float = 0.0  # the share of samples that fail
    log: str = ""  # a file that gets a line for each plan and batch
    pause: float = 0.0  # seconds in a batch
    trouble: str = ""  # what goes wrong in a batch that draws 0.923 first

    @property
    def definition(self):
        return {"family": "systems", "size": self.size, "shift": self.shift, "failing": self.failing}

    @property
    def shapes(self):
        return {"matrix": (self.size, self.size), "solution": (self.size,)}

    def plan(self, generators, count, tolerance, strategy):
        self._note("plan")
        if strategy not in ("auto", "direct"):
            raise ProblemError(f"unknown strategy {strategy!r}: take 'direct'.")
        first = [generator.random() for generator in generators]
        return {"strategy": "direct", "reason": "they are small", "first": first, "count": count, "threads": threads()}

    def batch(self, plan, generators, tolerance):
        self._note("batch")
        time.sleep(self.pause)
        first = np.array([generator.random() for generator in generators])
        if self.trouble and (abs(first - 0.923) < 1e-3).any():
            TROUBLE[self.trouble]()
        matrices = np.array([self._matrix(generator) for generator in generators])
        solutions = np.array([np.linalg.solve(matrix, np.ones(self.size)) for matrix in matrices])
        defects = np.einsum("nij,nj->ni", matrices, solutions) - 1.0
        residuals = np.linalg.norm(defects, axis=1) / np.sqrt(self.size)
        failures = {int(i): f"drew {first[i]:.3f}" for i in np.flatnonzero(first < self.failing)}
        counts = {"factorisations": len(first), "seconds solve": 1e-3 * len(first), "threads": threads()}
        return Batch({"matrix": matrices, "solution": solutions}, residuals, residuals * 2, failures, counts)

    def _matrix(self, generator):
        return self.shift * np.eye(self.size) + generator.standard_normal((self.size, self.size)) / self.size

    def _note(self, text):
        if self.log:
            with open(self.log, "a", encoding="utf-8") as file:
                file.write(f"{text}\n")


def interrupt():
    raise KeyboardInterrupt


def divide():
    raise ZeroDivisionError("unforeseen")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


TROUBLE = {"interrupt": interrupt, "divide": divide, "die": die}


def threads():
    """Of the BLAS that has the most."""
    return max((library["num_threads"] for library in threadpool_info()), default=1)


def main(source, arguments):
    try:
        dataset = generate(Systems(**source), **arguments)
    except PdecontrolError as error:  # on all ranks, whose lines rank 0 prints, or they would mix
        report("\n".join(world().collect(f"rank {world().rank}: {type(error).__name__}: {error}")))
    else:
        report(dataset.summary["digest"])


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which children of nohup and of `command &` do without
    main(*map(json.loads, sys.argv[1:3]))
