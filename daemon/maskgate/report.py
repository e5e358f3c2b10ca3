"""Tell others what the daemon recorded: the journal, with fields, and hooks. Decides and records nothing."""

from __future__ import annotations

import logging
import pwd
from collections import deque
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from maskgate import config
from maskgate.decide import ATTACKS
from maskgate.events import now_at
from maskgate.journal import NOTICE
from maskgate.outlet import Outlet
from maskgate.store import Event, Store
from maskgate.values import StoreError, UnknownSubject

log = logging.getLogger("maskgate")

BROKEN = frozenset({"fault", "camera_failed", "gate_fault", "not_recorded", "not_remembered", "events_lost"})
"""Kinds and reasons that say the gate itself is in trouble: errors."""
ALARMING = frozenset(
    {"attack_suspected", "forced_open", "held_open", "tamper", "fire", "clock_untrusted", "challenge_failed"}
) | frozenset(ATTACKS.values())
"""Kinds and reasons that somebody should look at: warnings."""
EVERYDAY = frozenset(
    {"granted", "started", "stopped", "camera_back", "door_opened", "door_closed", "rex", "tamper_over"}
)
"""Kinds and reasons of an ordinary day; whatever is in none of these lists is a notice."""
RECENT = 10
"""Events that are kept at hand for whoever watches."""
FIELDS = ("score", "threshold", "margin", "masked", "live")


class Report:
    """Says each event once, after it was recorded."""

    def __init__(self, store: Store, settings: config.Report) -> None:
        """Tell of events in `store` as the settings want it."""
        self._store, self._settings = store, settings
        self._recent: deque[Event] = deque(maxlen=RECENT)
        with suppress(StoreError):
            self._recent.extend(store.events(limit=RECENT))
        self._outlet = Outlet(Path(settings.hooks_socket)) if settings.hooks else None

    def tell(self, event: Event) -> None:
        """Say an event as a log line, and send it to the hooks; its id is 0 when it could not be recorded."""
        self._recent.append(event)
        event = event if self._settings.log_names else self._nameless(event)
        log.log(level_of(event), "%s", line_of(event), extra={"fields": fields_of(event)})
        if self._outlet is not None:
            self._outlet.send(json_of(event))

    def recent(self) -> list[dict[str, Any]]:
        """Return the latest events as JSON values, newest last, without their detail."""
        return [{key: value for key, value in json_of(event).items() if key != "detail"} for event in self._recent]

    def _nameless(self, event: Event) -> Event:
        """Put numbers for names: the subject's in the gallery, the administrator's in the system."""
        subject, actor = event.subject, event.actor
        if subject is not None:
            try:
                subject = f"subject-{self._store.subject(subject).id}"
            except (UnknownSubject, StoreError):
                subject = "subject-unknown"
        if actor is not None:
            with suppress(KeyError):
                actor = str(pwd.getpwnam(actor).pw_uid)
        return replace(event, subject=subject, actor=actor)


def json_of(event: Event) -> dict[str, Any]:
    """Return an event as `maskgate log --json` has it."""
    return asdict(event) | {"at": event.at or now_at()}


def level_of(event: Event) -> int:
    """Return the level of an event's line: an owner who reads warnings alone misses nothing that wants them."""
    said = event.kind if event.reason is None else event.reason
    if said in BROKEN:
        return logging.ERROR
    if said in ALARMING and event.actor is None:
        return logging.WARNING
    return logging.INFO if said in EVERYDAY else NOTICE


def line_of(event: Event) -> str:
    """Word an event: a decision always with the same keys, anything else with who did it and what went wrong."""
    if event.kind != "decision":
        by = f" by {event.actor}" if event.actor else ""
        error = f": {event.detail['error']}" if "error" in event.detail else ""
        return f"{event.kind}{by}{error}"
    numbers = " ".join(f"{name}={_short(getattr(event, name))}" for name in FIELDS)
    granted = str(bool(event.granted)).lower()
    frames = event.detail.get("frames", "-")
    return f"decision granted={granted} reason={event.reason} subject={event.subject!r} {numbers} frames={frames}"


def fields_of(event: Event) -> dict[str, str]:
    """Return an event's fields in the journal; nothing of its detail, in which an order's reason stands."""
    said: dict[str, object] = {
        "EVENT": event.kind,
        "EVENT_ID": event.id or None,
        "REASON": event.reason,
        "GRANTED": None if event.granted is None else str(event.granted).lower(),
        "SUBJECT": event.subject,
        "ACTOR": event.actor,
        **{name.upper(): None if getattr(event, name) is None else _short(getattr(event, name)) for name in FIELDS},
        **{name.upper(): event.detail.get(name) for name in ("frames", "fault", "cue")},
    }
    return {f"MASKGATE_{name}": str(value) for name, value in said.items() if value is not None}


def _short(value: float | None) -> str:
    """Write a number for the log line."""
    return "-" if value is None else f"{value:.3f}"
