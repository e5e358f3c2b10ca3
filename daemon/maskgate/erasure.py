"""Forget a subject in every table, then prove from the files' bytes that nothing is left. Opens no gallery itself."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskgate import ledger, traces, vault
from maskgate.events import Ask, as_json, now_at
from maskgate.schema import Database, explained, sync_file
from maskgate.seal import Master
from maskgate.values import StoreError

_TEXTS = {
    "subjects": ("name", "created_at", "revoked_at", "erased_at", "tag"),
    "former_names": ("name", "until_at"),
    "templates": ("model", "created_at", "source", "detail", "embedding"),
    "events": ("at", "kind", "reason", "actor", "detail", "salt", "link", "mac"),
    "kept": ("name", "value", "tag"),
    "redactions": ("digest", "tag"),
    "snapshots": ("at", "sealed"),
    "sqlite_schema": ("type", "name", "tbl_name", "sql"),
    "sqlite_sequence": ("name",),
}
_LIVING = " UNION ".join(
    f"SELECT CAST({column} AS BLOB) AS value FROM {table} WHERE instr(CAST({column} AS BLOB), ?1)"
    for table, columns in _TEXTS.items()
    for column in columns
)
"""Every stored value that has the bytes ?1 in it: a test holds that no column is missing here."""
_TRIES = 2


@dataclass(frozen=True, slots=True)
class Secrets:
    """What must not be found afterwards."""

    pseudonym: str
    names: tuple[str, ...]
    """The present and every former name; empty when the subject was erased before."""
    sealed: tuple[bytes, ...]
    """Templates and snapshots, as they stand in the file."""
    again: str = ""
    """The command that makes the proof again; empty for `maskgate erase` with the pseudonym."""


def secrets_of(ask: Ask, subject_id: int, pseudonym: str) -> Secrets:
    """What the gallery holds about a subject that erasing must remove."""
    names = ask(
        "SELECT name FROM subjects WHERE id = ?1 UNION SELECT name FROM former_names WHERE subject_id = ?1",
        (subject_id,),
    )
    sealed = ask(
        "SELECT embedding AS sealed FROM templates WHERE subject_id = ?1"
        " UNION ALL SELECT sealed FROM snapshots WHERE subject_id = ?1",
        (subject_id,),
    )
    return Secrets(
        pseudonym,
        tuple(row["name"] for row in names if row["name"] != pseudonym),
        tuple(row["sealed"] for row in sealed),
    )


def forget(db: Database, ask: Ask, master: Master, subject_id: int, secrets: Secrets) -> None:
    """Remove the secrets from every table, in the open transaction."""
    at = now_at()
    db.execute("DELETE FROM templates WHERE subject_id = ?", (subject_id,))
    db.execute("DELETE FROM snapshots WHERE subject_id = ?", (subject_id,))
    db.execute("DELETE FROM former_names WHERE subject_id = ?", (subject_id,))
    db.execute(
        "UPDATE subjects SET name = ?, revoked_at = coalesce(revoked_at, ?), erased_at = ? WHERE id = ?",
        (secrets.pseudonym, at, at, subject_id),
    )
    vault.sign_subject(db, master, subject_id)
    for name in sorted(secrets.names, key=len, reverse=True):  # Ada would leave the Lovelace of Ada Lovelace
        _scrub(db, ask, master, name, secrets.pseudonym)


def _scrub(db: Database, ask: Ask, master: Master, name: str, pseudonym: str) -> None:
    """Take the name out of what was written beside events, where it stands as a word: Ada, not Adam."""
    word = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
    written = json.dumps(name, ensure_ascii=False)[1:-1]
    for row in ask("SELECT id, detail FROM events WHERE instr(detail, ?)", (written,)):
        detail = as_json(_without(json.loads(row["detail"]), word, pseudonym))
        if detail != row["detail"]:
            ledger.redact(db, master, row["id"], detail)


def _without(value: Any, word: re.Pattern[str], pseudonym: str) -> Any:
    """Replace the word in every text of a JSON value, but not in keys, which no person is named in."""
    if isinstance(value, str):
        return word.sub(pseudonym, value)
    if isinstance(value, list):
        return [_without(item, word, pseudonym) for item in value]
    if isinstance(value, dict):
        return {key: _without(item, word, pseudonym) for key, item in value.items()}
    return value


def prove_gone(db: Database, ask: Ask, path: Path, secrets: Secrets) -> None:
    """Empty the -wal, search the files, rebuild them if anything was found, search again; StoreError if it stays.

    Deleting overwrites (secure_delete), but a page that was split or merged keeps old copies in its unused middle,
    so the search comes first and the rebuilding only when it is needed: for a long log that takes seconds.
    """
    _empty_wal(db, path, secrets)
    patterns = [piece for embedding in secrets.sealed for piece in traces.pieces(embedding)]
    patterns += [name.encode() for name in secrets.names]
    searchable = [pattern for pattern in patterns if len(pattern) >= traces.SHORTEST]
    if patterns and searchable == patterns and not _left(ask, path, patterns):
        return
    with explained(path):
        db.execute("VACUUM")
    _empty_wal(db, path, secrets)
    if _left(ask, path, searchable):
        raise StoreError(f"{path}: bytes of {secrets.pseudonym} are left in the file, keep it from other hands")


def _left(ask: Ask, path: Path, patterns: Sequence[bytes]) -> bool:
    """Whether a pattern stands anywhere but inside a value that belongs there: Ada in Adam, ada the UNIX user."""
    return any(
        traces.find(path, [pattern], [row["value"] for row in ask(_LIVING, (pattern,))])
        for pattern in traces.find(path, patterns)
    )


def _empty_wal(db: Database, path: Path, secrets: Secrets) -> None:
    with explained(path):
        for _ in range(_TRIES):
            if not db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                # SQLite does not sync this: after a power cut the old content could be there again.
                sync_file(Path(f"{path}-wal"))
                return
    again = secrets.again or f"maskgate erase {secrets.pseudonym}"
    raise StoreError(f"{path}: another program still reads what was erased, end it and run `{again}`")
