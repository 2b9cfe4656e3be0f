#!/bin/sh
# The environment .venv, for the Makefile. Where a Python with dolfinx is found, .venv is made on top of it.
#
#   tools/environment.sh packages   install Debian's dolfinx with a fast BLAS, and libraries for gmsh, where they are missing and that can be done
#   tools/environment.sh make       make .venv, unless it is there and of the kind that is wanted
#   tools/environment.sh report     say which tests could not run
#
# PYTHON names an interpreter; DOLFINX=no leaves dolfinx out.
set -eu

INSTALL="apt-get install --yes --no-install-recommends python3-dolfinx python3-petsc4py-real libopenblas0-pthread python3-venv"
LIBRARIES="apt-get install --yes --no-install-recommends libgl1 libglu1-mesa libgomp1 libxcursor1 libxft2 libxinerama1"

# dolfinx counts where it can be imported, with real numbers, by a Python that pdecontrol runs on.
find_dolfinx() {
    for python in "$PYTHON" /usr/bin/python3; do
        "$python" -c 'import sys, dolfinx; from petsc4py.PETSc import ScalarType
sys.exit(sys.version_info < (3, 11) or not issubclass(ScalarType, float))' >/dev/null 2>&1 && return
    done
    return 1
}

# Debian 12, Ubuntu 24.04 or newer
has_packages() {
    command -v apt-get >/dev/null || return
    [ ! -x /usr/bin/python3 ] || /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'
}

# Those that the wheel of gmsh, which there is for x86_64 alone, does not bring along
find_libraries() {
    [ "$(uname -sm)" = "Linux x86_64" ] || return 0
    "$PYTHON" -c 'import ctypes
for name in "libGL.so.1", "libGLU.so.1", "libgomp.so.1", "libXcursor.so.1", "libXft.so.2", "libXinerama.so.1":
    ctypes.CDLL(name)' >/dev/null 2>&1
}

libraries() {
    ! find_libraries || return 0
    if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
        advise_libraries
        return
    fi
    echo "installing the libraries that gmsh needs from the system's packages (once)"
    apt-get -qq update || echo "apt-get update failed" >&2
    DEBIAN_FRONTEND=noninteractive $LIBRARIES >/dev/null || echo "apt-get install failed" >&2
}

advise_libraries() {
    echo "NOT RUN, for want of gmsh or libraries that it needs: the tests of fitted meshes. To run them:"
    if command -v apt-get >/dev/null; then
        echo "    sudo $LIBRARIES && make test"
    else
        echo "    conda install -c conda-forge python-gmsh && make test"
    fi
} >&2

advise_torch() {
    echo "NOT RUN, for want of torch: the tests of trained networks. pip has it for Linux, Windows and Macs with arm64,"
    echo "for the Pythons that https://pytorch.org names: make test PYTHON=..."
} >&2

packages() {
    dolfinx
    libraries
}

dolfinx() {
    [ "$DOLFINX" != no ] || return 0
    ! find_dolfinx || return 0
    if ! has_packages || [ "$(id -u)" != 0 ]; then
        advise
        return
    fi
    echo "installing dolfinx and PETSc from the system's packages (once, some minutes; make test DOLFINX=no does without)"
    apt-get -qq update || echo "apt-get update failed" >&2
    DEBIAN_FRONTEND=noninteractive $INSTALL >/dev/null || echo "apt-get install failed" >&2
    find_dolfinx || echo "There is still no dolfinx with real numbers: only the embedded engine will be tested." >&2
}

advise() {
    echo "NOT RUN, for want of dolfinx: the tests of the distributed engine. To run them:"
    if [ "$DOLFINX" = no ]; then
        echo "    make test    (without PYTHON=... and DOLFINX=no)"
    elif has_packages; then
        echo "    sudo $INSTALL && make test"
    else
        echo "    conda install -c conda-forge fenics-dolfinx && make test"
    fi
} >&2

report() {
    for missing in dolfinx gmsh torch; do
        ! .venv/bin/python -c "import $missing" 2>/dev/null || continue
        line="*******************************************************************************"
        printf '\n%s\n' "$line" >&2
        case $missing in
            dolfinx) advise ;;
            gmsh) advise_libraries ;;
            torch) advise_torch ;;
        esac
        printf '%s\n' "$line" >&2
    done
}

make_environment() {
    kind=plain
    if [ "$DOLFINX" != no ] && find_dolfinx; then
        kind=dolfinx
        PYTHON=$python
    fi
    # An environment that was moved, whose Python has gone or is a newer one, or of the other kind is made again.
    made="$kind $(pwd -P)"
    if [ "$(cat .venv/made 2>/dev/null)" = "$made" ] && .venv/bin/python -c 'import pip' 2>/dev/null; then
        return
    fi

    "$PYTHON" -c '' 2>/dev/null || {
        echo "Cannot run '$PYTHON'. Install Python 3.11 or newer, or name one: make PYTHON=python3.12 ..." >&2
        exit 1
    }
    version=$("$PYTHON" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])')
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "pdecontrol needs Python 3.11 or newer, '$PYTHON' is $version. Name another: make PYTHON=python3.12 ..." >&2
        exit 1
    }
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || {
        echo "'$PYTHON' cannot make environments (no module venv or ensurepip). On Debian and Ubuntu:" >&2
        echo "    sudo apt-get install python${version%.*}-venv" >&2
        exit 1
    }
    PYTHON=$("$PYTHON" -c 'import sys; print(sys._base_executable)') # in an active .venv, the one it was made from

    trap 'rm -rf .venv; exit 1' HUP INT TERM
    rm -rf .venv
    if [ $kind = plain ]; then
        echo "setting up .venv with Python $version (once)"
        "$PYTHON" -m venv .venv || { rm -rf .venv; exit 1; }
        : >.venv/constraints.txt
    else
        echo "setting up .venv with Python $version and its dolfinx (once)"
        "$PYTHON" -m venv --system-site-packages .venv || { rm -rf .venv; exit 1; }
        # What dolfinx was built with stays as it is. A wheel of h5py brings an HDF5 that clashes with that of dolfinx.
        .venv/bin/python -m pip list --format=freeze | grep -E '^(numpy|scipy)==' >.venv/constraints.txt
        echo "h5py<0" >>.venv/constraints.txt
        # Debian's matplotlib claims the namespace mpl_toolkits at every start: the one in .venv has to come first.
        echo 'import importlib.util as util; util.find_spec("mpl_toolkits") and __import__("mpl_toolkits")' \
            >"$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/mpl_toolkits.pth"
    fi
    echo "$made" >.venv/made
}

case $1 in
    packages) packages ;;
    make) make_environment ;;
    report) report ;;
esac
