"""Laws of the lock's state machine. The full-size share is `make prove`."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from laws_latch import EVENTS, Book, advance, every_sequence, random_sequences
from maskgate.latch import TABLE, Event, Latch, State, end_s, is_open, next_s, step


def test_every_state_has_a_cell_for_every_event() -> None:
    assert set(TABLE) == set(Event)
    assert {len(row) for row in TABLE.values()} == {len(State)}


def test_the_laws_hold_on_random_sequences() -> None:
    assert random_sequences(10_000) == 10_000


def test_the_laws_hold_on_every_sequence_on_a_grid_of_times() -> None:
    assert every_sequence() > 10_000


class Lock(RuleBasedStateMachine):
    """A lock in the hands of hypothesis, which looks for the shortest sequence that breaks a law."""

    def __init__(self) -> None:
        """Start locked."""
        super().__init__()
        self.latch, self.book, self.now_s = Latch(), Book(), 0.0

    @rule(wait_s=st.floats(0, 40_000_000, allow_subnormal=False))
    def waits(self, wait_s: float) -> None:
        """Let time pass."""
        self.now_s += wait_s
        self.latch, self.book = advance(self.latch, self.book, Event.TICK, self.now_s)

    @rule(event=st.sampled_from(EVENTS))
    def happens(self, event: Event) -> None:
        """Let something happen."""
        self.latch, self.book = advance(self.latch, self.book, event, self.now_s)

    @precondition(lambda self: self.latch != Latch())
    @rule()
    def dies(self) -> None:
        """Crash and start anew."""
        self.latch, self.book = advance(self.latch, self.book, None, self.now_s)


TestLock = Lock.TestCase


def after(*events: Event, latch: Latch | None = None, now_s: float = 100.0, for_s: float = 3.0) -> Latch:
    """Return the latch after events at one moment."""
    latch = latch or Latch()
    for event in events:
        latch, _ = step(latch, event, now_s, for_s=for_s)
    return latch


def test_a_grant_opens_for_its_time_and_not_longer() -> None:
    latch = after(Event.GRANT)
    assert [is_open(latch, now_s) for now_s in (100.0, 102.9, 103.0)] == [True, True, False]
    assert (next_s(latch, 100.0), end_s(latch)) == (103.0, 103.0)
    assert step(latch, Event.TICK, 103.0)[0] == Latch()


def test_grants_never_add_up_and_a_shorter_one_takes_nothing_away() -> None:
    latch, _ = step(after(Event.GRANT, for_s=10), Event.GRANT, 101.0, for_s=3)
    assert latch.until_s == 110.0
    latch, _ = step(after(Event.GRANT), Event.GRANT, 101.0, for_s=3)
    assert latch.until_s == 104.0


def test_the_door_that_shuts_locks_behind_whoever_passed_but_not_a_gate_that_is_held_open() -> None:
    assert not is_open(after(Event.GRANT, Event.DOOR_OPENED, Event.DOOR_CLOSED), 100.1)
    assert is_open(after(Event.GRANT, Event.DOOR_OPENED), 100.1)
    assert is_open(after(Event.HOLD_OPEN, Event.DOOR_OPENED, Event.DOOR_CLOSED), 100.1)


@pytest.mark.parametrize("sealing", [Event.LOCKDOWN, Event.FAULT])
def test_in_lockdown_and_fault_nobody_gets_in_and_everybody_gets_out(sealing: Event) -> None:
    latch = after(Event.GRANT, sealing)
    assert not is_open(latch, 100.0)
    for event in (Event.GRANT, Event.UNLOCK, Event.HOLD_OPEN):
        assert step(latch, event, 100.0, for_s=3) == (latch, ("withheld",))
    out, notes = step(latch, Event.REX_PRESSED, 100.0, for_s=5)
    assert (is_open(out, 100.0), out.state, notes) == (True, latch.state, ("rex",))
    burning, notes = step(latch, Event.FIRE_ON, 100.0)
    assert (is_open(burning, 1e9), burning.state, notes) == (True, latch.state, ("fire",))


def test_a_press_opens_for_its_time_and_for_as_long_as_it_is_held_down() -> None:
    held = after(Event.REX_PRESSED, for_s=5)
    assert (is_open(held, 200.0), end_s(held)) == (True, inf)
    let_go = after(Event.REX_RELEASED, latch=held)
    assert [is_open(let_go, now_s) for now_s in (104.9, 105.0)] == [True, False]


def test_the_end_of_a_lockdown_does_not_forget_a_fault_and_a_release_mends_it() -> None:
    assert after(Event.FAULT, Event.LOCKDOWN, Event.RELEASE).state is State.FAULT
    assert after(Event.LOCKDOWN, Event.FAULT, Event.RELEASE).state is State.FAULT
    assert after(Event.LOCKDOWN, Event.FAULT, Event.RELEASE, Event.RELEASE) == Latch()


def test_what_is_noted_is_what_changed() -> None:
    burning = after(Event.FIRE_ON)
    assert step(burning, Event.FIRE_ON, 100.0)[1] == ()
    assert step(burning, Event.FIRE_OFF, 100.0)[1] == ("fire_over",)
    assert step(after(Event.HOLD_OPEN), Event.TICK, 103.0)[1] == ("hold_open_over",)
    assert step(after(Event.GRANT), Event.TICK, 103.0)[1] == ()
