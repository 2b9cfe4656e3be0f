"""What tests need of a machine."""

from importlib.util import find_spec

import pytest


def gmsh_loads():
    try:
        import gmsh  # noqa: F401
    except (ImportError, OSError):  # there is no wheel, or a library of the system is missing
        return False
    return True


needs_gmsh = pytest.mark.skipif(not gmsh_loads(), reason="gmsh cannot be loaded")
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not there")
