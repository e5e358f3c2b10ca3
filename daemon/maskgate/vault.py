"""What the database holds sealed or authenticated: templates, subjects, kept values. Works on an open database.

Commits nothing and reads no key file but through `Keys`. Whoever writes to the database without the key can destroy,
but can neither read a template, nor put one under another name, nor undo a revocation, unnoticed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from maskgate.chain import canonical
from maskgate.keys import Keys
from maskgate.schema import Database
from maskgate.seal import OVERHEAD, Master, Unsealable, id_of

TEMPLATE = "id, subject_id, model, created_at, source, detail"
"""The columns that a template is bound to, in this order."""
_SUBJECT = """id, name, created_at, revoked_at, erased_at, (SELECT json_group_array(json_array(id, name, until_at))
    FROM (SELECT * FROM former_names AS f WHERE f.subject_id = subjects.id ORDER BY f.id))"""
"""What a subject is authenticated with; earlier names too, since rules go by them."""


def current(db: Database, keys: Keys) -> Master:
    """Return the key that new values are sealed with; StoreError when it is not there."""
    found = db.execute("SELECT value FROM kept WHERE name = 'key'").fetchone()
    try:
        key_id = bytes.fromhex(json.loads(found[0])["id"])
    except (TypeError, KeyError, ValueError):
        raise Unsealable("the gallery does not say which key it is sealed with, restore a backup") from None
    return keys.find(key_id)


# -- single values -----------------------------------------------------------------------------------------------------


def keep(db: Database, master: Master, name: str, value: Any) -> None:
    """Keep a JSON value under a name, authenticated."""
    text = json.dumps(value, sort_keys=True)
    db.execute(
        "INSERT INTO kept (name, value, tag) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value, tag = excluded.tag",
        (name, text, master.tag(_kept(name, text))),
    )


def kept(db: Database, master: Master, name: str) -> Any:
    """Return a kept value; Unsealable when there is none, or it was altered."""
    found = db.execute("SELECT value, tag FROM kept WHERE name = ?", (name,)).fetchone()
    if found is None or not master.holds(found[1], _kept(name, found[0])):
        raise Unsealable(f"what the gallery keeps as {name!r} was altered or removed by somebody without the key")
    return json.loads(found[0])


def _kept(name: str, text: str) -> bytes:
    return canonical(["kept", name, text])


# -- subjects ----------------------------------------------------------------------------------------------------------


def sign_subject(db: Database, master: Master, subject_id: int) -> None:
    """Authenticate a subject's row as it now is."""
    row = db.execute(f"SELECT {_SUBJECT} FROM subjects WHERE id = ?", (subject_id,)).fetchone()
    db.execute("UPDATE subjects SET tag = ? WHERE id = ?", (master.tag(canonical(["subject", *row])), subject_id))


def altered_subjects(db: Database, keys: Keys) -> list[int]:
    """Ids of subjects whose row was not written by who holds the key."""
    master = current(db, keys)
    rows = db.execute(f"SELECT {_SUBJECT}, tag FROM subjects ORDER BY id")
    return [row[0] for row in rows if not master.holds(row[-1], canonical(["subject", *row[:-1]]))]


def missing_subjects(db: Database) -> list[int]:
    """Ids that events or templates name, and no subject has: the gate itself never removes a subject's row."""
    named = "SELECT subject_id FROM events WHERE subject_id IS NOT NULL UNION SELECT subject_id FROM templates"
    return [row[0] for row in db.execute(f"{named} EXCEPT SELECT id FROM subjects").fetchall()]


def sign_subjects_anew(db: Database, old: Master, new: Master) -> None:
    """Authenticate the subjects under another key, but for those that were altered."""
    for *row, tag in db.execute(f"SELECT {_SUBJECT}, tag FROM subjects").fetchall():
        if old.holds(tag, canonical(["subject", *row])):
            sign_subject(db, new, row[0])


# -- templates ---------------------------------------------------------------------------------------------------------


