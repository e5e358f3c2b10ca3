"""Laws of `maskgate tune`: predictions count what was logged, pairs are the nearest there are, nothing changes."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from house import House
from maskgate import config
from maskgate.admin.tuning import FEWEST, weaklings
from maskgate.cohort import NEAREST, NOBODY, Cohort
from maskgate.faces import Faces
from maskgate.nearness import closest, likeness
from maskgate.store import Event
from maskgate.tally import Asked, Lead, Lives
from maskgate.values import Cover, Template, needed
from worlds import person

JUDGE = "ab" * 32
NO_SURPLUS = dict.fromkeys(Cover, 0.0)


def template(
    subject: str, number: int, cover: Cover = Cover.BARE, like: int | None = None, share: float = 0.0
) -> Template:
    """Return a made-up template, to a `share` like another one."""
    vector = person(number) if like is None else share * person(like) + (1 - share) * person(number)
    return Template(subject, (vector / np.linalg.norm(vector)).astype(np.float32), "a" * 64, cover)


def visit(reason: str, score: float, *, subject: str | None = None, margin: float = 0.3, **detail: object) -> Event:
    return Event(
        *("decision", "2026-01-05T07:15:00.000Z", subject, reason == "granted", reason, score, margin, 0.45),
        masked=0.1,
        detail=detail,
    )


# -- visits held against other settings --------------------------------------------------------------------------------


def test_a_visit_is_missed_by_its_lowest_look_and_a_stranger_passes_by_the_best(house: House) -> None:
    house.enrol("Ada")
    with house.store() as store:
        store.record(visit("granted", 0.7, subject="Ada", scores=[0.2, 0.5, 0.7]))
        store.record(visit("granted", 0.6, subject="Ada"))
        store.record(visit("outside_schedule", 0.65, subject="Ada", margin=0.04))
        store.record(visit("unknown", 0.44))
        store.record(visit("unknown", 0.3, margin=0.0))
        store.record(visit("not_live", 0.9, subject="Ada"))
        store.record(Event("decision", granted=False, reason="poor_picture"))
        held = store.held_against(
            [
                Asked(bare=0.45, masked=0.1, margin=0.0, agree=1),
                Asked(bare=0.55, masked=0.1, margin=0.0, agree=1),
                Asked(bare=0.55, masked=0.1, margin=0.0, agree=2),
                Asked(bare=0.15, masked=0.9, margin=0.0, agree=3),
                Asked(bare=0.25, masked=0.9, margin=0.05, agree=3),
            ]
        )
        leads = store.leads()
    assert {(one.recognised, one.strange) for one in held} == {(3, 2)}
    assert [(one.missed, one.passing) for one in held] == [(0, 0), (0, 0), (1, 0), (0, 2), (2, 1)]
    assert leads["Ada"].visits == 3
    assert leads["Ada"].mean == pytest.approx(0.2)
    assert leads["Ada"].lowest == pytest.approx(0.15)


@pytest.mark.parametrize("masked", [0.0, 0.49, 0.5, 0.9, 0.979, 0.98, 1.0])
@pytest.mark.parametrize(("bare", "worn"), [(0.45, 0.35), (0.35, 0.45)])
def test_what_is_asked_of_a_mask_in_the_log_is_what_a_grant_asks(
    house: House, masked: float, bare: float, worn: float
) -> None:
    asked = Asked(bare=bare, masked=worn, margin=0.0, agree=1)
    with house.store() as store:
        store.record(replace(visit("unknown", 0.4), masked=masked))
        [held] = store.held_against([asked])
    assert held.passing == (needed({Cover.BARE: bare, Cover.MASKED: worn}, masked) <= 0.4)


def test_a_log_of_nothing_predicts_nothing(house: House) -> None:
    with house.store() as store:
        [held] = store.held_against([Asked(0.4, 0.4, 0.05, 2)])
        assert (held.recognised, held.missed, held.strange, held.passing) == (0, 0, 0, 0)
        assert store.leads() == {}


# -- the gallery -------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(Cover)), min_size=2, max_size=40),
    st.integers(1, 5),
    st.floats(0, 0.1),
)
def test_the_closest_pairs_are_those_that_comparing_all_finds(
    owners: list[tuple[int, Cover]], most: int, surplus: float
) -> None:
    templates = [template(f"P{owner}", number, cover) for number, (owner, cover) in enumerate(owners)]
    lowered = {Cover.BARE: surplus, Cover.MASKED: surplus * 2}
    best: dict[tuple[str, ...], float] = {}
    for one, other in combinations(templates, 2):
        if one.subject != other.subject:
            off = [lowered[a.cover] if b.cover is Cover.MASKED else 0.0 for a, b in ((one, other), (other, one))]
            pair = tuple(sorted((one.subject, other.subject)))
            best[pair] = max(best.get(pair, -2.0), float(one.embedding @ other.embedding) - min(off))
    expected = sorted(best.values(), reverse=True)[:most]
    found = closest(templates, lowered, NOBODY, most=most)
    assert [pair.score for pair in found] == pytest.approx(expected, abs=1e-5)
    assert all(best[pair.one, pair.other] == pytest.approx(pair.score, abs=1e-5) for pair in found)


def test_of_ten_thousand_people_the_two_who_are_alike_are_found() -> None:
    templates = [template(f"P{number}", number) for number in range(9_999)]
    templates.insert(4_000, template("Twin", 20_000, like=7_777, share=0.7))
    first = closest(templates, NO_SURPLUS, NOBODY)[0]
    assert {first.one, first.other} == {"Twin", "P7777"}
    assert first.score > 0.8


def test_of_one_person_there_is_no_pair() -> None:
    assert closest([template("Ada", 1), template("Ada", 2)], NO_SURPLUS, NOBODY) == []
    assert closest([], NO_SURPLUS, NOBODY) == []


def test_a_template_is_held_against_its_owners_others_alone() -> None:
    mine = [template("Ada", 1), template("Ada", 2, like=1, share=0.8), template("Ada", 3), template("Bo", 1)]
    alike = likeness(mine, NOBODY)
    assert set(alike) == {"Ada"}
    assert alike["Ada"][0] == pytest.approx(alike["Ada"][1])
    assert alike["Ada"][2] < 0.5 < alike["Ada"][0]


def test_who_should_be_enrolled_again_is_said_with_the_reason() -> None:
    good = {"face_px": 200.0, "sharpness": 0.5, "brightness": 120.0, "contrast": 50.0}
    templates = [template("Ada", 1), template("Ada", 2), template("Bo", 3), template("Cleo", 4), template("Di", 5)]
    qualities = [good, good, good, good | {"sharpness": 0.12}, good]
    leads = {
        "Bo": Lead(FEWEST, 0.02, 0.0, FEWEST),
        "Cleo": Lead(FEWEST, 0.3, 0.1, 0),
        "Di": Lead(FEWEST - 1, 0.01, 0.0, 0),
    }
    told = {one.name: one.why for one in weaklings(templates, qualities, leads, config.Quality(), 0.45, NOBODY)}
    assert set(told) == {"Ada", "Bo", "Cleo"}
    assert "like none of the others" in told["Ada"]
    assert "enrol a masked photo, too" in told["Bo"]
    assert told["Cleo"] == "the photo is blurred"


def test_photos_of_a_face_like_many_must_be_more_alike() -> None:
    good = {"face_px": 200.0, "sharpness": 0.5, "brightness": 120.0, "contrast": 50.0}
    mine = [template("Ada", 1), template("Ada", 2, like=1, share=0.8)]
    needed = likeness(mine, NOBODY)["Ada"][0] - 0.01
    crowd = Cohort(np.array([mine[0].embedding] * NEAREST), 0.3)
    for cohort, weak in ((NOBODY, []), (crowd, ["Ada"])):
        told = weaklings(mine, [good, good], {}, config.Quality(), needed, cohort)
        assert [one.name for one in told] == weak


# -- the command -------------------------------------------------------------------------------------------------------


def judged(live: float, *, by: str = JUDGE) -> Event:
    """Ada let in, alive with this probability by the network of this digest."""
    return replace(visit("granted", 0.7, subject="Ada", live_by=by[:16]), live=live)


def test_how_alive_those_looked_who_were_let_in(house: House) -> None:
    house.enrol("Ada")
    with house.store() as store:
        assert store.lives(JUDGE, (0.05,)) == Lives(0, 0, {})
        for number in range(100):
            store.record(judged((37 * number % 100) / 100))
        store.record(replace(judged(0.001), reason="not_live"))
        store.record(judged(0.002, by="cd" * 32))
        store.record(replace(judged(0.003), detail={}))
        store.record(visit("granted", 0.7, subject="Ada"))
        lives = store.lives(JUDGE, (0.01, 0.05, 0.5))
        late = store.lives(JUDGE, (0.05,), datetime(2026, 1, 6, tzinfo=UTC))
    assert lives == Lives(100, 2, {0.01: 0.01, 0.05: 0.05, 0.5: 0.5})
    assert late == Lives(0, 0, {})


def test_tune_says_from_where_on_a_face_could_count_as_living_here(lived_in: House, faces: Faces) -> None:
    asked = ("tune", "--since", "2020-01-01")
    assert "0 visits let in and judged: 100 are needed" in lived_in.run(*asked).out
    with lived_in.store() as store:
        for number in range(200):
            store.record(judged(0.3 + number / 400, by=faces.digests["liveness"]))
        store.record(judged(0.001, by="cd" * 32))
    told = lived_in.run(*asked).out
    assert ["0.325", "5%"] in [line.split() for line in told.splitlines()]
    assert "refuses: at least, of 200 visits that were let in" in told
    assert "Left out: 1 visit judged by another network, or by one that is not named." in told
    assert "missing here" not in told
    assert json.loads(lived_in.run(*asked, "--json").out)["lives"] == {
        "visits": 200,
        "others": 1,
        "below": {"0.01": 0.305, "0.02": 0.31, "0.05": 0.325, "0.1": 0.35},
    }
    told = House(lived_in.folder, policy={"liveness": "balanced", "lives_from": 0.325}).run(*asked).out
    assert "It is 0.325 now: who looked less alive is missing here." in told
    assert max(map(len, told.splitlines())) <= 80


@pytest.fixture
def lived_in(tmp_path: Path, faces: Faces) -> House:
    """Return a house whose gallery the shipped networks could have made, and a log."""
    house = House(tmp_path)
    with house.store() as store:
        for number, name in enumerate(("Ada", "王小明", "علي حسن")):
            store.enrol(
                name,
                [(person(number), {"quality": {"face_px": 60.0}})],
                model=faces.embedder,
                source="photo",
                actor="t",
            )
        for score in (0.46, 0.5, 0.6, 0.7, 0.8):
            store.record(visit("granted", score, subject="Ada", scores=[score, score]))
        store.record(visit("unknown", 0.3))
    return house


def test_a_stricter_setting_never_misses_fewer_and_a_laxer_one_never_lets_in_fewer(lived_in: House) -> None:
    [told] = lived_in.run("tune", "--since", "2020-01-01", "--json").objects
    by_odds = [trial for trial in told["trials"] if trial["setting"] == "stranger_odds"]
    assert [trial["value"] for trial in by_odds] == sorted(trial["value"] for trial in by_odds)
    for laxer, stricter in pairwise(by_odds):
        assert laxer["bare"] <= stricter["bare"]
        assert laxer["missed"] <= stricter["missed"]
        assert laxer["passing"] >= stricter["passing"]
    assert [trial["value"] for trial in by_odds if trial["current"]] == [config.Policy().stranger_odds]
    assert {trial["recognised"] for trial in told["trials"]} == {5}
    assert told["templates"] == 3


def test_tune_changes_nothing_and_can_be_read(lived_in: House) -> None:
    before = lived_in.events(), lived_in.path.read_bytes()
    told = lived_in.run("tune", "--since", "2020-01-01").out
    assert (lived_in.events(), lived_in.path.read_bytes()) == before
    assert max(map(len, told.splitlines())) <= 80
    for words in ("policy.stranger_odds", "policy.margin", "who may be taken for whom", "王小明", "the photo is small"):
        assert words in told, words
    rows = list(csv.DictReader(io.StringIO(lived_in.run("tune", "--csv").out)))
    assert {row["setting"] for row in rows} == {"stranger_odds", "margin", "agree"}


def test_tune_of_an_empty_gallery_is_no_failure(house: House) -> None:
    with house.store():
        pass
    told = house.run("tune")
    assert told.code == 0
    assert "nobody: no two people are within" in told.out
