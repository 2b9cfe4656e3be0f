"""What pyamg does besides its work: it draws from numpy's global generator, and warns of what its callers find out."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

# Breakdowns at the rounding: every caller looks at residuals of its own, and at bounds.
_NO_NEWS = re.compile(r"\s*(Indefinite (matrix|preconditioner) detected|Breakdown occurred in step)")


@contextmanager
def calling_pyamg() -> Iterator[None]:
    """A block in which pyamg always draws the same random numbers, and gives no warnings that tell a user nothing.

    Its set-up estimates spectral radii from random vectors. The state of numpy's global generator, which is the
    caller's, is as before afterwards; so are the filters of warnings, which its conjugate gradient method changes.
    """
    state = np.random.get_state()  # noqa: NPY002
    np.random.set_state(np.random.RandomState(20240116).get_state())  # noqa: NPY002
    try:
        with warnings.catch_warnings(record=True) as given:
            yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
    for one in given:
        if not _NO_NEWS.match(str(one.message)):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
