"""The gallery and the log in one SQLite file: who is enrolled, what was decided. Judges nothing, drives nothing.

Every change is one transaction together with the event that tells of it, and is durable (fsync) when the call returns.
A Store belongs to the thread that opened it; other threads and processes open their own.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from sqlite_utils import Database

from maskgate.schema import explained, open_database, pragma, transaction
from maskgate.values import BadName, Embedding, Template, UnknownSubject

LONGEST_NAME = 100
"""Characters, after normalising."""
PSEUDONYM = "erased-"
"""What the name of an erased subject becomes, with the subject's number: nobody can be enrolled under such a name."""
_BATCH = 1000
_SHOWN = 24
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True)
class Subject:
    """An enrolled person."""

    id: int
    name: str
    created_at: str
    revoked_at: str | None
    """None while the subject may be admitted."""
    templates: int
    models: tuple[str, ...]
    """sha256 of each model that made one of the templates."""
    last_granted_at: str | None


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


def open_store(path: str | Path, *, create: bool = False, readonly: bool = False) -> Store:
    """Open a gallery, to be closed by `with`. StoreError when there is none, or it cannot be used.

    `create` makes a missing one, owned like its folder. `readonly` never writes to the file, and refuses an older
    schema instead of migrating it.
    """
    place = Path(path)
    return Store(open_database(place, create=create, readonly=readonly), place)


def now_at() -> str:
    """Wall-clock UTC as the log writes it."""
    return stamp(datetime.now(UTC))


