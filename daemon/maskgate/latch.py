"""The lock as a state machine: what each event makes of it, and whether the relay is to be energised. Reads no clock.

`step` is a fold over TABLE, which has a cell for every state and event. Times are monotonic seconds, so a wall clock
that jumps cannot reach it. Its laws, tried by `make test` on a share and by `make prove` on a million sequences:
- only a grant or an administrator's order leads to UNLOCKED or HELD_OPEN; starting, stopping and failing never do;
- a grant, an order and a press of the exit button each energise the relay no longer than the time they came with;
- in LOCKDOWN and FAULT nothing energises the relay but the exit button and the fire input, which work in every state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from math import inf
from typing import TypeAlias


class State(Enum):
    """What the lock does when nobody presses the exit button and nothing burns."""

    LOCKED = "locked"
    UNLOCKED = "unlocked"
    """For one passage."""
    HELD_OPEN = "held_open"
    """By an administrator, for a time."""
    LOCKDOWN = "lockdown"
    """By an administrator, until released; outlives a restart."""
    FAULT = "fault"
    """Something about the gate itself is broken; a restart or a release ends it."""


class Event(Enum):
    """What can happen to the lock."""

    GRANT = "grant"
    """A decision, recorded; brings the seconds to stay unlocked."""
    UNLOCK = "unlock"
    """An administrator's order, recorded; brings seconds as well, and so do HOLD_OPEN and REX_PRESSED."""
    HOLD_OPEN = "hold_open"
    LOCKDOWN = "lockdown"
    RELEASE = "release"
    REX_PRESSED = "rex_pressed"
    REX_RELEASED = "rex_released"
    FIRE_ON = "fire_on"
    FIRE_OFF = "fire_off"
    DOOR_OPENED = "door_opened"
    DOOR_CLOSED = "door_closed"
    TICK = "tick"
    """Time passed."""
    FAULT = "fault"
    START = "start"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Latch:
    """The lock at one moment. A new one is locked, whatever was before it."""

    state: State = State.LOCKED
    until_s: float = -inf
    """When UNLOCKED or HELD_OPEN ends; -inf in the other states."""
    exit_until_s: float = -inf
    """Up to when a press of the exit button keeps it open, in any state."""
    pressed: bool = False
    """Whether the exit button is being held down: it keeps the gate open while it is."""
    fire: bool = False
    """Whether the fire input is on: it keeps the gate open while it is."""
    faulty: bool = False
    """Whether a fault was seen, which the end of a lockdown must not forget."""


Outcome: TypeAlias = tuple[Latch, tuple[str, ...]]
"""The next latch, and what is to go into the log: "rex", "fire", "fire_over", "hold_open_over", "fault", "withheld"."""
Handler: TypeAlias = Callable[[Latch, float, float], Outcome]
"""Takes the latch, the time now and the seconds that the event came with."""


def step(latch: Latch, event: Event, now_s: float, *, for_s: float = 0.0) -> Outcome:
    """Return what `event` makes of `latch`; `for_s` is how long a grant, an order or a press opens."""
    latch, over = _settled(latch, now_s)
    after, noted = TABLE[event][COLUMN[latch.state]](latch, now_s, for_s)
    return after, over + noted


def is_open(latch: Latch, now_s: float) -> bool:
    """Tell whether the relay is to be energised."""
    return latch.fire or latch.pressed or now_s < latch.exit_until_s or now_s < latch.until_s


def next_s(latch: Latch, now_s: float) -> float:
    """Return when time alone will next change something; inf when nothing is pending."""
    return min((end_s for end_s in (latch.until_s, latch.exit_until_s) if end_s > now_s), default=inf)


def end_s(latch: Latch) -> float:
    """Return when the relay is to be released at the latest, as things stand; inf while a button or a fire holds it."""
    return inf if latch.fire or latch.pressed else max(latch.until_s, latch.exit_until_s)


def _settled(latch: Latch, now_s: float) -> Outcome:
    """Lock what has been open for its time."""
    if latch.state not in (State.UNLOCKED, State.HELD_OPEN) or now_s < latch.until_s:
        return latch, ()
    over = ("hold_open_over",) if latch.state is State.HELD_OPEN else ()
    return replace(latch, state=State.LOCKED, until_s=-inf), over


def _stay(latch: Latch, now_s: float, for_s: float) -> Outcome:
    """Change nothing."""
    return latch, ()


def _open(latch: Latch, now_s: float, for_s: float) -> Outcome:
    """Unlock for one passage. Times never add up: of two, the one that ends later counts."""
    return replace(latch, state=State.UNLOCKED, until_s=max(latch.until_s, now_s + for_s)), ()


