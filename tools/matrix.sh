#!/bin/sh
# The tests of the distributed engine under other Debian releases, each in a root of its own in .matrix/.
#
#   tools/matrix.sh                        build what is missing, test here and in each root, print a table
#   tools/matrix.sh build                  only build
#   tools/matrix.sh run trixie COMMAND     run a shell command in a root, in this working tree
#
# Needs root, debootstrap and .venv (make test), and for a new root the network, some minutes and 3 GB.
# To build one again, remove its folder.
set -eu
cd "$(dirname "$0")/.."

RELEASES="trixie sid"
PACKAGES="python3-dolfinx-real python3-petsc4py-real openmpi-bin python3-scipy python3-matplotlib python3-gmsh python3-rich \
python3-pytest python3-pytest-xdist python3-hypothesis python3-venv python3-setuptools python3-zarr python3-tqdm \
python3-threadpoolctl"
WHEELS="scikit-fem meshio checkpoint_schedules" # not in Debian, or tied to its h5py; pure Python, so that the pip outside can fetch them
TESTS="tests/test_dolfinx.py tests/test_parabolic.py tests/test_memory.py tests/test_arrays.py tests/test_rounding.py tests/test_isoparametric.py tests/test_mpi.py tests/test_fitted_meshes.py"

stop() {
    echo "make matrix: $*" >&2
    exit 1
}

inside() { # RELEASE COMMAND
    # In a private namespace the mounts go with the process. The tree is mounted, not copied: an edit shows at once.
    unshare --mount sh -eu -c '
        mkdir -p "$1/pdecontrol"
        mount --bind . "$1/pdecontrol"
        mount --rbind /dev "$1/dev"
        mount --rbind /sys "$1/sys"
        mount -t proc proc "$1/proc"
        exec chroot "$1" env -i HOME=/root XDG_CACHE_HOME=/root/.cache LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
            PATH=/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 sh -c "cd /pdecontrol && $2"
    ' sh ".matrix/$1" "$2"
}

build() { # RELEASE
    root=.matrix/$1
    log=$root.log
    [ ! -e "$root/built" ] || return 0
    command -v debootstrap >/dev/null || stop "there is no debootstrap; on Debian: apt-get install debootstrap"
    [ -x .venv/bin/python ] || stop "there is no .venv: make test first"
    echo "building $root (once, some minutes)"
    rm -rf "$root"
    mkdir -p .matrix
    debootstrap --variant=minbase "$1" "$root" >"$log" 2>&1 || stop "debootstrap failed for $1, see $log"
    # A mirror's copy of sid may be older than its Release file allows.
    inside "$1" "apt-get -o Acquire::Check-Valid-Until=false -q update &&
        apt-get -q install -y --no-install-recommends $PACKAGES && apt-get clean" >>"$log" 2>&1 ||
        stop "apt-get failed in $root, see $log"
    .venv/bin/python -m pip download --quiet --no-deps --only-binary :all: --dest .matrix/wheels $WHEELS ||
        stop "pip could not fetch $WHEELS"
    inside "$1" "python3 -m venv --system-site-packages /venv &&
        pip install --no-index --no-deps .matrix/wheels/*.whl &&
        pip install --no-index --no-deps --no-build-isolation --editable ." >>"$log" 2>&1 ||
        stop "pip failed in $root, see $log"
    touch "$root/built"
}

here() { # COMMAND
    PATH=$PWD/.venv/bin:$PATH sh -c "$1"
}

trial() { # NAME, then the words that run a command there
    name=$1
    shift
    versions=$("$@" "python tools/versions.py") || stop "tools/versions.py failed: $name"
    { "$@" "python -m pytest $TESTS" 2>&1 || echo "$name" >>.matrix/failed; } | tee ".matrix/$name.tests"
    outcome=$(grep -E '^=.* in [0-9.]+s' ".matrix/$name.tests" | tail -n 1 | sed 's,^=* *,,; s, *=*$,,')
    echo "$versions|${outcome:-no outcome}" >>.matrix/table
}

[ "$(id -u)" = 0 ] || stop "chroot and mount need root: sudo make matrix"
command -v unshare >/dev/null || stop "there is no unshare (a part of util-linux)"

if [ "${1:-}" = run ]; then
    release=$2
    shift 2
    [ -e ".matrix/$release/built" ] || stop "there is no .matrix/$release: tools/matrix.sh build"
    inside "$release" "$*"
    exit
fi

for release in $RELEASES; do build "$release"; done
[ "${1:-}" != build ] || exit 0

[ -x .venv/bin/python ] || stop "there is no .venv: make test first"
rm -f .matrix/failed
echo "system|Python|numpy|scipy|dolfinx|PETSc|MPI|tests" >.matrix/table
trial here here
for release in $RELEASES; do trial "$release" inside "$release"; done
echo
awk -F '|' '{ printf "%-32s %-8s %-7s %-7s %-13s %-7s %-18s %s\n", $1, $2, $3, $4, $5, $6, $7, $8 }' .matrix/table
[ ! -e .matrix/failed ] || stop "tests failed: $(paste -s -d ' ' .matrix/failed)"
