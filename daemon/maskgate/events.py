"""The log's rows: events written, found and followed. Works on an open database; opens and commits nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from maskgate import ledger
from maskgate.chain import number
from maskgate.schema import Database
from maskgate.seal import Master
from maskgate.values import StoreError

_BATCH = 1000
_SELECT = """SELECT e.id, at, kind, name AS subject, granted, reason, score, margin, threshold, masked, live, actor,
    detail FROM events AS e LEFT JOIN subjects ON subjects.id = subject_id"""

Ask: TypeAlias = Callable[[str, Sequence[Any]], list[dict[str, Any]]]
"""Runs a query to its end and returns the rows."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log."""

    kind: str
    """"decision", "enrolled", "revoked", "reinstated", "renamed", "erased", "started", "stopped", "fault", ..."""
    at: str = ""
    """UTC, ISO 8601 with milliseconds and Z; left empty, `Store.record` stamps it."""
    subject: str | None = None
    """The subject's present name, or pseudonym; None for a stranger."""
    granted: bool | None = None
    """None for what is not a decision."""
    reason: str | None = None
    score: float | None = None
    margin: float | None = None
    threshold: float | None = None
    masked: float | None = None
    live: float | None = None
    actor: str | None = None
    """The UNIX user who did it; None for the daemon itself."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """Anything JSON, but no names: those belong in `subject`, where erasing finds them."""
    id: int = 0
    """Position in the log, from 1, never given twice; 0 until recorded."""


@dataclass(frozen=True, slots=True)
class Question:
    """Which events are asked for; what is None is not asked."""

    since: datetime | None = None
    """Included."""
    until: datetime | None = None
    """Not included."""
    subject_id: int | None = None
    denied: bool = False
    reason: str | None = None
    masked: bool = False
    hours: tuple[str, str] | None = None
    """From and until, "22:00" and "06:00", by local time and over midnight; the end is not included."""

    def conditions(self) -> tuple[list[str], list[Any]]:
        """SQL for everything but `since`, and its values.

        Only the most selective condition may choose the index (the plus keeps the others from it): without statistics
        SQLite takes a reason shared by 800,000 events for as good as a person with 20. The others are then read from
        the same index.
        """
        equal = [("subject_id = ?", self.subject_id), ("reason = ?", self.reason)]
        where = [(condition, [value]) for condition, value in equal if value is not None]
        if self.denied:
            where.append(("granted = 0", []))  # no bound value: it would not match the partial index's condition
        if self.masked:
            where.append(("masked >= 0.5", []))
        if self.hours is not None:
            both = "AND" if self.hours[0] < self.hours[1] else "OR"
            clock = "strftime('%H:%M', at, 'localtime')"
            where.append((f"({clock} >= ? {both} {clock} < ?)", list(self.hours)))
        where[1:] = [(f"+{condition}", values) for condition, values in where[1:]]
        if self.denied and self.reason == "granted":
            where.append(("0", []))  # nothing is both, and looking for it would go through every grant there is
        if self.until is not None:
            where.append(("at < ?", [stamp(self.until)]))
        return [condition for condition, _ in where], [value for _, values in where for value in values]

    def start(self) -> tuple[str, int]:
        """Just before the first event that can be meant, by time and id."""
        return (stamp(self.since) if self.since else "", 0)


def now_at() -> str:
    """Wall-clock UTC as the log writes it."""
    return stamp(datetime.now(UTC))


def stamp(moment: datetime) -> str:
    """An aware moment as the log writes it; text order is time order. ValueError for a naive one."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment}: no time zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def short(digest: str) -> str:
    """A network's sha256 as the log names it."""
    return digest[:16]


def as_json(detail: Mapping[str, Any]) -> str:
    """Detail as stored: UTF-8 as it is, so that a name in it can be searched for."""
    return json.dumps(dict(detail), ensure_ascii=False, sort_keys=True, allow_nan=False)


def write(db: Database, master: Master, event: Event, subject_id: int | None) -> int:
    """Add an event to the open transaction, and to the chain; returns its id."""
    numbers = (event.score, event.margin, event.threshold, event.masked, event.live)
    fields = (
        *(event.at or now_at(), event.kind, subject_id, None if event.granted is None else int(event.granted)),
        *(event.reason, *map(number, numbers), event.actor, as_json(event.detail)),
    )
    return ledger.append(db, master, fields)


def follow(ask: Ask, question: Question, *, after_id: int, limit: int | None) -> Iterator[Event]:
    """Later events in the order of recording, at most the first `limit`.

    In batches, each its own short read: a reader that pauses must not keep the -wal from being emptied.
    """
    where, values = question.conditions()
    # plus: what came later is little, so it is read whole; an index would offer all that ever was of a person
    clause = " AND ".join(["e.id > ?", "+at >= ?", *(f"+{condition}" for condition in where)])
    sql = f"{_SELECT} WHERE {clause} ORDER BY e.id LIMIT ?"
    left = limit
    while left is None or left > 0:
        size = _BATCH if left is None else min(left, _BATCH)
        batch = ask(sql, (after_id, question.start()[0], *values, size))
        yield from map(_event, batch)
        if len(batch) < size:
            return
        after_id = batch[-1]["id"]
        left = None if left is None else left - size


def browse(ask: Ask, question: Question, *, limit: int | None) -> Iterator[Event]:
    """Events by the wall clock, newest last, at most the newest `limit`; in batches like `follow`."""
    if limit is not None and limit < 1:
        return
    where, values = question.conditions()
    clause = " AND ".join(["(at, e.id) > (?, ?)", *where])
    last = question.start()
    if limit is not None:
        sql = f"SELECT at, id FROM events AS e WHERE {clause} ORDER BY at DESC, id DESC LIMIT 1 OFFSET ?"
        oldest = ask(sql, (*last, *values, limit - 1))
        last = (oldest[0]["at"], oldest[0]["id"] - 1) if oldest else last
    while batch := ask(f"{_SELECT} WHERE {clause} ORDER BY at, e.id LIMIT {_BATCH}", (*last, *values)):
        yield from map(_event, batch)
        last = (batch[-1]["at"], batch[-1]["id"])


def one(ask: Ask, event_id: int) -> Event | None:
    """The event of that id; None when there is none."""
    found = ask(f"{_SELECT} WHERE e.id = ?", (event_id,))
    return _event(found[0]) if found else None


def started_before(ask: Ask, event_id: int) -> Event | None:
    """The start of the daemon that recorded an event; None when the log no longer has it."""
    found = ask(f"{_SELECT} WHERE kind = 'started' AND e.id <= ? ORDER BY e.id DESC LIMIT 1", (event_id,))
    return _event(found[0]) if found else None


def _event(row: dict[str, Any]) -> Event:
    granted = None if row["granted"] is None else bool(row["granted"])
    try:
        return Event(**row | {"granted": granted, "detail": json.loads(row["detail"])})
    except ValueError:
        raise StoreError(f"event {row['id']} has a detail that is no JSON; see `maskgate log verify`") from None
