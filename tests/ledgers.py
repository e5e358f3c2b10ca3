"""Logs with everything in them that a log can hold, and every way to tamper with one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from maskgate import chain
from maskgate.chain import Head, Record
from maskgate.store import Event, Store
from worlds import person

MODEL = "a" * 64
KEY = b"k" * 32


def decision(
    subject: str | None = None, reason: str = "unknown", at: str = "2026-01-02T12:00:00.000Z", **detail: Any
) -> Event:
    """Return the gate's decision about a masked face."""
    return Event(
        kind="decision",
        at=at,
        subject=subject,
        granted=reason == "granted",
        reason=reason,
        score=0.5,
        threshold=0.4,
        margin=0.2,
        masked=0.9,
        detail=detail,
    )


def write_log(store: Store, count: int) -> None:
    """Enrol, decide, note, erase somebody named in a record: `count` events or a few more."""
    for number, name in enumerate(("Ada", "Bo", "Cy")):
        store.enrol(name, [(person(number), {})], model=MODEL, source="photo", actor="pat")
    for number in range(count - 4):
        who = ("Ada", "Bo", "Cy", None)[number % 4]
        store.record(
            Event(
                "decision",
                subject=who,
                granted=who is not None,
                reason="granted" if who else "unknown",
                score=0.5 + number / 1000,
                margin=-0.0,
                threshold=0.4,
                masked=0.0,
                live=None if number % 2 else 1 / 3,
                detail={"frames": number, "next": "Cy" if number % 3 == 0 else "nobody"},
            )
        )
    store.rename("Ada", "Ada L.", actor="pat")
    store.rename("Ada L.", "Ada", actor="pat")
    store.erase("Cy", actor="pat")


def plain_log(count: int, *, key: bytes = KEY) -> list[Record]:
    """A log in memory, as `ledger` writes it."""
    records: list[Record] = []
    link = chain.ORIGIN
    for seq in range(1, count + 1):
        fields = (
            f"at {seq}",
            "decision",
            seq % 3 or None,
            seq % 2,
            "granted",
            0.5 * seq,
            0.25,
            0.5,
            0.0,
            None,
            "pat",
            "{}",
        )
        salt = bytes([seq % 256]) * chain.SALT_BYTES
        link = chain.link_of(link, chain.digest_of(seq, fields, salt))
        records.append(Record(seq, fields, salt, link, chain.mac_of(key, seq, link)))
    return records


def is_found(records: Sequence[Record], head: Head) -> bool:
    """Tell whether anything is found wrong with the records."""
    return any(
        True
        for _ in chain.check(
            records,
            cut=Head(0, chain.ORIGIN),
            head=head,
            sign=lambda seq, link: chain.mac_of(KEY, seq, link),
            redacted={},
        )
    )


def mutations(records: Sequence[Record]) -> Iterator[tuple[int, str, Any]]:
    """Every single edit, deletion, insertion and move: (row, what, with which value)."""
    for row, record in enumerate(records):
        for column, value in enumerate(record.fields):
            yield row, f"field {column}", other(value)
        for name in ("salt", "link", "mac"):
            yield row, name, flipped(getattr(record, name))
        yield row, "id", record.id + len(records)
        yield row, "delete", None
        yield row, "copy", len(records) + 1 + row
        yield row, "swap", (row + 1) % len(records)


def mutated(records: Sequence[Record], mutation: tuple[int, str, Any]) -> list[Record]:
    """Carry a mutation out; the records are then in the order in which SQLite would give them."""
    row, what, value = mutation
    found = list(records)
    if row >= len(found):
        return found
    record = found[row]
    if what == "delete":
        del found[row]
    elif what == "copy":
        found.append(replace(record, id=value))
    elif what == "swap":
        if value < len(found):
            found[row] = replace(found[value], id=record.id)
            found[value] = replace(record, id=found[value].id)
    elif what.startswith("field"):
        column = int(what.split()[1])
        found[row] = replace(record, fields=(*record.fields[:column], value, *record.fields[column + 1 :]))
    else:
        found[row] = replace(record, **{what: value})
    return sorted(found, key=lambda one: one.id)


def other(value: Any) -> Any:
    """A value of the same kind that is another, as small a difference as there is."""
    if value is None:
        return 1
    if isinstance(value, int):
        return value ^ 1
    if isinstance(value, float):
        return value + 2**-40
    if isinstance(value, bytes):
        return flipped(value)
    return value + " " if value else "x"


def flipped(value: bytes) -> bytes:
    """The same bytes but for one bit."""
    return value[:-1] + bytes([value[-1] ^ 1])


def tampering(path: Path) -> Iterator[str]:
    """SQL for every single edit of what the log is made of in a real gallery, and every deletion of a row."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    for table, key in (
        ("events", "id"),
        ("kept", "name"),
        ("redactions", "event_id"),
        ("subjects", "id"),
        ("former_names", "id"),
    ):
        columns = [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")]
        for row in db.execute(f"SELECT * FROM {table}").fetchall():
            at = f"{key} = {literal(row[columns.index(key)])}"
            for name, value in zip(columns, row, strict=True):
                if (table, name) == ("kept", "name"):
                    yield f"UPDATE kept SET name = 'other' WHERE {at}"
                elif name not in ("id", "event_id", "subject_id") or table == "events":
                    changed = 10_000 + value if name == "id" else other(value)
                    if name in ("at", "kind", "reason", "actor", "detail", "revoked_at", "erased_at") and value is None:
                        changed = "x"
                    yield f"UPDATE {table} SET {name} = {literal(changed)} WHERE {at}"
            yield f"DELETE FROM {table} WHERE {at}"
    db.close()


def literal(value: Any) -> str:
    """A value as SQL."""
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    return (
        "NULL"
        if value is None
        else f"'{value.replace(chr(39), chr(39) * 2)}'"
        if isinstance(value, str)
        else repr(value)
    )
