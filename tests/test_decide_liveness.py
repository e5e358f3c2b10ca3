"""The laws of a decision that judges liveness: an attack is never granted, and neither is silence."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskgate.cues import ENOUGH, WATCH_S, Rules, Says
from maskgate.decide import ATTACKS, SUSPICIOUS
from maskgate.values import Match, Sighting
from worlds import BLURRED, fold, near, person, policy, sighting

ANNA = Match("Anna", 0.62, 0.4, "Ben")
NOBODY = Match("Anna", 0.21, 0.02, "Ben")
BALANCED, STRICT = Rules(0.5), Rules(0.8)
Seen = list[tuple[float, Sighting | None]]


def looks(
    *lives: float | None, start_s: float = 0.0, every_s: float = 0.25, match: Match = ANNA, seed: int = 1
) -> Seen:
    """Return a face seen four times a second, as by a small board, which the network for liveness judged so."""
    times = [start_s + every_s * i for i in range(len(lives))]
    return [
        (at_s + 0.02, sighting(at_s, match, live=live, probe=near(person(seed), 0.95, i)))
        for i, (at_s, live) in enumerate(zip(times, lives, strict=True))
    ]


def test_a_live_resident_is_granted_at_the_third_look() -> None:
    [decision] = fold(looks(0.9, 0.95, 0.7, 0.9), policy(liveness=BALANCED))
    assert (decision.granted, decision.frames, decision.live) == (True, 3, 0.9)
    assert decision.verdict.deciding is not None
    assert decision.verdict.deciding.says is Says.LIVE


def test_a_fast_machine_still_watches_for_half_a_second() -> None:
    """Else a picture would be let in before anything could be told from its movement."""
    [decision] = fold(looks(*[0.9] * 60, every_s=1 / 60), policy(liveness=BALANCED))
    assert decision.granted
    assert WATCH_S <= decision.at_s < WATCH_S + 0.1


def test_a_picture_of_a_resident_is_refused_in_that_name() -> None:
    [decision] = fold(looks(0.1, 0.2, 0.1, 0.9), policy(liveness=BALANCED))
    assert (decision.granted, decision.reason, decision.subject) == (False, "not_live", "Anna")
    assert [look.live for look in decision.seen] == [0.1, 0.2, 0.1]


def test_no_answer_is_no_grant() -> None:
    [decision] = fold(looks(*[None] * 14), policy(liveness=BALANCED))
    assert (decision.granted, decision.reason) == (False, "no_liveness")


def test_a_lenient_gate_asks_the_network_and_obeys_only_its_silence() -> None:
    """As `policy.liveness = "lenient"`: whatever the answer, there must be one."""
    assert fold(looks(0.01, 0.02, 0.01), policy(liveness=Rules(0.0)))[0].granted
    assert fold(looks(*[None] * 20), policy(liveness=Rules(0.0)))[0].reason == "no_liveness"


def test_an_answer_that_comes_late_still_counts() -> None:
    assert fold(looks(None, None, 0.9, 0.9, 0.9), policy(liveness=BALANCED))[0].granted


def test_without_liveness_a_picture_passes_and_two_looks_suffice() -> None:
    [decision] = fold(looks(0.1, 0.1, 0.1), policy(liveness=None))
    assert (decision.granted, decision.frames, decision.verdict.cues) == (True, 2, ())


def test_a_face_of_ones_own_shown_first_does_not_vouch_for_a_picture() -> None:
    own = looks(*[0.99] * 6, match=NOBODY)
    [decision] = fold(own + looks(0.1, 0.1, 0.1, start_s=1.5), policy(liveness=BALANCED))
    assert (decision.granted, decision.reason) == (False, "not_live")


def test_a_picture_that_is_withdrawn_early_is_recorded_as_what_it_was() -> None:
    seen = looks(0.1, 0.1, 0.1, match=NOBODY) + [(0.6 + 0.1 * i, None) for i in range(15)]
    [decision] = fold(seen, policy(liveness=BALANCED))
    assert decision.reason == "not_live"


def test_a_resident_refused_in_bad_light_is_looked_at_again_without_leaving() -> None:
    seen = looks(0.2, 0.2, 0.2) + looks(*[0.9] * 40, start_s=0.75)
    assert [d.granted for d in fold(seen, policy(liveness=BALANCED))] == [False, True]


def attacks(number: int, *, start_s: float = 0.0, seed: int = 1) -> Seen:
    """Return a picture that is shown so often, four seconds apart."""
    return [frame for n in range(number) for frame in looks(*[0.1] * 4, start_s=start_s + 4 * n, seed=seed)]


def test_five_refused_attacks_in_a_row_are_suspicious_once() -> None:
    decisions = fold(attacks(5), policy(liveness=BALANCED))
    assert [d.suspected for d in decisions] == [False] * 4 + [True]
    later = fold(attacks(4) + attacks(5, seed=2, start_s=20.0), policy(liveness=BALANCED))
    assert [d.suspected for d in later] == [False] * 8 + [True]


def test_a_grant_between_ends_the_row_of_attacks() -> None:
    """The resident herself comes, so that nothing is left of four refusals in her bad light."""
    seen = attacks(4) + looks(*[0.9] * 4, start_s=18.0) + attacks(4, start_s=40.0)
    assert not any(d.suspected for d in fold(seen, policy(liveness=BALANCED)))


def test_whose_picture_was_refused_five_times_waits_like_anybody_refused() -> None:
    decisions = fold(attacks(6), policy(liveness=BALANCED))
    assert [d.reason for d in decisions] == ["not_live"] * SUSPICIOUS + ["backing_off"]


LIVES = st.none() | st.floats(0, 1)


@st.composite
def visits(draw: st.DrawFn, lives: st.SearchStrategy[float | None] = LIVES) -> Seen:
    """Return random frames: faces that come, go, jump, blur and change, each judged for liveness or not."""
    now_s, seen = 0.0, []
    for _ in range(draw(st.integers(1, 24))):
        now_s += draw(st.sampled_from([0.05, 0.1, 0.3, 1.2]))
        if draw(st.integers(0, 7)) == 0:
            seen.append((now_s, None))
            continue
        shown = sighting(
            now_s - 0.02,
            draw(st.sampled_from([ANNA, ANNA, ANNA, NOBODY, None])),
            x=draw(st.sampled_from([300.0, 300.0, 900.0])),
            probe=person(draw(st.integers(1, 2))),
            live=draw(lives),
        )
        seen.append((now_s, replace(shown, quality=BLURRED, probe=None) if draw(st.integers(0, 5)) == 0 else shown))
    return seen


@given(visits(st.none() | st.floats(0, 0.49)))
def test_an_attack_is_never_granted(seen: Seen) -> None:
    assert not any(decision.granted for decision in fold(seen, policy(liveness=BALANCED)))


@given(visits(st.none()))
def test_missing_liveness_never_grants(seen: Seen) -> None:
    assert not any(decision.granted for decision in fold(seen, policy(liveness=BALANCED)))


@given(visits())
def test_a_grant_rests_on_sightings_that_are_live_and_on_no_veto(seen: Seen) -> None:
    rules = policy(liveness=BALANCED)
    for decision in fold(seen, rules):
        if not decision.granted:
            continue
        assert decision.verdict.is_live
        assert decision.verdict.attack is None
        assert decision.first_usable_s is not None
        assert decision.at_s - decision.first_usable_s >= WATCH_S
        answered = [look.live for look in decision.seen[-rules.in_a_row :] if look.live is not None]
        assert len([look.live for look in decision.seen if look.live is not None]) >= ENOUGH
        assert any(live >= BALANCED.threshold for live in answered)


@given(visits())
def test_a_visit_that_a_cue_vetoed_is_not_granted_later(seen: Seen) -> None:
    for decision in fold(seen, policy(liveness=BALANCED)):
        if decision.verdict.attack is not None:
            assert not decision.granted
        if decision.reason in ATTACKS.values():
            assert decision.verdict.attack is not None


@given(visits(), st.floats(0, 1), st.floats(0, 1))
def test_being_stricter_never_adds_a_grant(seen: Seen, low: float, high: float) -> None:
    """One visit of one face: re-grants and back-off rightly depend on history."""
    low, high = min(low, high), max(low, high)
    steady = [(s, replace(shown, face=sighting(0).face, probe=person(1))) for s, shown in seen if shown]
    one = policy(regrant_s=0.0, gone_s=1000.0, patience_s=1000.0, looks=1000, retry_s=1000.0)
    lax, strict = (fold(steady, replace(one, liveness=Rules(threshold))) for threshold in (low, high))
    assert sum(d.granted for d in strict) <= sum(d.granted for d in lax)


@pytest.mark.parametrize("liveness", [BALANCED, STRICT])
def test_judging_liveness_grants_nobody_who_would_not_be_granted_without(liveness: Rules) -> None:
    for match in (NOBODY, None, Match("Anna", 0.62, 0.01, "Ben")):
        seen = [(at + 0.02, sighting(at, match, live=1.0)) for at in (0.1 * i for i in range(60))]
        assert not any(d.granted for d in fold(seen, policy(liveness=liveness)))
