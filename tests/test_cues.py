"""Laws of the cues: a veto is never outvoted, only what would open the gate can be live, no answer is no life."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskgate.cues import ENOUGH, Cue, Rules, Says, Trail, Verdict, judge, passive
from maskgate.values import Sighting
from worlds import sighting

RULES = Rules(threshold=0.6)
LIVES = st.none() | st.floats(0, 1)


def seen(lives: Sequence[float | None], start_s: float = 0.0) -> list[Sighting]:
    """Return sightings that the network for liveness answered so."""
    return [sighting(start_s + 0.1 * i, live=live) for i, live in enumerate(lives)]


@pytest.mark.parametrize(
    ("lives", "says"),
    [
        ([0.9, 0.8, 0.7], Says.LIVE),
        ([0.9, 0.1, 0.7], Says.LIVE),
        ([0.1, 0.2, 0.9], Says.ATTACK),
        ([0.9, 0.9], Says.NOTHING),
        ([0.9, 0.9, None, None], Says.NOTHING),
        ([float("nan"), 0.9, 0.9], Says.NOTHING),
        ([0.6, 0.6, 0.6], Says.LIVE),
        ([], Says.NOTHING),
    ],
)
def test_the_median_of_three_answers_or_more_speaks(lives: list[float | None], says: Says) -> None:
    assert passive(seen(lives), RULES).says is says


@given(st.lists(LIVES, max_size=12), st.lists(LIVES, max_size=6))
def test_only_the_sightings_that_would_open_the_gate_can_be_live(
    before: list[float | None], streak: list[float | None]
) -> None:
    """Somebody who shows his own face first and then a picture gains nothing by the face."""
    looks = seen(before) + (latest := seen(streak, 2.0))
    if streak and judge(looks, latest, Trail(), RULES).is_live:
        assert passive(latest, RULES).says is Says.LIVE


@given(st.lists(LIVES, max_size=12), st.lists(LIVES, max_size=6))
def test_what_the_whole_visit_says_against_life_counts_too(
    before: list[float | None], streak: list[float | None]
) -> None:
    looks = seen(before) + (latest := seen(streak, 2.0))
    if passive(looks, RULES).says is Says.ATTACK or passive(latest, RULES).says is Says.ATTACK:
        assert judge(looks, latest, Trail(), RULES).attack is not None
        assert not judge(looks, latest, Trail(), RULES).is_live


CUES = st.builds(Cue, st.sampled_from(["passive", "still", "carried"]), st.sampled_from(list(Says)))


@given(st.lists(CUES, max_size=6))
def test_a_veto_is_never_outvoted(cues: list[Cue]) -> None:
    verdict = Verdict(tuple(cues))
    if any(cue.says is Says.ATTACK for cue in cues):
        assert not verdict.is_live
        assert verdict.deciding is not None
        assert verdict.deciding.says is Says.ATTACK


@given(st.lists(CUES, max_size=6))
def test_nothing_but_the_network_can_call_a_face_live(cues: list[Cue]) -> None:
    others = [cue for cue in cues if cue.name != "passive"]
    assert not Verdict(tuple(others)).is_live


@given(st.lists(st.floats(0, 1), min_size=ENOUGH, max_size=12), st.floats(0, 1), st.floats(0, 1))
def test_a_stricter_threshold_never_makes_a_face_live(lives: list[float], low: float, high: float) -> None:
    low, high = min(low, high), max(low, high)
    looks = seen(lives)
    assert judge(looks, looks, Trail(), Rules(low)).is_live or not judge(looks, looks, Trail(), Rules(high)).is_live
