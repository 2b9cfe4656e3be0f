"""Which cells are refined: the fewest that have enough of the whole."""

from itertools import combinations

import numpy as np
import pytest

from pdecontrol.continuous.marking import marked


@pytest.mark.parametrize("theta", [0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_no_smaller_set_has_enough(seed, theta):
    shares = np.random.default_rng(seed).integers(0, 9, 9).astype(float)
    chosen = marked(shares, theta)
    enough = theta * shares.sum()
    assert shares[chosen].sum() >= enough and len(set(chosen)) == len(chosen)
    assert max((shares[list(some)].sum() for some in combinations(range(9), len(chosen) - 1)), default=0.0) < enough


def test_three_quarters_by_default():
    assert marked(np.array([1.0, 5.0, 2.0, 0.0])).tolist() == [1, 2]
    assert marked(np.array([1.0, 1.0, 1.0, 1.0])).tolist() == [0, 1, 2]  # of equal ones the first


def test_zero_shares_are_not_marked():
    assert marked(np.zeros(4)).size == 0
    assert marked(np.array([0.0, 3.0, 0.0]), 1.0).tolist() == [1]
    many = np.append(np.random.default_rng(0).random(10_000), np.zeros(10))  # theta = 1 in spite of rounding
    assert set(marked(many, 1.0)) == set(range(10_000))
