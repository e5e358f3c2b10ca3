"""The gallery and the log in one SQLite file: who is enrolled, what was decided. Judges nothing, drives nothing.

Every change is one transaction together with the event that tells of it, and is durable (fsync) when the call returns.
Templates are sealed and the log is a chain (`vault`, `ledger`), under a key that lies elsewhere (`keys`).
A Store belongs to the thread that opened it; other threads and processes open their own.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from maskgate import erasure, events, ledger, upkeep, vault
from maskgate.chain import Anchor, Finding
from maskgate.events import Event, Question
from maskgate.keys import Keys
from maskgate.schema import (
    Database,
    copy_database,
    explained,
    open_database,
    pragma,
    replace_tables,
    snapshot,
    transaction,
)
from maskgate.seal import Master
from maskgate.values import BadName, Embedding, StoreError, Template, UnknownSubject, cover_of

if TYPE_CHECKING:
    # At run time only where something is counted: a plain `maskgate log` has no time for it.
    from maskgate.tally import Asked, Held, Lead, Lives, Tally

__all__ = ["Anchor", "Event", "Finding", "Store", "Subject", "adopt_gallery", "open_store", "plain_name"]

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


def open_store(
    path: str | Path,
    *,
    key: str | Path | None = None,
    keys: Keys | None = None,
    create: bool = False,
    readonly: bool = False,
) -> Store:
    """Open a gallery, to be closed by `with`. StoreError when there is none, or it cannot be used.

    `key` is the key file, made with the first gallery; without one named it is `gate.key` beside the gallery, which
    suits tests alone; `keys` are keys without a file. `create` makes a missing gallery, owned like its folder.
    `readonly` never writes to the file, and refuses an older schema instead of migrating it. A gallery that was never
    sealed is, when no key was there so far.
    """
    place = Path(path)
    held = keys or Keys(Path(key) if key else place.with_name("gate.key"))
    return _opened(place, held, create=create, readonly=readonly, adopt=False)


def adopt_gallery(path: Path, key: Path) -> None:
    """Seal a gallery that never was, though there is a key: only the administrator knows that it is no forgery."""
    _opened(path, Keys(key), create=False, readonly=False, adopt=True).close()


def _opened(path: Path, keys: Keys, *, create: bool, readonly: bool, adopt: bool) -> Store:
    plain: list[bytes] = []

    def founding(db: Database) -> None:
        plain.extend(upkeep.found(db, path, keys, adopt=adopt))

    store = Store(open_database(path, create=create, readonly=readonly, founding=founding), path, keys)
    try:
        if not readonly:
            keys.settle()
            with suppress(StoreError):  # a reader may stand in the way; the gate does not wait, the next opening tries
                upkeep.sweep(store._db, store._rows, path, keys, plain)
    except BaseException:
        store.close()
        raise
    return store


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

    def __init__(self, db: Database, path: Path, keys: Keys) -> None:
        self.path = path
        self._db = db
        self._keys = keys

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
        """The templates that `model` (sha256) made, of everyone not revoked, oldest first.

        StoreError when one, or the row of whom it belongs to, was altered by somebody without the key.
        """
        try:
            return self._templates(model)
        except StoreError:
            return self._templates(model)  # the key may have been changed between reading the rows and the key file

    def subjects(self) -> list[Subject]:
        """Everyone enrolled, revoked or not, by name; the erased are gone."""
        return [_subject(row) for row in self._rows(f"{_SUBJECTS} WHERE erased_at IS NULL GROUP BY s.id ORDER BY name")]

    def subject(self, name: str) -> Subject:
        """One of `subjects`; UnknownSubject when nobody has that name."""
        found = self._rows(f"{_SUBJECTS} WHERE erased_at IS NULL AND name = ? GROUP BY s.id", (_folded(name),))
        if not found:
            raise self._unknown(name)
        return _subject(found[0])

    def details(self, name: str, model: str) -> list[dict[str, Any]]:
        """What was noted about each template that `model` made of a subject, oldest first; none for nobody."""
        found = self._rows(
            "SELECT detail FROM templates JOIN subjects ON subjects.id = subject_id"
            " WHERE name = ? AND model = ? ORDER BY templates.id",
            (_folded(name), model),
        )
        return [json.loads(row["detail"]) for row in found]

    def qualities(self, model: str) -> list[dict[str, Any]]:
        """What was measured of the picture of each of `templates`, in their order; empty where nothing was."""
        found = self._rows(
            "SELECT t.detail FROM templates AS t JOIN subjects AS s ON s.id = subject_id"
            " WHERE model = ? AND revoked_at IS NULL ORDER BY t.id",
            (model,),
        )
        return [json.loads(row["detail"]).get("quality") or {} for row in found]

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
        with self._change() as master:
            blobs = self._blobs([embedding for embedding, _ in embeddings], model)
            subject_id = self._admit(master, plain, at)
            first = self._rows("SELECT coalesce(max(id), 0) + 1 AS id FROM templates")[0]["id"]
            for template_id, (blob, (_, detail)) in enumerate(zip(blobs, embeddings, strict=True), first):
                row = (template_id, subject_id, model, at, source, events.as_json(detail))
                self._db.execute(
                    f"INSERT INTO templates ({vault.TEMPLATE}, embedding) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (*row, vault.seal_template(master, blob, row)),
                )
            self._log(master, "enrolled", subject_id, actor, {"templates": len(blobs), "model": model})

    def revoke(self, name: str, *, actor: str) -> None:
        """Keep the templates but match none of them from now on; nothing changes for who is revoked already."""
        with self._change() as master:
            subject_id = self._id_of(name)
            changed = self._db.execute(
                "UPDATE subjects SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (events.now_at(), subject_id)
            )
            if changed.rowcount:
                vault.sign_subject(self._db, master, subject_id)
                self._log(master, "revoked", subject_id, actor)

    def reinstate(self, name: str, *, actor: str) -> None:
        """Undo `revoke`."""
        with self._change() as master:
            subject_id = self._id_of(name)
            changed = self._db.execute(
                "UPDATE subjects SET revoked_at = NULL WHERE id = ? AND revoked_at IS NOT NULL", (subject_id,)
            )
            if changed.rowcount:
                vault.sign_subject(self._db, master, subject_id)
                self._log(master, "reinstated", subject_id, actor)

    def rename(self, name: str, to: str, *, actor: str) -> None:
        """Give a subject another name, in the log's past too; BadName when it is taken."""
        plain = plain_name(to)
        with self._change() as master:
            subject_id = self._id_of(name)
            if self._find(plain) not in (None, subject_id):
                raise BadName(f"name {plain!r}: is taken, choose another")
            self._db.execute(
                "INSERT INTO former_names (subject_id, name, until_at) SELECT id, name, ? FROM subjects WHERE id = ?",
                (events.now_at(), subject_id),
            )
            self._db.execute("UPDATE subjects SET name = ? WHERE id = ?", (plain, subject_id))
            vault.sign_subject(self._db, master, subject_id)
            self._log(master, "renamed", subject_id, actor)

    def erase(self, name: str, *, actor: str) -> str:
        """Remove the templates and every name of a subject, prove that no byte of them is left; returns the pseudonym.

        The log keeps its events under the pseudonym. Proven means: SQLite overwrites what it deletes, the -wal is
        emptied, and all the gallery's files are then searched for the embeddings and the names (a name of under four
        bytes cannot be searched for; the file is rebuilt from what lives instead). Erasing a pseudonym proves again.
        The file may be rebuilt, which keeps other writers waiting: seconds for a long log. StoreError when something
        is left, or when a reader that will not end keeps the -wal from being emptied.
        """
        with self._change() as master:
            subject_id = self._find(name)
            if subject_id is None:
                raise self._unknown(name)
            pseudonym = f"{PSEUDONYM}{subject_id}"
            secrets = erasure.secrets_of(self._rows, subject_id, pseudonym)
            if secrets.names:
                erasure.forget(self._db, self._rows, master, subject_id, secrets)
                self._log(master, "erased", subject_id, actor)
        erasure.prove_gone(self._db, self._rows, self.path, secrets)
        return pseudonym

    # -- the log -------------------------------------------------------------------------------------------------

    def record(self, event: Event) -> int:
        """Write an event, and return its id once it is on the disk: before that, nothing may act on it.

        UnknownSubject when it grants to someone who was revoked or erased meanwhile: the gate must then stay locked,
        whatever the policy says about a log that fails. A refusal of someone erased meanwhile is kept without the name.
        """
        with self._change() as master:
            return events.write(self._db, master, event, self._named_by(event))

    def events(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        person: str | None = None,
        denied: bool = False,
        reason: str | None = None,
        masked: bool = False,
        hours: tuple[str, str] | None = None,
        limit: int | None = None,
        after_id: int | None = None,
    ) -> Iterator[Event]:
        """Events of a time (`since` included, `until` not), newest last; `limit` keeps the newest.

        `hours` are from and until on every day, as "22:00" and "06:00" by this process's local time.

        With `after_id`, as a follower asks: in the order of recording, only later ones, and `limit` keeps the oldest.
        `person` may be the pseudonym of an erased subject; UnknownSubject when there never was one of that name.
        The order is the wall clock's, so after the clock was set back it is not the order of recording.
        """
        subject_id = None if person is None else self._find(person)
        if person is not None and subject_id is None:
            raise self._unknown(person)
        question = Question(since, until, subject_id, denied, reason, masked, hours)
        if after_id is not None:
            return events.follow(self._rows, question, after_id=after_id, limit=limit)
        return events.browse(self._rows, question, limit=limit)

    def event(self, event_id: int) -> Event:
        """One event; StoreError when there is none of that id."""
        found = events.one(self._rows, event_id)
        if found is None:
            raise StoreError(f"event {event_id}: is not in the log, which ends at {self.last_id()}; `maskgate log`")
        return found

    def started_before(self, event_id: int) -> Event | None:
        """The start of the daemon that recorded an event, with its version and networks; None if that is gone."""
        return events.started_before(self._rows, event_id)

    def last_id(self) -> int:
        """Id of the event recorded last, 0 in an empty log: where a follower starts."""
        return int(self._rows("SELECT coalesce(max(id), 0) AS id FROM events")[0]["id"])

    def tally(self, since: datetime | None = None, until: datetime | None = None) -> Tally:
        """Counts of the decisions of a time, of one state of the log."""
        from maskgate.tally import tally

        with explained(self.path), snapshot(self._db):
            return tally(self._rows, since, until)

    def held_against(
        self, asked: Sequence[Asked], since: datetime | None = None, until: datetime | None = None
    ) -> list[Held]:
        """What would have become of the visits of a time, had a grant asked for each of `asked`."""
        from maskgate.tally import held_against

        with explained(self.path), snapshot(self._db):
            return held_against(self._rows, asked, since, until)

    def lives(
        self, judge: str, shares: Sequence[float], since: datetime | None = None, until: datetime | None = None
    ) -> Lives:
        """How alive the liveness network of digest `judge` took those for who were let in, of one state of the log."""
        from maskgate.tally import lives

        with explained(self.path), snapshot(self._db):
            return lives(self._rows, judge, shares, since, until)

    def leads(self, since: datetime | None = None, until: datetime | None = None) -> dict[str, Lead]:
        """By name, how far people were above what was needed when they were recognised."""
        from maskgate.tally import leads

        return leads(self._rows, since, until)

    def anchor(self) -> Anchor:
        """What pins the log as it now is, to be kept outside of the gallery."""
        with explained(self.path):
            return ledger.anchor(self._db, vault.current(self._db, self._keys))

    def verify(self, anchors: Sequence[Anchor] = ()) -> Iterator[Finding]:
        """Go through the whole log, the subjects and the templates: what was done to them by somebody without the key.

        Nothing comes of a gallery as it was written. A million events take some 20 s; meanwhile `erase` has to wait.
        """
        with explained(self.path), snapshot(self._db):
            yield from upkeep.verify(self._db, self._keys, anchors)

    def trim(self, before: datetime, *, most: int = 500) -> int:
        """Remove the oldest events, those from before a time, with their snapshots; at most so many; returns how many.

        What is left still verifies, for the cut is authenticated and is an event itself.
        """
        return upkeep.trim(self._db, self._rows, self.path, self._keys, before, most)

    def attach(self, event_id: int, jpeg: bytes, *, most_bytes: int) -> bool:
        """Keep a picture with an event, sealed; the oldest pictures give way. False when it alone is too large."""
        with self._change() as master:
            return vault.add_snapshot(self._db, master, event_id, jpeg, most_bytes=most_bytes)

    def snapshot(self, event_id: int) -> bytes | None:
        """The JPEG kept with an event; None when there is none."""
        with explained(self.path):
            row = self._db.execute("SELECT sealed FROM snapshots WHERE event_id = ?", (event_id,)).fetchone()
            return None if row is None else vault.open_snapshot(self._keys, event_id, row[0])

    # -- the key -------------------------------------------------------------------------------------------------

    def change_key(self, *, actor: str) -> str:
        """Seal everything with a new key, and forget the old one; returns the new one's name.

        The old key stays in the key file until all is sealed with the new one, durably, so that after a power cut at
        any moment one of both opens everything, and calling this again finishes it. Others may use the gallery
        meanwhile: templates change in one transaction, snapshots in small ones.
        """
        return upkeep.change_key(self._db, self._rows, self.path, self._keys, actor)

    # -- copies --------------------------------------------------------------------------------------------------

    def count(self) -> int:
        """How many events there are."""
        return int(self._rows("SELECT count(*) AS n FROM events")[0]["n"])

    def copy_to(self, path: Path) -> None:
        """Make a whole, consistent copy as one new file, durably, while others go on writing."""
        copy_database(self._db, self.path, path)

    def damage(self) -> str | None:
        """What SQLite's own check of the whole file says; None for a sound one."""
        found = self._rows("PRAGMA integrity_check(1)")[0]["integrity_check"]
        return None if found == "ok" else str(found)

    def secrets(self) -> list[bytes]:
        """The keys that this gallery is sealed with, for a backup of both."""
        with explained(self.path):
            current = vault.current(self._db, self._keys)
        return [current.secret, *(master.secret for master in self._keys.read() if master.id != current.id)]

    def replace(self, other: Path, aside: Path | None, keys: Keys, *, actor: str, detail: Mapping[str, Any]) -> None:
        """Put everything of the gallery `other`, which `keys` open, in this one's place, in one transaction.

        What was here is copied `aside` first, if that is named, with nothing written in between. Who was erased or
        revoked here stays so. Ids go on after the higher of both, and the log says that it was restored.
        """
        with transaction(self._db, self.path):
            if aside is not None:
                with _opened(self.path, self._keys, create=False, readonly=True, adopt=False) as reader:
                    reader.copy_to(aside)
            ours = {row["id"]: row for row in self._rows("SELECT id, created_at, revoked_at, erased_at FROM subjects")}
            [given] = self._rows("SELECT coalesce(max(seq), 0) AS last FROM sqlite_sequence WHERE name = 'events'")
            with _opened(other, keys, create=False, readonly=False, adopt=False) as theirs:
                theirs._catch_up(ours, actor)
                with theirs._change() as master:
                    ledger.pass_over(theirs._db, master, given["last"] + 1)
                    events.write(theirs._db, master, Event("restored", actor=actor, detail=detail), None)
            replace_tables(self._db, other)

    def _catch_up(self, ours: Mapping[int, Mapping[str, Any]], actor: str) -> None:
        """Erase and revoke here who was erased or revoked in the gallery that this one will replace."""
        for subject in self.subjects():
            now = ours.get(subject.id)
            if now is None or now["created_at"] != subject.created_at:
                continue
            if now["erased_at"]:
                self.erase(subject.name, actor=actor)
            elif now["revoked_at"]:
                self.revoke(subject.name, actor=actor)

    # -- inside --------------------------------------------------------------------------------------------------

    @contextmanager
    def _change(self) -> Iterator[Master]:
        with transaction(self._db, self.path):
            yield vault.current(self._db, self._keys)

    def _templates(self, model: str) -> list[Template]:
        import numpy as np  # not above: who reads the log alone has no time for it

        columns = ", ".join(f"t.{column}" for column in vault.TEMPLATE.split(", "))
        with explained(self.path), snapshot(self._db):
            rows = self._db.execute(
                f"SELECT {columns}, embedding, t.detail ->> 'masked', name FROM templates AS t JOIN subjects AS s"
                " ON s.id = subject_id WHERE model = ? AND revoked_at IS NULL ORDER BY t.id",
                (model,),
            ).fetchall()
            altered = vault.altered_subjects(self._db, self._keys) if rows else []
            if altered:
                raise StoreError(
                    f"{self.path}: subject {altered[0]} was altered by somebody without the key; restore a backup"
                )
            opened = vault.open_templates(self._keys, rows)
        if not rows:
            return []
        matrix = np.frombuffer(b"".join(opened), np.dtype("<f4")).reshape(len(rows), -1).astype(np.float32, copy=False)
        return [
            Template(row[8], embedding, model, cover_of(row[7] or 0.0))
            for row, embedding in zip(rows, matrix, strict=True)
        ]

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        # Not sqlite-utils' own query: its version 4 leaves a transaction open when a damaged gallery fails in it.
        with explained(self.path):
            cursor = self._db.execute(sql, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def _find(self, name: str) -> int | None:
        found = self._rows("SELECT id FROM subjects WHERE name = ?", (_folded(name),))
        return int(found[0]["id"]) if found else None

    def _id_of(self, name: str) -> int:
        subject_id = self._find(name)
        if subject_id is None or name.startswith(PSEUDONYM):
            raise self._unknown(name)
        return subject_id

    def _unknown(self, name: str) -> UnknownSubject:
        """Say that nobody has that name, and who has one like it."""
        names = [row["name"] for row in self._rows("SELECT name FROM subjects WHERE erased_at IS NULL")]
        lower = {known.casefold(): known for known in names}
        near = get_close_matches(_folded(name).casefold(), lower, 1, 0.75)
        mean = f"did you mean {lower[near[0]]!r}?" if near else "`maskgate people` lists everyone"
        return UnknownSubject(f"{name[:_SHOWN]!a}: nobody of that name is enrolled, {mean}")

    def _named_by(self, event: Event) -> int | None:
        if event.subject is None:
            return None
        if not event.granted:
            return self._find(event.subject)
        subject_id = self._id_of(event.subject)
        if self._rows("SELECT 1 FROM subjects WHERE id = ? AND revoked_at IS NOT NULL", (subject_id,)):
            raise UnknownSubject(f"{event.subject}: was revoked meanwhile, the gate stays locked")
        return subject_id

    def _admit(self, master: Master, plain: str, at: str) -> int:
        found = self._rows("SELECT id, revoked_at FROM subjects WHERE name = ?", (plain,))
        if found and found[0]["revoked_at"]:
            raise BadName(f"name {plain!r}: was revoked at {found[0]['revoked_at']}, reinstate or erase that subject")
        if found:
            return int(found[0]["id"])
        added = self._db.execute("INSERT INTO subjects (name, created_at) VALUES (?, ?)", (plain, at))
        vault.sign_subject(self._db, master, int(added.lastrowid or 0))
        return int(added.lastrowid or 0)

    def _blobs(self, embeddings: Sequence[Embedding], model: str) -> list[bytes]:
        import numpy as np

        known = self._rows("SELECT length(embedding) AS size FROM templates WHERE model = ? LIMIT 1", (model,))
        sizes = {embedding.size * 4 for embedding in embeddings} | {vault.template_bytes(row["size"]) for row in known}
        if not embeddings or len(sizes) != 1:
            raise ValueError(f"templates of one model must have one length, got {sorted(sizes)} bytes")
        for embedding in embeddings:
            if embedding.ndim != 1 or not abs(float(np.linalg.norm(embedding)) - 1) < 1e-3:
                raise ValueError(f"not a unit vector: shape {embedding.shape}, length {np.linalg.norm(embedding):g}")
        return [embedding.astype("<f4").tobytes() for embedding in embeddings]

    def _log(
        self, master: Master, kind: str, subject_id: int, actor: str, detail: Mapping[str, Any] | None = None
    ) -> None:
        events.write(self._db, master, Event(kind, actor=actor, detail=detail or {}), subject_id)


_SUBJECTS = """SELECT s.id, name, s.created_at, revoked_at, count(t.id) AS templates,
    group_concat(DISTINCT model) AS models,
    (SELECT at FROM events WHERE subject_id = s.id AND granted = 1 ORDER BY at DESC LIMIT 1) AS last_granted_at,
    (SELECT json_group_array(name) FROM former_names WHERE subject_id = s.id) AS formerly
    FROM subjects AS s LEFT JOIN templates AS t ON t.subject_id = s.id"""


def _folded(name: str) -> str:
    # In an old locale the bytes of an argument that are no ASCII arrive as surrogates.
    told = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return unicodedata.normalize("NFC", told).strip()


def _subject(row: dict[str, Any]) -> Subject:
    models = tuple(sorted(filter(None, (row["models"] or "").split(","))))
    return Subject(**row | {"models": models, "formerly": tuple(json.loads(row["formerly"]))})
