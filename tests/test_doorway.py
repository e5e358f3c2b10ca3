"""Laws of the door: what its contact means goes by whether the relay was energised, and by how long it stands open."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from maskgate.doorway import Bounds, Doorway, is_alarming, next_s, step

BOUNDS = Bounds(held_open_s=30, forced_s=0.3, grace_s=2, alarm_s=180)
SHUT = Doorway(is_open=False)


def see(
    door: Doorway, now_s: float, is_open: bool | None, *, tampered: bool = False, free: bool = False, held: bool = False
) -> tuple[Doorway, tuple[str, ...]]:
    """Take one reading."""
    return step(door, now_s, is_open=is_open, tampered=tampered, free=free, held=held, bounds=BOUNDS)


def test_a_door_that_is_opened_while_it_may_be_raises_no_alarm() -> None:
    door, notes = see(SHUT, 1.0, True, free=True)
    assert notes == ("door_opened",)
    door, notes = see(door, 5.0, True)
    assert (notes, is_alarming(door, 5.0)) == ((), False)
    assert see(door, 6.0, False)[1] == ("door_closed",)


def test_the_door_may_be_opened_for_a_moment_after_the_relay_was_released() -> None:
    door, _ = see(SHUT, 1.0, False, free=True)
    for opened_s, forced in ((2.9, False), (3.1, True)):
        opened, notes = see(door, opened_s, True)
        assert notes == ("door_opened",)
        assert ("forced_open" in see(opened, opened_s + 0.3, True)[1]) is forced


def test_a_door_that_is_forced_is_reported_once_and_alarms_until_it_is_shut() -> None:
    door, _ = see(SHUT, 1.0, True)
    assert next_s(door, 1.0, BOUNDS) == 1.3
    door, notes = see(door, 1.3, True)
    assert (notes, is_alarming(door, 1.3)) == (("forced_open",), True)
    door, notes = see(door, 9.0, True)
    assert (notes, is_alarming(door, 9.0)) == ((), True)
    door, notes = see(door, 10.0, False)
    assert (notes, is_alarming(door, 10.0)) == (("door_closed",), False)


def test_a_door_that_rattles_is_not_forced() -> None:
    door, _ = see(SHUT, 1.0, True)
    door, notes = see(door, 1.2, False)
    assert notes == ("door_closed",)
    assert see(door, 2.0, False)[1] == ()


def test_a_door_that_stands_open_too_long_is_reported_once() -> None:
    door, _ = see(SHUT, 1.0, True, free=True)
    assert next_s(door, 1.0, BOUNDS) == 31.0
    door, notes = see(door, 31.0, True)
    assert notes == ("held_open",)
    assert see(door, 500.0, True)[1] == ()
    assert not is_alarming(see(door, 500.0, True)[0], 500.0)  # alarm_s is over


def test_a_door_held_open_by_order_or_by_fire_may_stand_open_and_its_time_runs_from_the_end() -> None:
    door, _ = see(SHUT, 1.0, True, held=True)
    door, notes = see(door, 1000.0, True, held=True)
    assert notes == ()
    assert see(door, 1029.0, True)[1] == ()
    assert see(door, 1030.0, True)[1] == ("held_open",)


def test_a_door_that_is_open_at_the_start_was_not_forced() -> None:
    door, notes = see(Doorway(), 1.0, True)
    assert notes == ("door_opened",)
    assert see(door, 2.0, True)[1] == ()
    assert see(Doorway(), 1.0, False)[1] == ()


def test_without_a_contact_nothing_is_said_of_the_door() -> None:
    door = Doorway()
    for now_s in (1.0, 100.0):
        door, notes = see(door, now_s, None)
        assert (notes, next_s(door, now_s, BOUNDS)) == ((), inf)


def test_tampering_alarms_until_it_ends() -> None:
    door, notes = see(SHUT, 1.0, False, tampered=True)
    assert (notes, is_alarming(door, 1.0)) == (("tamper",), True)
    door, notes = see(door, 2.0, False)
    assert (notes, is_alarming(door, 2.0)) == (("tamper_over",), False)


@given(st.lists(st.tuples(st.floats(0.01, 40), st.booleans(), st.booleans(), st.booleans()), max_size=40))
def test_opened_and_closed_alternate_and_every_report_has_an_opening_before_it(
    readings: list[tuple[float, bool, bool, bool]],
) -> None:
    door, now_s, said = SHUT, 0.0, []
    for wait_s, is_open, free, held in readings:
        now_s += wait_s
        door, notes = see(door, now_s, is_open, free=free, held=held)
        said += notes
        assert next_s(door, now_s, BOUNDS) > now_s
    moves = [kind for kind in said if kind in ("door_opened", "door_closed")]
    assert moves == ["door_opened", "door_closed"] * (len(moves) // 2) + ["door_opened"] * (len(moves) % 2)
    for kind in ("forced_open", "held_open"):
        # A hold that ends begins the time anew.
        assert said.count(kind) <= moves.count("door_opened") + sum(held for *_, held in readings)