def seal_template(master: Master, plain: bytes, bound: Sequence[Any]) -> bytes:
    """Seal an embedding's bytes; `bound` are its row's values of the columns `TEMPLATE`."""
    return master.seal("templates", plain, canonical(["template", *bound]))


def open_template(keys: Keys, sealed: bytes, bound: Sequence[Any]) -> bytes:
    """Undo `seal_template`; Unsealable for a template that was altered, or moved to another row or subject."""
    try:
        return keys.find(id_of(sealed)).open("templates", sealed, canonical(["template", *bound]))
    except Unsealable as error:
        raise Unsealable(
            f"template {bound[0]} of subject {bound[1]}: {error}, restore a backup or enrol anew"
        ) from None


def open_templates(keys: Keys, rows: Sequence[tuple[Any, ...]]) -> list[bytes]:
    """Open many: rows of `TEMPLATE` and the sealed embedding. Twice as fast as one by one."""
    if not rows:
        return []
    try:
        opened = keys.find(id_of(rows[0][6])).opener("templates")
        return [opened(row[6], canonical(("template", *row[:6]))) for row in rows]
    except Unsealable:  # altered, or in the middle of a change of keys
        return [open_template(keys, row[6], row[:6]) for row in rows]


def template_bytes(sealed_size: int) -> int:
    """Size of a template from the size of the sealed one."""
    return sealed_size - OVERHEAD


def seal_templates_anew(db: Database, opened: Callable[[bytes, Sequence[Any]], bytes], master: Master) -> list[bytes]:
    """Seal every template with `master`; returns what stood there before, which must not be found any more."""
    rows = db.execute(f"SELECT {TEMPLATE}, embedding FROM templates").fetchall()
    sealed = [(seal_template(master, opened(row[-1], row[:-1]), row[:-1]), row[0]) for row in rows]
    db.conn.executemany("UPDATE templates SET embedding = ? WHERE id = ?", sealed)
    return [row[-1] for row in rows]


# -- snapshots ---------------------------------------------------------------------------------------------------------


def add_snapshot(db: Database, master: Master, event_id: int, jpeg: bytes, *, most_bytes: int) -> bool:
    """Seal the picture of an event; the oldest give way so that all together stay within `most_bytes`."""
    subject_id, at = db.execute("SELECT subject_id, at FROM events WHERE id = ?", (event_id,)).fetchone()
    sealed = master.seal("snapshots", jpeg, canonical(["snapshot", event_id]))
    if len(sealed) > most_bytes:
        return False
    db.execute(
        "INSERT INTO snapshots (event_id, subject_id, at, size, sealed) VALUES (?, ?, ?, ?, ?)",
        (event_id, subject_id, at, len(sealed), sealed),
    )
    over = db.execute("SELECT sum(size) FROM snapshots").fetchone()[0] - most_bytes
    for oldest, size in (
        db.execute("SELECT event_id, size FROM snapshots ORDER BY event_id").fetchall() if over > 0 else ()
    ):
        if over <= 0:
            break
        db.execute("DELETE FROM snapshots WHERE event_id = ?", (oldest,))
        over -= size
    return True


def open_snapshot(keys: Keys, event_id: int, sealed: bytes) -> bytes:
    """Undo `add_snapshot`; Unsealable for one that was altered or moved."""
    return keys.find(id_of(sealed)).open("snapshots", sealed, canonical(["snapshot", event_id]))


def seal_snapshots_anew(db: Database, keys: Keys, master: Master, most: int) -> list[bytes]:
    """Seal at most so many snapshots with `master` that are not yet; returns what stood there before."""
    rows = db.execute(
        "SELECT event_id, sealed FROM snapshots WHERE substr(sealed, 2, 4) <> ? ORDER BY event_id LIMIT ?",
        (master.id, most),
    ).fetchall()
    for event_id, sealed in rows:
        again = master.seal("snapshots", open_snapshot(keys, event_id, sealed), canonical(["snapshot", event_id]))
        db.execute("UPDATE snapshots SET sealed = ? WHERE event_id = ?", (again, event_id))
    return [sealed for _, sealed in rows]
