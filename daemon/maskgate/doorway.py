"""What the door contact and the tamper switch say: opened, closed, held open, forced open. Reads no clock or pin."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long what may take; the settings of the same names say it for the owner."""

    held_open_s: float
    forced_s: float
    grace_s: float
    alarm_s: float


@dataclass(frozen=True, slots=True)
class Doorway:
    """The door at one moment."""

    is_open: bool | None = None
    """None until the contact has been read: a door that is open then was not forced."""
    opened_s: float = -inf
    """Since when it stands open, or since when it may no longer: the end of an order to hold it open, say."""
    free_until_s: float = -inf
    """Up to when it may be opened: as long as the relay is energised, and `grace_s` more."""
    unforced: bool = True
    """Whether it was opened while it might be, or has been reported."""
    reported: bool = False
    """Whether standing open too long has been reported."""
    tampered: bool = False
    alarm_until_s: float = -inf


def step(
    door: Doorway, now_s: float, *, is_open: bool | None, tampered: bool, free: bool, held: bool, bounds: Bounds
) -> tuple[Doorway, tuple[str, ...]]:
    """Return the next doorway and what is to go into the log.

    `is_open` is None where no contact is wired; `free` says that the relay is energised, `held` that the door may stand
    open (somebody ordered it, or it burns). What may be noted: "door_opened", "door_closed", "held_open",
    "forced_open", "tamper", "tamper_over".
    """
    notes: list[str] = []
    if free or held:
        door = replace(door, free_until_s=now_s + bounds.grace_s)
    if is_open is not None and is_open != door.is_open:
        door = _moved(door, now_s, is_open, notes)
    if door.is_open:
        door = _watched(door, now_s, held, bounds, notes)
    if tampered != door.tampered:
        notes.append("tamper" if tampered else "tamper_over")
        door = replace(door, tampered=tampered)
    if {"forced_open", "held_open", "tamper"} & set(notes):
        door = replace(door, alarm_until_s=now_s + bounds.alarm_s)
    elif not door.tampered and not door.is_open:
        door = replace(door, alarm_until_s=-inf)
    return door, tuple(notes)


def is_alarming(door: Doorway, now_s: float) -> bool:
    """Tell whether the alarm output is to be on: since the alarm until the door is shut, `alarm_s` at most."""
    return now_s < door.alarm_until_s


def next_s(door: Doorway, now_s: float, bounds: Bounds) -> float:
    """Return when time alone will next change something; inf when nothing is pending."""
    ends = [door.alarm_until_s]
    if door.is_open and not door.reported:
        ends.append(door.opened_s + bounds.held_open_s)
    if door.is_open and not door.unforced:
        ends.append(door.opened_s + bounds.forced_s)
    return min((end_s for end_s in ends if end_s > now_s), default=inf)


def _moved(door: Doorway, now_s: float, is_open: bool, notes: list[str]) -> Doorway:
    """Note that the door was opened or closed; the first reading notes an open door alone."""
    first = door.is_open is None
    if is_open:
        notes.append("door_opened")
        unforced = first or now_s < door.free_until_s
        return replace(door, is_open=True, opened_s=now_s, unforced=unforced, reported=False)
    if not first:
        notes.append("door_closed")
    return replace(door, is_open=False, unforced=True, reported=False)


def _watched(door: Doorway, now_s: float, held: bool, bounds: Bounds, notes: list[str]) -> Doorway:
    """Note a door that was forced, or has stood open too long, once each."""
    if held:
        return replace(door, opened_s=now_s, unforced=True, reported=False)
    if not door.unforced and now_s >= door.opened_s + bounds.forced_s:
        notes.append("forced_open")
        door = replace(door, unforced=True)
    if not door.reported and now_s >= door.opened_s + bounds.held_open_s:
        notes.append("held_open")
        door = replace(door, reported=True)
    return door
