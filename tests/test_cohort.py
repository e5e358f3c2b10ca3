"""The cohort: a score counts for less between faces that are near everybody, and for as much as before without one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskgate.cohort import NEAREST, NOBODY, ROWS, WEIGHT, Cohort
from maskgate.faces import Faces
from maskgate.match import Gallery
from maskgate.nearness import closest
from maskgate.pixels import load_photo
from maskgate.values import Cover, Template
from worlds import near, person

CROWD = person(7)
"""Where most of the cohort is."""
COHORT = Cohort(np.array([near(CROWD, 0.6, seed) for seed in range(40)]), 0.3)
PEOPLE = Path(__file__).parent / "data/people"


def test_a_face_like_many_is_lowered_and_a_rare_one_raised() -> None:
    common, rare = near(CROWD, 0.9), -CROWD
    lowered, raised = COHORT.excess(np.array([common, rare]))
    assert lowered > 0.05
    assert raised < -0.05


def test_the_nearest_of_the_cohort_count_against_what_is_usual() -> None:
    faces = np.array([person(seed) for seed in range(ROWS + 5)])
    by_hand = [np.sort(COHORT.nobody @ one)[-NEAREST:].mean() for one in faces]
    assert COHORT.excess(faces) == pytest.approx(WEIGHT * (np.array(by_hand) - COHORT.usual), abs=1e-6)


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_a_score_is_the_same_whichever_of_two_faces_is_enrolled(one: int, other: int) -> None:
    a, b = near(CROWD, 0.5, one)[None], person(other)[None]
    assert COHORT.scores(a, b)[0, 0] == pytest.approx(COHORT.scores(b, a)[0, 0], abs=1e-6)


def test_without_a_cohort_scores_are_cosines() -> None:
    faces = np.array([person(seed) for seed in range(3)])
    assert NOBODY.scores(faces, faces) == pytest.approx(faces @ faces.T, abs=1e-6)
    assert not NOBODY.excess(faces).any()


def test_searches_and_pairs_of_a_gallery_are_scored_by_the_cohort() -> None:
    templates = [Template(f"P{seed}", near(CROWD, 0.7, seed), "a") for seed in range(5)]
    probe = near(templates[3].embedding, 0.8, 99)
    scores = COHORT.scores(np.array([t.embedding for t in templates]), probe[None])[:, 0]
    found = Gallery(templates, dict.fromkeys(Cover, 0.0), COHORT).search(probe, Cover.BARE)
    assert found is not None
    assert found.subject == "P3"
    assert found.score == pytest.approx(scores.max(), abs=1e-5)
    assert found.margin == pytest.approx(scores.max() - np.sort(scores)[-2], abs=1e-5)
    pairs = COHORT.scores(*(np.array([t.embedding for t in templates]),) * 2)
    np.fill_diagonal(pairs, -1)
    assert closest(templates, dict.fromkeys(Cover, 0.0), COHORT)[0].score == pytest.approx(pairs.max(), abs=1e-5)


def test_of_two_equally_near_the_rarer_face_is_the_better_match() -> None:
    """Who resembles everybody is resembled by chance."""
    probe = person(3)
    rare = near(probe, 0.6, 1)
    common = near(probe, 0.6, 2)
    crowd = Cohort(np.array([near(common, 0.5, seed) for seed in range(NEAREST)]), 0.3)
    found = Gallery([Template("A", common, "a"), Template("B", rare, "a")], None, crowd).search(probe, Cover.BARE)
    assert found is not None
    assert found.subject == "B"


def test_the_gate_searches_with_the_cohort_its_thresholds_were_measured_with(faces: Faces) -> None:
    templates = [Template("Ann", person(1), faces.embedder), Template("Bo", person(2), faces.embedder, Cover.MASKED)]
    probe = near(person(1), 0.7)
    found = faces.gallery(templates).search(probe, Cover.MASKED)
    assert found is not None
    assert found.score == pytest.approx(faces.cohort.scores(person(1)[None], probe[None])[0, 0], abs=1e-5)
    lowered = faces.gallery(templates).search(person(2), Cover.MASKED)
    assert lowered is not None
    whole = faces.cohort.scores(person(2)[None], person(2)[None])[0, 0]
    assert lowered.score == pytest.approx(whole - faces.calibration.surplus[Cover.MASKED], abs=1e-5)


def test_the_shipped_cohort_is_nobody_who_is_shipped(faces: Faces) -> None:
    from maskgate import config, look

    seen = [
        look.portrait(faces, load_photo(path), look.bounds_of(config.Quality()), of=path.name).probe
        for path in sorted(PEOPLE.glob("*/enrol.jpg"))
    ]
    probes = np.array([probe for probe in seen if probe is not None])
    assert len(probes) >= 3
    # Below what is asked of one comparison in a thousand; and faces at large are as near to it as is usual.
    assert (probes @ faces.cohort.nobody.T).max() < 0.5
    assert abs(faces.cohort.excess(probes)).max() < 0.05