def stamp(moment: datetime) -> str:
    """An aware moment as the log writes it; text order is time order. ValueError for a naive one."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment}: no time zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def plain_name(name: str) -> str:
    """The name as stored: NFC, no blanks around it. BadName when it is empty, too long or cannot be shown on a line."""
    plain = unicodedata.normalize("NFC", name).strip()
    shown = ascii(plain[:_SHOWN]) + ("..." if len(plain) > _SHOWN else "")
    if any(map(_is_unprintable, plain)):
        raise BadName(f"name {shown}: has control characters or line breaks, leave them out")
    if not any(unicodedata.category(char)[0] in "LNPSC" and char not in "\u200b\u200c\u200d\u2060" for char in plain):
        raise BadName(f"name {shown}: is empty, give one")
    if len(plain) > LONGEST_NAME:
        raise BadName(f"name {shown}: has {len(plain)} characters, at most {LONGEST_NAME} are allowed")
    if plain.startswith(PSEUDONYM):
        raise BadName(f"name {shown}: {PSEUDONYM}... is kept for erased subjects, choose another")
    return plain


def _is_unprintable(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in _BIDI


class Store:
    """An open gallery."""

    def __init__(self, db: Database, path: Path) -> None:
        self.path = path
        self._db = db

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    # -- the gallery ---------------------------------------------------------------------------------------------

    def version(self) -> int:
        """A number that changes when another connection changes the file: when it does, load the templates again."""
        with explained(self.path):
            return pragma(self._db, "data_version")

    def templates(self, model: str) -> list[Template]:
        """The templates that `model` (sha256) made, of everyone not revoked, oldest first."""
        found = self._rows(
            "SELECT name, embedding FROM templates JOIN subjects ON subjects.id = subject_id"
            " WHERE model = ? AND revoked_at IS NULL ORDER BY templates.id",
            (model,),
        )
        if not found:
            return []
        joined = np.frombuffer(b"".join(row["embedding"] for row in found), np.dtype("<f4"))
        matrix = joined.reshape(len(found), -1).astype(np.float32, copy=False)
        return [Template(row["name"], embedding, model) for row, embedding in zip(found, matrix, strict=True)]

    def subjects(self) -> list[Subject]:
        """Everyone enrolled, revoked or not, by name; the erased are gone."""
        return [_subject(row) for row in self._rows(f"{_SUBJECTS} WHERE erased_at IS NULL GROUP BY s.id ORDER BY name")]

    def subject(self, name: str) -> Subject:
        """One of `subjects`; UnknownSubject when nobody has that name."""
        found = self._rows(f"{_SUBJECTS} WHERE erased_at IS NULL AND name = ? GROUP BY s.id", (_folded(name),))
        if not found:
            raise _unknown(name)
        return _subject(found[0])

    def enrol(
        self,
        name: str,
        embeddings: Sequence[tuple[Embedding, Mapping[str, Any]]],
        *,
        model: str,
        source: str,
        actor: str,
    ) -> None:
        """Add templates, each with what was measured about its picture, to a new or known subject: all of them or none.

        BadName for a name that cannot be used or belongs to a revoked subject; ValueError unless every embedding is
        a unit vector as long as `model`'s others.
        """
        plain = plain_name(name)
        at = now_at()
        with self._change():
            blobs = self._blobs([embedding for embedding, _ in embeddings], model)
            subject_id = self._admit(plain, at)
            for blob, (_, detail) in zip(blobs, embeddings, strict=True):
                self._db.execute(
                    "INSERT INTO templates (subject_id, model, created_at, source, detail, embedding)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (subject_id, model, at, source, _json(detail), blob),
                )
            self._log("enrolled", subject_id, actor, {"templates": len(blobs), "model": model})

    def revoke(self, name: str, *, actor: str) -> None:
        """Keep the templates but match none of them from now on; nothing changes for who is revoked already."""
        with self._change():
            subject_id = self._id_of(name)
            changed = self._db.execute(
                "UPDATE subjects SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (now_at(), subject_id)
            )
            if changed.rowcount:
                self._log("revoked", subject_id, actor)

    def reinstate(self, name: str, *, actor: str) -> None:
        """Undo `revoke`."""
        with self._change():
            subject_id = self._id_of(name)
            changed = self._db.execute(
                "UPDATE subjects SET revoked_at = NULL WHERE id = ? AND revoked_at IS NOT NULL", (subject_id,)
            )
            if changed.rowcount:
                self._log("reinstated", subject_id, actor)

    def rename(self, name: str, to: str, *, actor: str) -> None:
        """Give a subject another name, in the log's past too; BadName when it is taken."""
        plain = plain_name(to)
        with self._change():
            subject_id = self._id_of(name)
            if self._find(plain) not in (None, subject_id):
                raise BadName(f"name {plain!r}: is taken, choose another")
            self._db.execute("UPDATE subjects SET name = ? WHERE id = ?", (plain, subject_id))
            self._log("renamed", subject_id, actor)

    # -- the log -------------------------------------------------------------------------------------------------

    def record(self, event: Event) -> int:
        """Write an event, and return its id once it is on the disk: before that, nothing may act on it.

        UnknownSubject when `event.subject` is not enrolled, or when it grants to someone revoked meanwhile: the gate
        must then stay locked, whatever the policy says about a log that fails.
        """
        with self._change():
            subject_id = None if event.subject is None else self._id_of(event.subject, grants=event.granted is True)
            return self._insert(event, subject_id)

    def events(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        person: str | None = None,
        denied: bool = False,
        reason: str | None = None,
        limit: int | None = None,
        after_id: int | None = None,
    ) -> Iterator[Event]:
        """Events of a time (`since` included, `until` not), newest last; `limit` keeps the newest.

        With `after_id`, as a follower asks: in the order of recording, only later ones, and `limit` keeps the oldest.
        `person` may be the pseudonym of an erased subject; UnknownSubject when there never was one of that name.
        The order is the wall clock's, so after the clock was set back it is not the order of recording.
        """
        where, values = self._conditions(since, until, person, denied, reason)
        if after_id is not None:
            return self._follow(where, values, after_id, limit)
        return self._browse(where, values, limit)

    # -- inside --------------------------------------------------------------------------------------------------

    @contextmanager
    def _change(self) -> Iterator[None]:
        with transaction(self._db, self.path):
            yield

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        with explained(self.path):
            return list(self._db.query(sql, values))

    def _find(self, name: str) -> int | None:
        found = self._rows("SELECT id FROM subjects WHERE name = ?", (_folded(name),))
        return int(found[0]["id"]) if found else None

    def _id_of(self, name: str, *, grants: bool = False) -> int:
        found = self._rows("SELECT id, revoked_at FROM subjects WHERE name = ? AND erased_at IS NULL", (_folded(name),))
        if not found:
            raise _unknown(name)
        if grants and found[0]["revoked_at"]:
            raise UnknownSubject(f"{name}: was revoked at {found[0]['revoked_at']}")
        return int(found[0]["id"])

    def _admit(self, plain: str, at: str) -> int:
        found = self._rows("SELECT id, revoked_at FROM subjects WHERE name = ?", (plain,))
        if found and found[0]["revoked_at"]:
            raise BadName(f"name {plain!r}: was revoked at {found[0]['revoked_at']}, reinstate or erase that subject")
        if found:
            return int(found[0]["id"])
        added = self._db.execute("INSERT INTO subjects (name, created_at) VALUES (?, ?)", (plain, at))
        return int(added.lastrowid or 0)

    def _blobs(self, embeddings: Sequence[Embedding], model: str) -> list[bytes]:
        known = self._rows("SELECT length(embedding) AS size FROM templates WHERE model = ? LIMIT 1", (model,))
        sizes = {embedding.size * 4 for embedding in embeddings} | {row["size"] for row in known}
        if not embeddings or len(sizes) != 1:
            raise ValueError(f"templates of one model must have one length, got {sorted(sizes)} bytes")
        for embedding in embeddings:
            if embedding.ndim != 1 or not abs(float(np.linalg.norm(embedding)) - 1) < 1e-3:
                raise ValueError(f"not a unit vector: shape {embedding.shape}, length {np.linalg.norm(embedding):g}")
        return [embedding.astype("<f4").tobytes() for embedding in embeddings]

    def _log(self, kind: str, subject_id: int, actor: str, detail: Mapping[str, Any] | None = None) -> None:
        self._insert(Event(kind, actor=actor, detail=detail or {}), subject_id)

    def _insert(self, event: Event, subject_id: int | None) -> int:
        added = self._db.execute(
            "INSERT INTO events (at, kind, subject_id, granted, reason, score, margin, threshold, masked, live, actor,"
            " detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(event.at or now_at(), event.kind, subject_id, event.granted, event.reason),
                *(event.score, event.margin, event.threshold, event.masked, event.live, event.actor),
                _json(event.detail),
            ),
        )
        return int(added.lastrowid or 0)

    def _conditions(
        self, since: datetime | None, until: datetime | None, person: str | None, denied: bool, reason: str | None
    ) -> tuple[list[str], list[Any]]:
        asked: list[tuple[str, Any]] = []
        if since is not None:
            asked.append(("at >= ?", stamp(since)))
        if until is not None:
            asked.append(("at < ?", stamp(until)))
        if person is not None:
            subject_id = self._find(person)
            if subject_id is None:
                raise _unknown(person)
            asked.append(("subject_id = ?", subject_id))
        if reason is not None:
            asked.append(("reason = ?", reason))
        where = [condition for condition, _ in asked] + (["granted = 0"] if denied else [])
        return where, [value for _, value in asked]

    def _follow(self, where: list[str], values: list[Any], after_id: int, limit: int | None) -> Iterator[Event]:
        """Batches, each its own short read: a reader that pauses must not keep the -wal from being emptied."""
        left = limit
        while left is None or left > 0:
            size = _BATCH if left is None else min(left, _BATCH)
            sql = f"{_EVENTS} WHERE {' AND '.join(['e.id > ?', *where])} ORDER BY e.id LIMIT {size}"
            batch = self._rows(sql, (after_id, *values))
            yield from map(_event, batch)
            if len(batch) < size:
                return
            after_id = batch[-1]["id"]
            left = None if left is None else left - size

    def _browse(self, where: list[str], values: list[Any], limit: int | None) -> Iterator[Event]:
        """From the oldest wanted event on, in batches."""
        if limit is not None and limit < 1:
            return
        last = ("", 0) if limit is None else self._oldest(where, values, limit)
        conditions = " AND ".join(["(e.at, e.id) > (?, ?)", *where])
        sql = f"{_EVENTS} WHERE {conditions} ORDER BY e.at, e.id LIMIT {_BATCH}"
        while batch := self._rows(sql, (*last, *values)):
            yield from map(_event, batch)
            last = (batch[-1]["at"], batch[-1]["id"])

    def _oldest(self, where: list[str], values: list[Any], limit: int) -> tuple[str, int]:
        """Just before the oldest of the newest `limit` events."""
        conditions = f" WHERE {' AND '.join(where)}" if where else ""
        sql = f"SELECT at, id FROM events{conditions} ORDER BY at DESC, id DESC LIMIT 1 OFFSET ?"
        found = self._rows(sql, (*values, limit - 1))
        return (found[0]["at"], found[0]["id"] - 1) if found else ("", 0)


