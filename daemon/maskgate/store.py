"""The gallery and the log in one SQLite file: who is enrolled, what was decided. Judges nothing, drives nothing.

Every change is one transaction together with the event that tells of it, and is durable (fsync) when the call returns.
A Store belongs to the thread that opened it; other threads and processes open their own.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from sqlite_utils import Database

from maskgate import erasure, events
from maskgate.events import Event, Question
from maskgate.schema import explained, open_database, pragma, transaction
from maskgate.values import BadName, Embedding, Template, UnknownSubject, cover_of

__all__ = ["Event", "Store", "Subject", "open_store", "plain_name"]

LONGEST_NAME = 100
"""Characters, after normalising."""
PSEUDONYM = "erased-"
"""What the name of an erased subject becomes, with the subject's number: nobody can be enrolled under such a name."""
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
    formerly: tuple[str, ...]
    """Earlier names, oldest first."""


def open_store(path: str | Path, *, create: bool = False, readonly: bool = False) -> Store:
    """Open a gallery, to be closed by `with`. StoreError when there is none, or it cannot be used.

    `create` makes a missing one, owned like its folder. `readonly` never writes to the file, and refuses an older
    schema instead of migrating it.
    """
    place = Path(path)
    return Store(open_database(place, create=create, readonly=readonly), place)


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
            "SELECT name, embedding, detail ->> 'masked' AS masked FROM templates"
            " JOIN subjects ON subjects.id = subject_id WHERE model = ? AND revoked_at IS NULL ORDER BY templates.id",
            (model,),
        )
        if not found:
            return []
        joined = np.frombuffer(b"".join(row["embedding"] for row in found), np.dtype("<f4"))
        matrix = joined.reshape(len(found), -1).astype(np.float32, copy=False)
        return [
            Template(row["name"], embedding, model, cover_of(row["masked"] or 0.0))
            for row, embedding in zip(found, matrix, strict=True)
        ]

    def subjects(self) -> list[Subject]:
        """Everyone enrolled, revoked or not, by name; the erased are gone."""
        return [_subject(row) for row in self._rows(f"{_SUBJECTS} WHERE erased_at IS NULL GROUP BY s.id ORDER BY name")]

    def subject(self, name: str) -> Subject:
        """One of `subjects`; UnknownSubject when nobody has that name."""
        found = self._rows(f"{_SUBJECTS} WHERE erased_at IS NULL AND name = ? GROUP BY s.id", (_folded(name),))
        if not found:
            raise _unknown(name)
        return _subject(found[0])

    def details(self, name: str, model: str) -> list[dict[str, Any]]:
        """What was noted about each template that `model` made of a subject, oldest first; none for nobody."""
        found = self._rows(
            "SELECT detail FROM templates JOIN subjects ON subjects.id = subject_id"
            " WHERE name = ? AND model = ? ORDER BY templates.id",
            (_folded(name), model),
        )
        return [json.loads(row["detail"]) for row in found]

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
        at = events.now_at()
        with self._change():
            blobs = self._blobs([embedding for embedding, _ in embeddings], model)
            subject_id = self._admit(plain, at)
            for blob, (_, detail) in zip(blobs, embeddings, strict=True):
                self._db.execute(
                    "INSERT INTO templates (subject_id, model, created_at, source, detail, embedding)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (subject_id, model, at, source, events.as_json(detail), blob),
                )
            self._log("enrolled", subject_id, actor, {"templates": len(blobs), "model": model})

    def revoke(self, name: str, *, actor: str) -> None:
        """Keep the templates but match none of them from now on; nothing changes for who is revoked already."""
        with self._change():
            subject_id = self._id_of(name)
            changed = self._db.execute(
                "UPDATE subjects SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (events.now_at(), subject_id)
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
            self._db.execute(
                "INSERT INTO former_names (subject_id, name, until_at) SELECT id, name, ? FROM subjects WHERE id = ?",
                (events.now_at(), subject_id),
            )
            self._db.execute("UPDATE subjects SET name = ? WHERE id = ?", (plain, subject_id))
            self._log("renamed", subject_id, actor)

    def erase(self, name: str, *, actor: str) -> str:
        """Remove the templates and every name of a subject, prove that no byte of them is left; returns the pseudonym.

        The log keeps its events under the pseudonym. Proven means: SQLite overwrites what it deletes, the -wal is
        emptied, and all the gallery's files are then searched for the embeddings and the names (a name of under four
        bytes cannot be searched for; the file is rebuilt from what lives instead). Erasing a pseudonym proves again.
        The file may be rebuilt, which keeps other writers waiting: seconds for a long log. StoreError when something
        is left, or when a reader that will not end keeps the -wal from being emptied.
        """
        with self._change():
            subject_id = self._find(name)
            if subject_id is None:
                raise _unknown(name)
            pseudonym = f"{PSEUDONYM}{subject_id}"
            secrets = erasure.secrets_of(self._rows, subject_id, pseudonym)
            if secrets.names:
                erasure.forget(self._db, self._rows, subject_id, secrets)
                self._log("erased", subject_id, actor)
        erasure.prove_gone(self._db, self._rows, self.path, secrets)
        return pseudonym

    # -- the log -------------------------------------------------------------------------------------------------

    def record(self, event: Event) -> int:
        """Write an event, and return its id once it is on the disk: before that, nothing may act on it.

        UnknownSubject when it grants to someone who was revoked or erased meanwhile: the gate must then stay locked,
        whatever the policy says about a log that fails. A refusal of someone erased meanwhile is kept without the name.
        """
        with self._change():
            return events.write(self._db, event, self._named_by(event))

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
        subject_id = None if person is None else self._find(person)
        if person is not None and subject_id is None:
            raise _unknown(person)
        question = Question(since, until, subject_id, denied, reason)
        if after_id is not None:
            return events.follow(self._rows, question, after_id=after_id, limit=limit)
        return events.browse(self._rows, question, limit=limit)

    def last_id(self) -> int:
        """Id of the event recorded last, 0 in an empty log: where a follower starts."""
        return int(self._rows("SELECT coalesce(max(id), 0) AS id FROM events")[0]["id"])

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

    def _id_of(self, name: str) -> int:
        subject_id = self._find(name)
        if subject_id is None or name.startswith(PSEUDONYM):
            raise _unknown(name)
        return subject_id

    def _named_by(self, event: Event) -> int | None:
        if event.subject is None:
            return None
        if not event.granted:
            return self._find(event.subject)
        subject_id = self._id_of(event.subject)
        if self._rows("SELECT 1 FROM subjects WHERE id = ? AND revoked_at IS NOT NULL", (subject_id,)):
            raise UnknownSubject(f"{event.subject}: was revoked meanwhile, the gate stays locked")
        return subject_id

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
        events.write(self._db, Event(kind, actor=actor, detail=detail or {}), subject_id)


_SUBJECTS = """SELECT s.id, name, s.created_at, revoked_at, count(t.id) AS templates,
    group_concat(DISTINCT model) AS models,
    (SELECT at FROM events WHERE subject_id = s.id AND granted = 1 ORDER BY at DESC LIMIT 1) AS last_granted_at,
    (SELECT json_group_array(name) FROM former_names WHERE subject_id = s.id) AS formerly
    FROM subjects AS s LEFT JOIN templates AS t ON t.subject_id = s.id"""


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip()


def _unknown(name: str) -> UnknownSubject:
    return UnknownSubject(f"{name[:_SHOWN]!a}: nobody of that name is enrolled, `maskgate people` lists everyone")


def _subject(row: dict[str, Any]) -> Subject:
    models = tuple(sorted(filter(None, (row["models"] or "").split(","))))
    return Subject(**row | {"models": models, "formerly": tuple(json.loads(row["formerly"]))})
