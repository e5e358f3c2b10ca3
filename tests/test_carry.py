"""Laws of what a face carries along: a card brings its own surroundings, a head leaves the wall where it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskgate import carry
from maskgate.cues import CARRIED, ENOUGH, Rules, Says, Trail, follow, judge
from maskgate.cues import carried as cue
from maskgate.values import Backdrop, Sighting
from worlds import face, sighting

SCALE = 0.25
"""Of a backdrop of 320 by 240 before a picture of 1280 by 960."""
LIVE = Rules(0.5)


def texture(seed: int, rows: int, columns: int) -> np.ndarray:
    """Return blotches a few pixels large, 40 to 215."""
    coarse = np.random.default_rng(seed).uniform(40, 215, (rows // 6 + 2, columns // 6 + 2))
    return np.kron(coarse, np.ones((6, 6)))[:rows, :columns]


def seen(x: float, y: float, *, height: float = 240, card: float, seed: int = 0, at_s: float = 0.0) -> Sighting:
    """Return a face `height` pixels high at (x, y) before a wall, with `card` eye distances of its own around it.

    A head's hair ends at 1.5; a print's margin and the hand that holds it reach farther than the ring.
    """
    shown = sighting(at_s, x=x, height=height)
    there = face(x, y, height)
    eyes = 0.4 * height * SCALE
    wall = texture(1, 240, 320)
    half = card * eyes
    left, right = round(x * SCALE - half), round(x * SCALE + half)
    top, bottom = round((y - 0.15 * height) * SCALE - half), round((y - 0.15 * height) * SCALE + half)
    own = texture(2, 400, 400)
    rows = np.arange(max(top, 0), min(bottom, 240))
    columns = np.arange(max(left, 0), min(right, 320))
    if len(rows) and len(columns):
        unit = 24 / eyes
        wall[np.ix_(rows, columns)] = own[
            np.ix_(((rows - top) * unit).astype(int) % 400, ((columns - left) * unit).astype(int) % 400)
        ]
    noisy = wall + np.random.default_rng(seed + 10).normal(0, 3, wall.shape)
    luma = np.clip(noisy, 0, 255).astype(np.uint8)
    return Sighting(at_s, there, shown.quality, 0.0, live=0.9, probe=shown.probe, backdrop=Backdrop(luma, SCALE))


def trail_of(looks: list[Sighting]) -> Trail:
    """Follow a visit's looks."""
    trail = Trail()
    for look in looks:
        trail = follow(trail, look)
    return trail


def walk(card: float, *, steps: int = 5, along: float = 60.0) -> list[Sighting]:
    """Return looks at a face that moves to the right."""
    return [seen(500 + along * i, 480, card=card, seed=i, at_s=0.1 * i) for i in range(steps)]


def test_a_held_card_takes_its_surroundings_along() -> None:
    answer = cue(trail_of(walk(4.5)))
    assert answer.says is Says.ATTACK
    assert answer.value is not None
    assert answer.value > CARRIED


def test_a_head_leaves_the_wall_where_it_is() -> None:
    answer = cue(trail_of(walk(1.5)))
    assert answer.says is Says.NOTHING
    assert answer.value is not None
    assert answer.value < 0


def test_a_card_that_is_brought_closer_takes_its_surroundings_along() -> None:
    looks = [seen(640, 480, height=180 * 1.15**i, card=4.5, seed=i, at_s=0.1 * i) for i in range(5)]
    assert cue(trail_of(looks)).says is Says.ATTACK


def test_a_head_that_comes_closer_leaves_the_wall_where_it_is() -> None:
    looks = [seen(640, 480, height=180 * 1.15**i, card=1.5, seed=i, at_s=0.1 * i) for i in range(5)]
    assert cue(trail_of(looks)).says is Says.NOTHING


@pytest.mark.parametrize("card", [1.5, 4.5])
def test_a_face_that_stays_where_it_is_tells_nothing(card: float) -> None:
    answer = cue(trail_of(walk(card, along=1.0)))
    assert (answer.says, answer.value) == (Says.NOTHING, None)


def test_a_bare_wall_tells_nothing_against_a_head() -> None:
    looks = walk(1.5)
    plain = [Backdrop(np.full((240, 320), 120, np.uint8), SCALE) for _ in looks]
    trail = Trail()
    for look, backdrop in zip(looks, plain, strict=True):
        trail = follow(trail, Sighting(look.at_s, look.face, look.quality, 0.0, backdrop=backdrop))
    assert cue(trail).says is Says.NOTHING


def test_photos_that_have_no_backdrop_tell_nothing() -> None:
    assert cue(trail_of([sighting(0.1 * i, x=300 + 50 * i) for i in range(6)])).says is Says.NOTHING


def test_a_held_card_is_refused_however_live_the_face_on_it_looks() -> None:
    looks = walk(4.5)
    verdict = judge(looks, looks, trail_of(looks), LIVE)
    assert verdict.attack is not None
    assert verdict.attack.name == "carried"
    assert not verdict.is_live


def test_a_trail_keeps_few_pictures_however_long_the_visit() -> None:
    assert len(trail_of(walk(1.5, steps=12, along=40.0)).anchors) <= 3


@given(st.lists(st.floats(-2, 2), max_size=8))
def test_fewer_than_three_comparisons_say_nothing_and_no_number_of_them_says_live(found: list[float]) -> None:
    says = cue(Trail(carried=tuple(found))).says
    assert says is not Says.LIVE
    if len(found) < ENOUGH:
        assert says is Says.NOTHING


def test_the_ring_leaves_out_the_head_and_the_body() -> None:
    middle = carry.SIDE // 2
    assert not carry.RING[middle - 10 : middle + 10, middle - 10 : middle + 10].any()
    assert not carry.RING[-10:, :].any()
    assert carry.RING[middle, :7].all()
