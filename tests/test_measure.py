"""Rates are what they are called, rest on enough, and do not depend on the order of anything."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskgate import measure

SEEDS = st.integers(0, 10_000)


def scores(seed: int, count: int = 2000) -> measure.Scores:
    return np.random.default_rng(seed).normal(0, 0.1, count).astype(np.float32)


@given(SEEDS, st.floats(0.006, 0.9))
def test_a_threshold_lets_at_most_its_share_of_impostors_through_and_the_next_lower_would_not(
    seed: int, rate: float
) -> None:
    impostors = scores(seed)
    limit = measure.threshold(impostors, rate)
    assert limit is not None
    assert measure.beyond(impostors, limit) <= rate
    below = impostors[impostors < limit].max()
    assert measure.beyond(impostors, float(below)) > rate


def test_a_tie_at_the_edge_stays_on_the_safe_side() -> None:
    impostors = np.array([0.5] * 20 + [0.1] * 80, np.float32)
    limit = measure.threshold(impostors, 0.1)
    assert limit is not None
    assert measure.beyond(impostors, limit) == 0


@pytest.mark.parametrize(("count", "rate"), [(999, 1e-2), (0, 0.5), (9_999, 1e-3)])
def test_no_threshold_is_read_off_fewer_than_ten_comparisons(count: int, rate: float) -> None:
    assert measure.threshold(scores(1, count), rate) is None


@given(SEEDS)
def test_a_roc_falls_and_perfect_scores_give_a_perfect_one(seed: int) -> None:
    impostors, genuine = scores(seed), scores(seed + 1, 300) + np.float32(0.2)
    curve = measure.roc(genuine, impostors)
    assert all(a[0] > b[0] and a[1] >= b[1] for a, b in pairwise(curve))
    assert curve[-1][0] >= measure.FEWEST / len(impostors)
    assert all(tar == 1 for _, tar in measure.roc(np.full(50, 0.99, np.float32), impostors))


def test_too_few_impostors_make_no_roc() -> None:
    assert measure.roc(scores(1, 50), scores(2, 9)) == []


@given(SEEDS)
@settings(max_examples=20)
def test_a_share_lies_in_its_interval_and_no_order_matters(seed: int) -> None:
    rng = np.random.default_rng(seed)
    people = rng.integers(0, 12, 100)
    hits = rng.random(100) < 0.8
    rate = measure.share(hits, people)
    assert rate.low <= rate.value <= rate.high
    assert (rate.n, rate.people) == (100, len(set(people.tolist())))
    order = rng.permutation(100)
    assert measure.share(hits[order], people[order]) == rate


def test_one_persons_many_photos_make_no_narrow_interval() -> None:
    hits = np.repeat([True, False], 500)
    few = measure.share(hits, np.repeat([0, 1], 500))
    many = measure.share(hits, np.arange(1000))
    assert few.high - few.low == 1
    assert many.high - many.low < 0.1


def people_and_scores(seed: int, *, near: float) -> tuple[measure.Scores, measure.Numbers, measure.Flags]:
    """Sixty people with three photos each, every photo a template and a probe."""
    rng = np.random.default_rng(seed)
    faces = np.repeat(rng.normal(size=(60, 32)), 3, axis=0) + rng.normal(size=(180, 32)) * near
    faces /= np.linalg.norm(faces, axis=1, keepdims=True)
    who = np.repeat(np.arange(60), 3)
    return (faces @ faces.T).astype(np.float32), who, np.eye(180, dtype=bool)


def test_people_who_look_like_nobody_else_are_always_found() -> None:
    matrix, who, same = people_and_scores(0, near=0.01)
    found = measure.search(matrix, who, who, size=20, fpir=0.1, same=same)
    assert found is not None
    assert not found.misses.any()
    # Ten galleries of twenty people, each with two photos besides the enrolled one.
    assert len(found.misses) == 10 * 20 * 2


@given(st.integers(0, 50))
@settings(max_examples=10, deadline=None)
def test_fewer_false_alarms_never_cost_fewer_misses(seed: int) -> None:
    matrix, who, same = people_and_scores(seed, near=0.8)
    strict = measure.search(matrix, who, who, size=20, fpir=0.1, same=same)
    loose = measure.search(matrix, who, who, size=20, fpir=0.4, same=same)
    assert strict is not None
    assert loose is not None
    assert strict.misses.sum() >= loose.misses.sum()


def test_who_are_called_what_changes_nothing() -> None:
    matrix, who, same = people_and_scores(3, near=0.8)
    order = np.random.default_rng(0).permutation(180)
    one = measure.search(matrix, who, who, size=20, fpir=0.2, same=same)
    other = measure.search(matrix[:, order], who, who[order], size=20, fpir=0.2, same=same[:, order])
    assert one is not None
    assert other is not None
    assert one.misses.sum() == other.misses.sum()


@pytest.mark.parametrize(("size", "fpir"), [(60, 0.1), (500, 0.1), (20, 0.001)])
def test_too_few_people_or_strangers_are_no_measurement(size: int, fpir: float) -> None:
    matrix, who, same = people_and_scores(0, near=0.5)
    assert measure.search(matrix, who, who, size=size, fpir=fpir, same=same) is None
