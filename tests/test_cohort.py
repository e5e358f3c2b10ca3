"""The cohort: a score counts for less between faces that are near everybody, and for as much as before without one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from house import House
from maskgate import config, look
from maskgate.cohort import NEAREST, NOBODY, ROWS, WEIGHT, Cohort
from maskgate.faces import Faces
from maskgate.match import Gallery
from maskgate.nearness import closest, likeness
from maskgate.pixels import load_photo
from maskgate.run import Roster
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
    found = Gallery(templates, dict.fromkeys(Cover, 0.0), cohort=COHORT).search(probe, Cover.BARE)
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
    found = Gallery([Template("A", common, "a"), Template("B", rare, "a")], cohort=crowd).search(probe, Cover.BARE)
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


def test_faces_at_large_are_as_near_to_the_shipped_cohort_as_is_usual(faces: Faces) -> None:
    seen = [
        look.portrait(faces, load_photo(path), look.bounds_of(config.Quality()), of=path.name).probe
        for path in sorted(PEOPLE.glob("*/enrol.jpg"))
    ]
    probes = np.array([probe for probe in seen if probe is not None])
    assert len(probes) >= 3
    assert faces.cohort.nobody.shape == (2048, 128)
    assert np.linalg.norm(faces.cohort.nobody, axis=1) == pytest.approx(1, abs=1e-5)
    assert abs(faces.cohort.excess(probes).mean()) < 0.01
    # Nobody in it is anybody here.
    assert (probes @ faces.cohort.nobody.T).max() < faces.calibration.threshold(1e-4, Cover.BARE).score


def test_photos_of_one_person_are_likened_by_the_cohort() -> None:
    templates = [Template("Ann", near(CROWD, 0.8, seed), "a") for seed in range(3)]
    scores = COHORT.scores(*(np.array([t.embedding for t in templates]),) * 2)
    np.fill_diagonal(scores, -1)
    assert likeness(templates, COHORT)["Ann"] == pytest.approx(scores.max(1).tolist(), abs=1e-5)
    assert likeness(templates, COHORT)["Ann"] != pytest.approx(likeness(templates, NOBODY)["Ann"], abs=1e-3)


def test_a_masked_template_near_another_counts_less_by_surplus_and_cohort() -> None:
    one = Template("Ann", near(CROWD, 0.8, 1), "a")
    other = Template("Bo", near(CROWD, 0.8, 2), "a", Cover.MASKED)
    surplus = {Cover.BARE: 0.02, Cover.MASKED: 0.05}
    score = COHORT.scores(one.embedding[None], other.embedding[None])[0, 0]
    # Bo's template as a probe meets Ann's bare one with nothing taken off.
    assert closest([one, other], surplus, COHORT)[0].score == pytest.approx(score, abs=1e-5)


def test_the_running_gate_searches_with_its_networks_cohort(house: House, faces: Faces) -> None:
    crowded = replace(faces, cohort=COHORT)
    with house.store() as store:
        store.enrol("Ann", [(near(CROWD, 0.8), {})], model=faces.embedder, source="photo", actor="pat")
        [template] = store.templates(faces.embedder)
        roster = Roster(store, crowded, config.defaults())
        roster.refresh(0, every_s=0)
    found = roster.gallery.search(template.embedding, Cover.BARE)
    assert found is not None
    face = template.embedding[None]
    assert found.score == pytest.approx(COHORT.scores(face, face)[0, 0], abs=1e-5)
    assert abs(found.score - 1) > 0.01
