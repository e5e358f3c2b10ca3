"""Bounds are Clopper and Pearson's, and both errors of liveness trade for each other."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskgate import pad

PROBABILITIES = st.lists(st.floats(0, 1), min_size=1, max_size=30).map(np.array)


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        # scipy.stats.beta.ppf, and the rule of three for none of so many.
        (0, 10, 0.0, 0.30849710781876083),
        (1, 10, 0.0025285785444617848, 0.44501611702819504),
        (5, 10, 0.18708602844739855, 0.8129139715526015),
        (10, 10, 0.6915028921812392, 1.0),
        (3, 219, 0.002833310, 0.03952079),
        (0, 1000, 0.0, 0.003682083896865672),
        (1, 1, 0.025, 1.0),
    ],
)
def test_bounds_are_those_of_the_tables(hits: int, n: int, low: float, high: float) -> None:
    found = pad.share(hits, n)
    assert (found.low, found.high) == (pytest.approx(low, abs=2e-5), pytest.approx(high, abs=2e-5))


@given(st.integers(1, 100).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_bounds_hold_the_share_and_mirror_with_it(drawn: tuple[int, int]) -> None:
    hits, n = drawn
    found, other = pad.share(hits, n), pad.share(n - hits, n)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high
    assert (found.low, found.high) == (pytest.approx(1 - other.high), pytest.approx(1 - other.low))


@given(PROBABILITIES, PROBABILITIES)
def test_a_higher_threshold_lets_fewer_attacks_through_and_refuses_more_people(
    live: np.ndarray, attack: np.ndarray
) -> None:
    points = pad.trade(live, attack)
    assert points[0][1:] == (1.0, 0.0)
    assert points[-1][1:] == (0.0, 1.0)
    for (low, more, fewer), (high, less, many) in pairwise(points):
        assert low < high
        assert more >= less
        assert fewer <= many
    for limit, apcer, bpcer in points:
        assert pad.passed(attack, limit).value == pytest.approx(apcer)
        assert pad.refused(live, limit).value == pytest.approx(bpcer)


def test_what_is_told_apart_without_fail_has_no_error() -> None:
    assert pad.equal_error(np.array([0.8, 0.9]), np.array([0.1, 0.7, 0.2])) == 0
    assert pad.equal_error(np.array([0.1, 0.2]), np.array([0.8, 0.9])) == 1
    assert pad.equal_error(np.array([0.1, 0.6, 0.8, 0.9]), np.array([0.2, 0.3, 0.7, 0.05])) == 0.25


def test_one_look_of_three_decides_no_visit() -> None:
    assert pad.visit([0.9, 0.0, 0.8]) == pytest.approx(0.8)
    assert pad.visit([0.1, 1.0, 0.2]) == pytest.approx(0.2)