def _prolong(latch: Latch, now_s: float, for_s: float) -> Outcome:
    """Hold open at least as long as one passage takes."""
    return replace(latch, until_s=max(latch.until_s, now_s + for_s)), ()


def _hold(latch: Latch, now_s: float, for_s: float) -> Outcome:
    """Hold open for so long from now, whatever was ordered before."""
    return replace(latch, state=State.HELD_OPEN, until_s=now_s + for_s), ()


def _withhold(latch: Latch, now_s: float, for_s: float) -> Outcome:
    """Do not open, and say so."""
    return latch, ("withheld",)


def _seal(latch: Latch, now_s: float, for_s: float) -> Outcome:
    """Lock down."""
    return replace(latch, state=State.LOCKDOWN, until_s=-inf), ()


def _free(latch: Latch, now_s: float, for_s: float) -> Outcome:
    """End what an administrator ordered."""
    return replace(latch, state=State.FAULT if latch.faulty else State.LOCKED, until_s=-inf), ()


def _mend(latch: Latch, now_s: float, for_s: float) -> Outcome:
    """Take an administrator's word that the fault is gone."""
    return replace(latch, state=State.LOCKED, faulty=False), ()


def _break(latch: Latch, now_s: float, for_s: float) -> Outcome:
    """Lock, and open to nobody but who wants out."""
    return replace(latch, state=State.FAULT, until_s=-inf, faulty=True), ("fault",)


def _break_sealed(latch: Latch, now_s: float, for_s: float) -> Outcome:
    """Remember the fault for when the lockdown ends."""
    return replace(latch, faulty=True), ("fault",)


def _press(latch: Latch, now_s: float, for_s: float) -> Outcome:
    """Let somebody out, whatever else holds."""
    return replace(latch, pressed=True, exit_until_s=max(latch.exit_until_s, now_s + for_s)), ("rex",)


def _let_go(latch: Latch, now_s: float, for_s: float) -> Outcome:
    return replace(latch, pressed=False), ()


def _burn(latch: Latch, now_s: float, for_s: float) -> Outcome:
    return replace(latch, fire=True), () if latch.fire else ("fire",)


def _burnt(latch: Latch, now_s: float, for_s: float) -> Outcome:
    return replace(latch, fire=False), ("fire_over",) if latch.fire else ()


def _shut(latch: Latch, now_s: float, for_s: float) -> Outcome:
    """Lock behind whoever passed; a held-open gate stays open."""
    if latch.state is State.UNLOCKED:
        latch = replace(latch, state=State.LOCKED, until_s=-inf)
    return replace(latch, exit_until_s=-inf), ()


def _anew(latch: Latch, now_s: float, for_s: float) -> Outcome:
    """Forget everything but a lockdown. A button already pressed counts when it is pressed again."""
    return Latch(State.LOCKDOWN if latch.state is State.LOCKDOWN else State.LOCKED), ()


COLUMN: dict[State, int] = {state: number for number, state in enumerate(State)}

TABLE: dict[Event, tuple[Handler, Handler, Handler, Handler, Handler]] = {
    #                    LOCKED     UNLOCKED   HELD_OPEN  LOCKDOWN       FAULT
    Event.GRANT:        (_open,     _open,     _prolong,  _withhold,     _withhold),
    Event.UNLOCK:       (_open,     _open,     _prolong,  _withhold,     _withhold),
    Event.HOLD_OPEN:    (_hold,     _hold,     _hold,     _withhold,     _withhold),
    Event.LOCKDOWN:     (_seal,     _seal,     _seal,     _stay,         _seal),
    Event.RELEASE:      (_stay,     _free,     _free,     _free,         _mend),
    Event.REX_PRESSED:  (_press,    _press,    _press,    _press,        _press),
    Event.REX_RELEASED: (_let_go,   _let_go,   _let_go,   _let_go,       _let_go),
    Event.FIRE_ON:      (_burn,     _burn,     _burn,     _burn,         _burn),
    Event.FIRE_OFF:     (_burnt,    _burnt,    _burnt,    _burnt,        _burnt),
    Event.DOOR_OPENED:  (_stay,     _stay,     _stay,     _stay,         _stay),
    Event.DOOR_CLOSED:  (_shut,     _shut,     _shut,     _shut,         _shut),
    Event.TICK:         (_stay,     _stay,     _stay,     _stay,         _stay),
    Event.FAULT:        (_break,    _break,    _break,    _break_sealed, _stay),
    Event.START:        (_anew,     _anew,     _anew,     _anew,         _anew),
    Event.STOP:         (_anew,     _anew,     _anew,     _anew,         _anew),
}  # fmt: skip
"""Every transition there is, by event and state. No cell of START, STOP, FAULT or TICK opens anything."""
