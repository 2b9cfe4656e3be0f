"""Training with pairs of the adjoint, beside training on states alone."""

import adjoint_pairs
import pytest
from marks import needs_torch

pytestmark = needs_torch
pytest.importorskip("zarr")


def test_pairs_of_the_adjoint_make_gradients_and_optima_better():
    found = adjoint_pairs.errors(n=32, count=200, epochs=40, seeds=1)
    (_, without, worse, _), (forward, back, optimum, _) = found[False][0], found[True][0]
    assert forward < 0.05 and back < 0.5 * without and optimum < 0.5 * worse
