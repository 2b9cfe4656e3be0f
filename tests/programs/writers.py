"""Datasets by a process that is told when; run by test_data.py, which has two begin at once."""

import fcntl
import json
import sys

import generate


def without_locks(descriptor, operation):
    """What a network file system says that has none."""
    raise OSError(37, "No locks available")


if __name__ == "__main__":
    if sys.argv[1] == "without locks":
        fcntl.flock = without_locks
    print("ready", flush=True)
    for line in sys.stdin:
        generate.main(*json.loads(line))
