"""The laws of the decision: what must never happen, as properties over random visits, and what must, as examples."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskgate.decide import Attention, step
from maskgate.reasons import REASONS
from maskgate.values import Cover, Match, Sighting
from worlds import BLURRED, fold, near, person, policy, sighting

ANNA = Match("Anna", 0.62, 0.4, "Ben")
BEN = Match("Ben", 0.60, 0.4, "Anna")
NOBODY = Match("Anna", 0.21, 0.02, "Ben")
TWINS = Match("Anna", 0.62, 0.01, "Ben")


def frames(
    *matches: Match | None, start_s: float = 0.0, every_s: float = 0.1, **more: object
) -> list[tuple[float, Sighting | None]]:
    """Return a face seen every `every_s`, matched like this."""
    times = [start_s + every_s * i for i in range(len(matches))]
    seen = zip(times, matches, strict=True)
    return [(at_s + 0.02, sighting(at_s, match, **more)) for at_s, match in seen]  # type: ignore[arg-type]


def nobody(start_s: float, seconds: float) -> list[tuple[float, Sighting | None]]:
    """Return frames without a face."""
    return [(start_s + i * 0.1, None) for i in range(int(seconds * 10))]


def test_a_resident_is_granted_at_the_second_agreeing_sighting() -> None:
    [decision] = fold(frames(ANNA, ANNA, ANNA, ANNA), policy())
    assert decision.granted
    assert (decision.subject, decision.reason, decision.frames) == ("Anna", "granted", 2)
    assert decision.first_usable_s == 0.0
    assert decision.at_s == pytest.approx(0.12)


def test_a_stranger_is_refused_after_the_looks_the_policy_gives() -> None:
    [decision] = fold(frames(*[NOBODY] * 14), policy())
    assert not decision.granted
    assert (decision.reason, decision.subject, decision.frames) == ("unknown", None, 12)
    assert decision.score == pytest.approx(0.21)


def test_a_stranger_is_refused_when_patience_ends_before_the_looks() -> None:
    [decision] = fold(frames(*[NOBODY] * 8, every_s=0.6), policy())
    assert decision.reason == "unknown"
    assert decision.frames < 12


def test_a_wavering_identity_is_refused_at_once() -> None:
    [decision] = fold(frames(ANNA, NOBODY, BEN, BEN, BEN), policy())
    assert (decision.granted, decision.reason) == (False, "wavering")


def test_twins_are_refused_for_their_margin() -> None:
    [decision] = fold(frames(*[TWINS] * 12), policy())
    assert (decision.granted, decision.reason) == (False, "thin_margin")


def test_one_poor_look_between_does_not_break_the_streak_but_one_stranger_look_does() -> None:
    blurred = frames(ANNA, quality=BLURRED, start_s=0.1)
    assert fold(frames(ANNA) + blurred + frames(ANNA, start_s=0.2), policy())[0].granted
    assert fold(frames(ANNA, NOBODY, ANNA), policy()) == []


def test_a_masked_face_is_held_against_the_masked_threshold() -> None:
    near_miss = Match("Anna", 0.42, 0.4, "Ben")
    assert fold(frames(near_miss, near_miss, masked=0.1), policy())[0].granted
    assert fold(frames(near_miss, near_miss, masked=0.9), policy()) == []


def test_a_frame_older_than_half_a_second_never_grants() -> None:
    late = [(at_s + 0.6, shown) for at_s, shown in frames(*[ANNA] * 100)]
    decisions = fold(late, policy())
    assert [decision.reason for decision in decisions][:1] == ["stale"]
    assert not any(decision.granted for decision in decisions)


def test_a_frame_from_the_future_never_grants() -> None:
    early = [(at_s - 1.0, shown) for at_s, shown in frames(*[ANNA] * 4, start_s=5.0)]
    assert fold(early, policy()) == []


def test_a_resident_who_stays_is_granted_once() -> None:
    assert len(fold(frames(*[ANNA] * 600), policy())) == 1


def test_a_resident_who_comes_back_at_once_opens_nothing_twice() -> None:
    seen = frames(ANNA, ANNA, ANNA) + nobody(0.4, 2) + frames(ANNA, ANNA, ANNA, start_s=2.5)
    assert [(d.granted, d.reason) for d in fold(seen, policy())] == [(True, "granted"), (False, "just_granted")]


def test_a_resident_who_comes_back_later_is_granted_again() -> None:
    seen = frames(ANNA, ANNA, ANNA) + nobody(0.4, 11) + frames(ANNA, ANNA, ANNA, start_s=11.5)
    assert [d.granted for d in fold(seen, policy())] == [True, True]


def test_two_residents_one_behind_the_other_are_both_granted() -> None:
    anna, ben = person(1), person(2)
    seen = frames(*[ANNA] * 6, probe=anna) + frames(*[BEN] * 8, start_s=0.6, probe=ben)
    assert [d.subject for d in fold(seen, policy())] == ["Anna", "Ben"]


def test_who_is_recognised_still_is_no_new_visit_however_much_nearer_they_came() -> None:
    far = person(1)
    close = near(far, policy().alike - 0.05)
    seen = frames(*[ANNA] * 6, probe=far) + frames(*[ANNA] * 30, start_s=0.6, probe=close)
    assert [d.reason for d in fold(seen, policy())] == ["granted"]


def test_a_doubtful_mask_does_not_lower_what_is_asked_for() -> None:
    rules = policy(thresholds={Cover.BARE: 0.5, Cover.MASKED: 0.44})
    between = Match("Anna", 0.47, 0.4, "Ben")
    reasons = {
        masked: {d.reason for d in fold(frames(*[between] * 15, masked=masked), rules)}
        for masked in (0.0, 0.49, 0.5, 0.97, 0.98, 1.0)
    }
    assert reasons == {m: {"granted"} if m >= 0.98 else {"unknown"} for m in reasons}
    [decision] = fold(frames(*[ANNA] * 3, masked=0.7), rules)
    assert (decision.granted, decision.threshold) == (True, 0.5)


def test_a_doubtful_mask_asks_for_what_masks_ask_for_where_that_is_more() -> None:
    rules = policy(thresholds={Cover.BARE: 0.44, Cover.MASKED: 0.5})
    between = Match("Anna", 0.47, 0.4, "Ben")
    assert {d.reason for d in fold(frames(*[between] * 15, masked=0.7), rules)} == {"unknown"}


def test_faces_found_elsewhere_now_and_then_do_not_add_up() -> None:
    seen: list[tuple[float, Sighting | None]] = frames(*[ANNA] * 6)
    for turn in range(8):
        seen += frames(NOBODY, start_s=0.6 + 0.2 * turn, x=900)
        seen += frames(NOBODY, start_s=0.7 + 0.2 * turn, quality=BLURRED)
    assert [d.reason for d in fold(seen + frames(*[ANNA] * 9, start_s=2.3), policy())] == ["granted"]


def test_one_face_found_where_none_is_does_not_make_a_stay_two_visits() -> None:
    seen = frames(*[ANNA] * 6) + frames(NOBODY, start_s=0.6, x=900) + frames(*[ANNA] * 30, start_s=0.7)
    assert [d.reason for d in fold(seen, policy())] == ["granted"]


def test_who_stands_elsewhere_after_a_grant_has_a_visit_of_their_own_soon() -> None:
    seen = frames(*[ANNA] * 6) + frames(*[BEN] * 6, start_s=0.6, x=900)
    assert [d.subject for d in fold(seen, policy())] == ["Anna", "Ben"]


@pytest.mark.parametrize(("then", "reason"), [(NOBODY, "unknown"), (TWINS, "thin_margin"), (BEN, "granted")])
def test_who_is_recognised_no_longer_is_a_new_visit(then: Match, reason: str) -> None:
    seen = frames(*[ANNA] * 6, probe=person(1)) + frames(*[then] * 30, start_s=0.6, probe=person(2))
    assert [d.reason for d in fold(seen, policy())] == ["granted", reason]


def test_who_stands_elsewhere_begins_a_visit_of_their_own() -> None:
    seen = frames(NOBODY, NOBODY) + frames(ANNA, ANNA, ANNA, start_s=0.2, x=900)
    decisions = fold(seen, policy())
    assert [d.reason for d in decisions] == ["left", "granted"]


def test_two_faces_are_refused_where_the_policy_wants_one() -> None:
    [decision] = fold(frames(*[ANNA] * 12, others=1), policy(one_face=True))
    assert decision.reason == "two_faces"
    assert fold(frames(*[ANNA] * 2, others=1), policy())[0].granted


def test_a_face_never_seen_well_enough_is_refused_with_what_was_wrong() -> None:
    [decision] = fold(frames(*[None] * 120, quality=BLURRED), policy())
    assert (decision.reason, decision.fault, decision.frames) == ("poor_picture", "too_blurred", 0)


def test_a_face_that_leaves_early_is_recorded_once() -> None:
    assert [d.reason for d in fold(frames(NOBODY, NOBODY) + nobody(0.3, 5), policy())] == ["left"]


def test_a_passing_blur_and_a_single_look_are_not_worth_a_record() -> None:
    assert fold(frames(None, None, quality=BLURRED) + nobody(0.3, 5), policy()) == []
    assert fold(frames(NOBODY) + nobody(0.3, 5), policy()) == []


def test_with_nobody_enrolled_the_refusal_says_so() -> None:
    [decision] = fold(frames(*[None] * 12), policy())
    assert decision.reason == "empty_gallery"


def refused_five_times() -> list[tuple[float, Sighting | None]]:
    """Return a stranger who stands there until five visits were refused (the probe jitters like a real face)."""
    shots = []
    for i in range(1, 260):
        probe = near(person(7), 0.9, seed=i)
        shots.append((i * 0.1 + 0.02, sighting(i * 0.1, NOBODY, probe=probe)))
    return shots


def test_after_five_refused_visits_that_person_waits_and_others_do_not() -> None:
    seen = refused_five_times()
    reasons = [d.reason for d in fold(seen, policy())]
    assert reasons[:6] == ["unknown"] * 5 + ["backing_off"]
    last_s = seen[-1][0]
    resident = frames(ANNA, ANNA, ANNA, start_s=last_s + 3)
    after = fold([*seen, *nobody(last_s, 2), *resident], policy())
    assert after[-1].granted


def test_after_the_back_off_that_person_is_looked_at_again() -> None:
    seen = refused_five_times()
    end_s = seen[-1][0]
    later = [(end_s + 40 + i * 0.1 + 0.02, sighting(end_s + 40 + i * 0.1, ANNA, probe=person(7))) for i in range(3)]
    assert fold([*seen, *nobody(end_s, 39), *later], policy())[-1].granted


def test_a_poster_of_a_face_does_not_fill_the_log() -> None:
    """Each further refusal doubles the wait, up to ten minutes; nothing is recorded while it lasts."""
    poster = [(i * 0.5 + 0.02, sighting(i * 0.5, NOBODY, probe=person(7))) for i in range(4 * 3600 * 2)]
    decisions = fold(poster, policy())
    assert len(decisions) < 80
    assert [d.reason for d in decisions][-2:] in (["unknown", "backing_off"], ["backing_off", "unknown"])


def test_a_back_off_counts_visits_in_a_row_only() -> None:
    """A resident whom the light refused four times and who then gets in starts from nothing."""
    seen: list[tuple[float, Sighting | None]] = []
    at_s = 0.0
    for matches in (
        [NOBODY] * 12,
        [NOBODY] * 12,
        [NOBODY] * 12,
        [NOBODY] * 12,
        [ANNA] * 2,
        [NOBODY] * 12,
        [NOBODY] * 12,
    ):
        seen += frames(*matches, start_s=at_s)
        at_s += len(matches) * 0.1
        seen += nobody(at_s, 11)
        at_s += 11.2
    assert "backing_off" not in [d.reason for d in fold(seen, policy())]


MATCHES = st.sampled_from(
    [ANNA, BEN, NOBODY, TWINS, None, Match("Anna", 0.43, 0.2, "Ben"), Match("Ben", 0.41, 0.3, "Anna")]
)


@st.composite
def visits(draw: st.DrawFn) -> list[tuple[float, Sighting | None]]:
    """Return random frames: faces that come, go, jump, blur, crowd, age and change their identity."""
    now_s, seen = 0.0, []
    for _ in range(draw(st.integers(1, 60))):
        now_s += draw(st.sampled_from([0.05, 0.1, 0.3, 1.2, 4.0]))
        if draw(st.integers(0, 5)) == 0:
            seen.append((now_s, None))
            continue
        shown = sighting(
            now_s - draw(st.sampled_from([0.02, 0.3, 0.7])),
            draw(MATCHES),
            x=draw(st.sampled_from([300.0, 320.0, 900.0])),
            masked=draw(st.sampled_from([0.1, 0.9])),
            probe=person(draw(st.integers(1, 3))),
            others=draw(st.integers(0, 1)),
        )
        seen.append((now_s, replace(shown, quality=BLURRED, probe=None) if draw(st.integers(0, 4)) == 0 else shown))
    return seen


@given(visits(), st.integers(1, 3))
def test_a_grant_rests_on_agreeing_fresh_usable_sightings_of_one_subject(
    seen: list[tuple[float, Sighting | None]], agree: int
) -> None:
    rules = policy(agree=agree)
    for decision in fold(seen, rules):
        assert decision.reason in REASONS
        if not decision.granted:
            continue
        evidence = [
            shown.match.subject
            for now_s, shown in seen
            if shown and shown.usable and shown.match and now_s <= decision.at_s
            if now_s - shown.at_s <= rules.stale_s
            if shown.match.score >= rules.thresholds[shown.cover] and shown.match.margin >= rules.margin
        ]
        assert evidence[-agree:] == [decision.subject] * agree


@given(visits())
def test_grants_of_one_subject_are_apart_by_the_regrant_interval(seen: list[tuple[float, Sighting | None]]) -> None:
    last: dict[str, float] = {}
    for decision in fold(seen, policy()):
        if decision.granted and decision.subject:
            assert decision.at_s - last.get(decision.subject, -100) >= policy().regrant_s
            last[decision.subject] = decision.at_s


@given(visits())
def test_nobody_is_granted_whom_no_sighting_puts_above_the_threshold(seen: list[tuple[float, Sighting | None]]) -> None:
    strangers = [
        (s, shown and replace(shown, match=shown.match and replace(shown.match, score=0.39))) for s, shown in seen
    ]
    assert not any(decision.granted for decision in fold(strangers, policy()))


@given(visits(), st.floats(0.0, 0.5))
def test_raising_the_threshold_never_adds_a_subject_who_is_granted(
    seen: list[tuple[float, Sighting | None]], more: float
) -> None:
    """One visit of one face: no re-grant, no wavering, no back-off, which rightly depend on history."""
    steady = [
        (
            s,
            replace(
                shown,
                match=shown.match and replace(shown.match, subject="Anna"),
                face=sighting(0).face,
                probe=person(1),
            ),
        )
        for s, shown in seen
        if shown is not None
    ]
    rules = policy(regrant_s=0.0, gone_s=10.0, patience_s=1000.0, looks=1000, retry_s=1000.0)
    higher = replace(rules, thresholds={cover: score + more for cover, score in rules.thresholds.items()})
    assert sum(d.granted for d in fold(steady, higher)) <= sum(d.granted for d in fold(steady, rules))


@given(visits())
def test_a_visit_ends_in_at_most_one_decision(seen: list[tuple[float, Sighting | None]]) -> None:
    attention, decided = Attention(), set()
    for now_s, shown in seen:
        attention, decision = step(attention, now_s, shown, policy())
        if decision is not None and attention.visit is not None:
            key = (attention.visit.first_s, decision.first_s)
            assert key not in decided
            decided.add(key)


def test_every_reason_the_code_can_give_is_listed_and_nothing_else() -> None:
    """Logs and scripts rely on the list: a reason that no code gives is as wrong as one that is missing."""
    import inspect
    import re

    from maskgate import decide, hands, rules, ruling

    source = "".join(map(inspect.getsource, (decide, hands, rules, ruling)))
    given_reasons = {word for word in re.findall(r'"([a-z_]+)"', source) if word in REASONS}
    assert given_reasons == set(REASONS)


def test_the_thresholds_cover_both_covers() -> None:
    assert set(policy().thresholds) == set(Cover)
