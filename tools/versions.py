"""Print one line: Debian release or system, Python, numpy, scipy, dolfinx, PETSc and MPI, "-" for what is not there."""

import platform
from importlib import import_module

import numpy as np
import scipy

try:
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
except OSError:
    system = platform.platform(terse=True)

try:
    dolfinx = import_module("dolfinx").__version__
    petsc = ".".join(map(str, import_module("petsc4py.PETSc").Sys.getVersion()))
    mpi = import_module("mpi4py.MPI").Get_library_version().split("\n")[0].split(",")[0]
except ImportError:
    dolfinx = petsc = mpi = "-"

print(system, platform.python_version(), np.__version__, scipy.__version__, dolfinx, petsc, mpi, sep="|")
