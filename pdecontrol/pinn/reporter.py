"""What is going on, a line at a time, for work that takes longer than two seconds."""

from __future__ import annotations

import sys
from time import perf_counter

from ..parallel import world


class Reporter:
    """Prints lines with the seconds since it was made: always, never, or (None) on a terminal after two seconds.

    Of several processes, each of which does the same, the first one alone prints.
    """

    def __init__(self, progress: bool | None) -> None:
        self._always = progress is True
        self._quiet = progress is False or not world().root or (progress is None and not sys.stderr.isatty())
        self._begun = perf_counter()

    def __call__(self, text: str) -> None:
        seconds = perf_counter() - self._begun
        if not self._quiet and (self._always or seconds >= 2.0):
            print(f"{seconds:7.1f} s  {text}", file=sys.stderr, flush=True)