_SUBJECTS = """SELECT s.id, name, s.created_at, revoked_at, count(t.id) AS templates,
    group_concat(DISTINCT model) AS models,
    (SELECT at FROM events WHERE subject_id = s.id AND granted = 1 ORDER BY at DESC LIMIT 1) AS last_granted_at
    FROM subjects AS s LEFT JOIN templates AS t ON t.subject_id = s.id"""
_EVENTS = """SELECT e.id, at, kind, name AS subject, granted, reason, score, margin, threshold, masked, live, actor,
    detail
    FROM events AS e LEFT JOIN subjects ON subjects.id = subject_id"""


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip()


def _unknown(name: str) -> UnknownSubject:
    return UnknownSubject(f"{name[:_SHOWN]!a}: nobody of that name is enrolled, `maskgate people` lists everyone")


def _json(detail: Mapping[str, Any]) -> str:
    return json.dumps(dict(detail), ensure_ascii=False, sort_keys=True, allow_nan=False)


def _subject(row: dict[str, Any]) -> Subject:
    return Subject(**row | {"models": tuple(sorted(filter(None, (row["models"] or "").split(","))))})


def _event(row: dict[str, Any]) -> Event:
    granted = None if row["granted"] is None else bool(row["granted"])
    return Event(**row | {"granted": granted, "detail": json.loads(row["detail"])})
