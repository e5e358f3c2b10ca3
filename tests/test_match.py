"""Search: the best subject, its score and its margin, whatever the order of enrolment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskgate.cohort import NOBODY
from maskgate.match import NO_OTHER, Gallery
from maskgate.values import Cover, Template
from worlds import near, person


def template(subject: str, seed: int, model: str = "a") -> Template:
    """Return a template of a made-up person."""
    return Template(subject, person(seed), model)


def test_the_nearest_subject_is_found_with_score_and_margin() -> None:
    gallery = Gallery([template("Anna", 1), template("Ben", 2), template("Cleo", 3)], cohort=NOBODY)
    found = gallery.search(near(person(2), 0.8), Cover.BARE)
    assert found is not None
    assert found.subject == "Ben"
    assert found.score == pytest.approx(0.8, abs=1e-5)
    runner_up = max(float(person(seed) @ near(person(2), 0.8)) for seed in (1, 3))
    assert found.margin == pytest.approx(0.8 - runner_up, abs=1e-5)


def test_the_margin_is_to_another_subject_and_not_to_ones_own_second_photo() -> None:
    anna = person(1)
    gallery = Gallery(
        [Template("Anna", anna, "a"), Template("Anna", near(anna, 0.95), "a"), template("Ben", 2)], cohort=NOBODY
    )
    found = gallery.search(anna, Cover.BARE)
    assert found is not None
    assert (found.subject, found.next) == ("Anna", "Ben")
    assert found.margin > 0.5


def test_an_empty_gallery_knows_nobody() -> None:
    assert Gallery([], cohort=NOBODY).search(person(1), Cover.BARE) is None


def test_a_gallery_of_one_subject_has_no_next() -> None:
    found = Gallery([template("Anna", 1)], cohort=NOBODY).search(person(1), Cover.BARE)
    assert found is not None
    assert (found.margin, found.next) == (NO_OTHER, None)


def test_templates_of_two_models_are_never_compared() -> None:
    with pytest.raises(ValueError, match="2 models"):
        Gallery([template("Anna", 1), template("Ben", 2, model="b")], cohort=NOBODY)


def test_two_subjects_with_the_same_face_leave_no_margin() -> None:
    found = Gallery([template("Ben", 1), template("Anna", 1)], cohort=NOBODY).search(person(1), Cover.BARE)
    assert found is not None
    assert (found.subject, found.margin) == ("Anna", pytest.approx(0, abs=1e-6))


@given(st.permutations(range(8)), st.integers(0, 50))
def test_the_order_of_enrolment_does_not_matter(order: list[int], seed: int) -> None:
    covers = (Cover.BARE, Cover.MASKED)
    templates = [Template("ABCD"[i // 2], person(i), "a", covers[i % 2]) for i in range(8)]
    probe, surplus = near(person(seed % 8), 0.6, seed), {Cover.BARE: 0.0, Cover.MASKED: 0.05}
    one, other = (
        Gallery([templates[i] for i in order], surplus, cohort=NOBODY),
        Gallery(templates, surplus, cohort=NOBODY),
    )
    assert one.search(probe, Cover.MASKED) == other.search(probe, Cover.MASKED)


def test_a_masked_template_counts_for_less_by_what_strangers_score_higher_there() -> None:
    surplus = {Cover.BARE: 0.0, Cover.MASKED: 0.05}
    gallery = Gallery([Template("Anna", person(1), "a", Cover.MASKED), template("Ben", 2)], surplus, cohort=NOBODY)
    for cover, lowered in surplus.items():
        found = gallery.search(near(person(1), 0.8), cover)
        assert found is not None
        assert (found.subject, found.score) == ("Anna", pytest.approx(0.8 - lowered, abs=1e-5))
        bare = gallery.search(person(2), cover)
        assert bare is not None
        assert bare.score == pytest.approx(1, abs=1e-5)


def test_masked_templates_are_not_searched_without_knowing_what_they_count_for() -> None:
    with pytest.raises(KeyError):
        Gallery([Template("Anna", person(1), "a", Cover.MASKED)], cohort=NOBODY)


def test_ten_thousand_templates_are_searched_right() -> None:
    rng = np.random.default_rng(0)
    many = rng.normal(size=(10_000, 128)).astype(np.float32)
    many /= np.linalg.norm(many, axis=1, keepdims=True)
    gallery = Gallery([Template(f"p{i // 4:04}", row, "a") for i, row in enumerate(many)], cohort=NOBODY)
    found = gallery.search(near(many[7777], 0.7), Cover.BARE)
    assert found is not None
    assert found.subject == f"p{7777 // 4:04}"
    assert len(gallery) == 10_000
    assert len(gallery.subjects) == 2_500
