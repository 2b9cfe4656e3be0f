"""What tests need of a machine."""

import pytest


def gmsh_loads():
    try:
        import gmsh  # noqa: F401
    except (ImportError, OSError):  # there is no wheel, or a library of the system is missing
        return False
    return True


def torch_loads():
    try:
        import torch  # noqa: F401
    except (ImportError, OSError):
        return False
    return True


needs_gmsh = pytest.mark.skipif(not gmsh_loads(), reason="gmsh cannot be loaded")
needs_torch = pytest.mark.skipif(not torch_loads(), reason="torch cannot be loaded")
