"""The lock's laws against a bookkeeper of its own, on random sequences and on every sequence on a grid of times.

`make prove` runs them at full size; `test_latch.py` a share.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import inf

from maskgate.latch import Event, Latch, State, end_s, is_open, next_s, step

UNLOCK_S, HOLD_S, REX_S = 3.0, 8.0, 5.0
SECONDS = {Event.GRANT: UNLOCK_S, Event.UNLOCK: UNLOCK_S, Event.HOLD_OPEN: HOLD_S, Event.REX_PRESSED: REX_S}
OPENING = frozenset({Event.GRANT, Event.UNLOCK, Event.HOLD_OPEN})
SHUTTING = frozenset({Event.LOCKDOWN, Event.RELEASE, Event.FAULT, Event.START, Event.STOP})
EVENTS = tuple(Event)


@dataclass(frozen=True, slots=True)
class Book:
    """What may be, kept apart from the latch and as simply as can be."""

    leave_s: float = -inf
    """Up to when somebody has leave to come in."""
    exit_s: float = -inf
    pressed: bool = False
    fire: bool = False
    sealed: bool = False
    broken: bool = False
    """Whether there was a fault since the last start or release."""

    def after(self, event: Event | None, now_s: float, obeyed: bool) -> Book:
        """Enter an event; None is a crash and a new start."""
        if event in OPENING and obeyed:
            # A hold counts from its own order, everything else from whichever ends later.
            leave_s = now_s + SECONDS[event]  # type: ignore[index]
            return replace(self, leave_s=leave_s if event is Event.HOLD_OPEN else max(self.leave_s, leave_s))
        if event is Event.REX_PRESSED:
            return replace(self, pressed=True, exit_s=now_s + REX_S)
        if event is Event.REX_RELEASED:
            return replace(self, pressed=False)
        if event in (Event.FIRE_ON, Event.FIRE_OFF):
            return replace(self, fire=event is Event.FIRE_ON)
        if event in (None, Event.START, Event.STOP):
            return Book(sealed=self.sealed)
        if event in SHUTTING:
            sealed = event is Event.LOCKDOWN or (self.sealed and event is not Event.RELEASE)
            # A release ends the lockdown first; the fault under it takes another.
            broken = event is Event.FAULT or (self.broken and (self.sealed or event is not Event.RELEASE))
            return replace(self, leave_s=-inf, sealed=sealed, broken=broken)
        return self


def advance(latch: Latch, book: Book, event: Event | None, now_s: float) -> tuple[Latch, Book]:
    """Take one event (None: the process dies and starts anew) and hold the outcome against every law."""
    if event is None:
        after, notes = Latch(State.LOCKDOWN if latch.state is State.LOCKDOWN else State.LOCKED), ()
    else:
        after, notes = step(latch, event, now_s, for_s=SECONDS.get(event, 0.0))
    book = book.after(event, now_s, "withheld" not in notes)
    check(latch, after, book, event, now_s, notes)
    return after, book


def check(before: Latch, after: Latch, book: Book, event: Event | None, now_s: float, notes: tuple[str, ...]) -> None:
    """Raise AssertionError when a law is broken."""
    energised = is_open(after, now_s)
    way_out = book.fire or book.pressed or now_s < book.exit_s
    if book.fire or book.pressed or event is Event.REX_PRESSED:
        assert energised, ("a way out is shut", before, event, after)
    if energised:
        assert way_out or now_s < book.leave_s, ("open without leave", before, event, after)
        assert end_s(after) > now_s
        assert book.fire or book.pressed or end_s(after) <= max(book.leave_s, book.exit_s), ("open too long", after)
        assert next_s(after, now_s) > now_s
    if book.sealed:
        assert after.state is State.LOCKDOWN, ("a lockdown was lost", before, event, after)
        assert way_out or not energised
    else:
        assert after.state is not State.LOCKDOWN, ("a lockdown from nowhere", before, event, after)
        assert (after.state is State.FAULT) is book.broken, ("a fault from nowhere, or lost", before, event, after)
    if after.state in (State.UNLOCKED, State.HELD_OPEN) and before.state not in (State.UNLOCKED, State.HELD_OPEN):
        assert event in OPENING, ("unlocked by nobody", before, event, after)
    if event in (None, Event.START, Event.STOP):
        assert not energised, ("a start opened", before, after)
    if after.state is State.FAULT:
        assert way_out or not energised
    assert ("withheld" in notes) == (event in OPENING and before.state in (State.LOCKDOWN, State.FAULT))


def random_sequences(count: int, *, length: int = 12, seed: int = 1) -> int:
    """Try `count` random sequences of events, crashes and waits; returns `count`."""
    dice = random.Random(seed)
    events: tuple[Event | None, ...] = (*EVENTS, None)
    waits = (0.0, 0.01, 0.5, UNLOCK_S, REX_S, HOLD_S, 31_536_000.0)
    for _ in range(count):
        latch, book, now_s = Latch(), Book(), dice.random() * 1e6
        for event in dice.choices(events, k=length):
            now_s += waits[int(dice.random() * 7)]
            latch, book = advance(latch, book, event, now_s)
    return count


def every_sequence() -> int:
    """Try every sequence of any length whose events are 0, 1 or 4 s apart: every state that can be reached so, once.

    Only differences of times count, so states that differ by the time of day alone are one; returns the transitions.
    """

    def rel(time_s: float, now_s: float) -> float:
        return time_s - now_s if time_s > now_s else -inf

    def anchored(latch: Latch, book: Book, now_s: float) -> tuple[Latch, Book]:
        return (
            replace(latch, until_s=rel(latch.until_s, now_s), exit_until_s=rel(latch.exit_until_s, now_s)),
            replace(book, leave_s=rel(book.leave_s, now_s), exit_s=rel(book.exit_s, now_s)),
        )

    start = (Latch(), Book())
    seen, waiting, tried = {start}, [start], 0
    while waiting:
        latch, book = waiting.pop()
        for wait_s in (0.0, 1.0, 4.0):
            for event in (*EVENTS, None):
                tried += 1
                reached = anchored(*advance(latch, book, event, wait_s), wait_s)
                if reached not in seen:
                    seen.add(reached)
                    waiting.append(reached)
    return tried


def laws(share: float = 1.0) -> Iterable[tuple[str, Callable[[], int]]]:
    """Each law in words, and what tries it, at `share` of its full size."""
    yield (
        "the lock: no start, crash, fault or tick unlocks; no opening outlasts its time; a lockdown beats all but the "
        "ways out, which always work (random sequences)",
        lambda: random_sequences(round(1_000_000 * share)),
    )
    yield "the lock: the same on every sequence of any length, 0, 1 or 4 s apart (transitions)", every_sequence
