"""What is done to a whole gallery: seal one from before, verify it, trim its log, change its key. Opens none itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from maskgate import erasure, events, ledger, vault
from maskgate.chain import Anchor, Finding
from maskgate.events import Ask, Event
from maskgate.keys import Keys
from maskgate.schema import Database, explained, transaction
from maskgate.seal import Master
from maskgate.values import StoreError

_SNAPSHOTS_AT_ONCE = 20
"""So many are sealed anew in one transaction: some 0.3 MiB, for which a decision can wait."""


def found(db: Database, path: Path, keys: Keys, *, adopt: bool) -> list[bytes]:
    """Seal what the gallery has, in the open transaction; returns the templates that stood there unsealed.

    With a key in place, a gallery that has people but no seal is refused: anybody could have put it there.
    """
    peopled = db.execute("SELECT EXISTS (SELECT 1 FROM subjects) OR EXISTS (SELECT 1 FROM events)").fetchone()[0]
    if peopled and keys.exists() and not adopt:
        raise StoreError(
            f"{path}: was never sealed, but {keys.path} exists, so it may be a forgery; "
            "if it is yours, run `maskgate key adopt`"
        )
    master = keys.first(path)
    vault.keep(db, master, "key", {"id": master.id.hex()})
    plain = vault.seal_templates_anew(db, lambda stored, _: stored, master)
    for (subject_id,) in db.execute("SELECT id FROM subjects").fetchall():
        vault.sign_subject(db, master, subject_id)
    ledger.found(db, master)
    if plain:
        vault.keep(db, master, "unswept", True)
    return plain


def sweep(db: Database, ask: Ask, path: Path, keys: Keys, plain: Sequence[bytes]) -> None:
    """Finish what `found` began: leave no byte of the unsealed templates, which are searched for if they are known.

    The file is rebuilt in any case: who interrupted the first sweep took the knowledge of `plain` with them.
    """
    if not ask("SELECT 1 FROM kept WHERE name = 'unswept'", ()):
        return
    with explained(path):
        db.execute("VACUUM")
    erasure.prove_gone(db, ask, path, erasure.Secrets("unsealed templates", (), tuple(plain), "maskgate people"))
    with transaction(db, path):
        vault.current(db, keys)
        db.execute("DELETE FROM kept WHERE name = 'unswept'")


def verify(db: Database, keys: Keys, anchors: Sequence[Anchor]) -> Iterator[Finding]:
    """What was done to log, subjects and templates by somebody without the key; within one read transaction."""
    yield from ledger.verify(db, vault.current(db, keys), anchors)
    for subject_id in vault.altered_subjects(db, keys):
        yield Finding(0, f"subject {subject_id} was altered by somebody without the key")
    for subject_id in vault.missing_subjects(db):
        yield Finding(0, f"subject {subject_id} was removed by somebody without the key")
    for row in db.execute(f"SELECT {vault.TEMPLATE}, embedding FROM templates"):
        try:
            vault.open_template(keys, row[-1], row[:-1])
        except StoreError as error:
            yield Finding(0, str(error))


def trim(db: Database, ask: Ask, path: Path, keys: Keys, before: datetime, most: int) -> int:
    """Cut the oldest events off, those from before a time, at most so many; returns how many. For none no write."""
    limit, future = events.stamp(before), events.stamp(datetime.now(UTC) + timedelta(days=1))
    oldest = ask("SELECT at FROM events ORDER BY id LIMIT 1", ())
    if not oldest or limit <= oldest[0]["at"] <= future:
        return 0
    with transaction(db, path):
        master = vault.current(db, keys)
        removed = ledger.cut_off(db, master, before=limit, future=future, most=most)
        if removed:
            events.write(db, master, Event("log_cut", detail={"events": removed}), None)
    return removed


def change_key(db: Database, ask: Ask, path: Path, keys: Keys, actor: str) -> str:
    """Seal everything with a new key; returns its name. What `Store.change_key` promises."""
    new = Master.fresh()
    with transaction(db, path):  # within: nobody else may change the key file meanwhile
        old = vault.current(db, keys)
        keys.replace([new, *keys.read()])
        before = vault.seal_templates_anew(db, partial(vault.open_template, keys), new)
        vault.sign_subjects_anew(db, old, new)
        ledger.change_key(db, old, new)
        vault.keep(db, new, "key", {"id": new.id.hex()})
        events.write(db, new, Event("key_changed", actor=actor, detail={"key": new.id.hex()}), None)
    while batch := _seal_snapshots_anew(db, path, keys):
        before += batch
    with transaction(db, path):
        keys.replace([vault.current(db, keys)])
    gone = erasure.Secrets("what the old key sealed", (), tuple(before), "maskgate key rotate")
    erasure.prove_gone(db, ask, path, gone)
    return new.id.hex()


def _seal_snapshots_anew(db: Database, path: Path, keys: Keys) -> list[bytes]:
    with transaction(db, path):
        return vault.seal_snapshots_anew(db, keys, vault.current(db, keys), _SNAPSHOTS_AT_ONCE)
