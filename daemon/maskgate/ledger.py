"""The log's chain in the database: append, redact, cut off, change its key, verify. Opens and commits nothing.

The head of the chain (last id and link, and the next id to give) is kept authenticated beside the events, so that even
an event cut off the end that no anchor holds is missed, unless an older copy of that head is put back too.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import takewhile
from typing import Any

from maskgate import chain, vault
from maskgate.chain import Anchor, Finding, Head, Record, Sign
from maskgate.schema import Database
from maskgate.seal import Master, Unsealable

FIELDS = "at, kind, subject_id, granted, reason, score, margin, threshold, masked, live, actor, detail"
"""The columns of an event that the chain holds, in this order."""
_BROKEN = b"the head was altered"
"""What follows an altered head follows nothing, so it stays visible for ever; but the gate goes on recording."""
_NO_ID = 1 << 53
"""No gate gets there: somebody put such an event in so that no other could follow."""
_BATCH = 2000


def found(db: Database, master: Master) -> None:
    """Begin the chain of a gallery that has none, with the events it has."""
    vault.keep(db, master, "cut", {"id": 0, "link": chain.ORIGIN.hex(), "events": 0})
    vault.keep(db, master, "chains", [{"first": 0, "id": master.id.hex(), "key": None}])
    vault.keep(db, master, "gaps", [])
    last = Head(0, chain.ORIGIN)
    sign = _signer(db, master)
    gaps = []
    while rows := db.execute(
        f"SELECT id, {FIELDS} FROM events WHERE id > ? ORDER BY id LIMIT {_BATCH}", (last.id,)
    ).fetchall():
        chained = []
        for event_id, *fields in rows:
            if event_id > last.id + 1:
                gaps.append((last.id + 1, event_id - 1))
            salt, link, mac = _links(event_id, fields, last.link, sign)
            chained.append((salt, link, mac, event_id))
            last = Head(event_id, link)
        db.conn.executemany("UPDATE events SET salt = ?, link = ?, mac = ? WHERE id = ?", chained)
    vault.keep(db, master, "gaps", gaps)
    _keep_head(db, master, last, last.id + 1)


def append(db: Database, master: Master, fields: Sequence[Any]) -> int:
    """Add an event with these `FIELDS`, as SQLite will give them back; returns its id."""
    try:
        kept = vault.kept(db, master, "head")
        before, next_id = bytes.fromhex(kept["link"]), int(kept["next"])
    except Unsealable:
        before, next_id = _BROKEN, 1
    newest = db.execute("SELECT max(id) FROM events WHERE id < ?", (_NO_ID,)).fetchone()[0] or 0
    event_id = max(next_id, newest + 1)
    salt, link, mac = _links(event_id, fields, before, partial(chain.mac_of, master.subkey("chain")))
    db.execute(
        f"INSERT INTO events (id, {FIELDS}, salt, link, mac) VALUES ({', '.join('?' * 16)})",
        (event_id, *fields, salt, link, mac),
    )
    _keep_head(db, master, Head(event_id, link), event_id + 1)
    return event_id


def redact(db: Database, master: Master, event_id: int, detail: str) -> None:
    """Put another detail in an event's place; what the chain holds of the former one tells nothing without its salt."""
    *fields, salt = db.execute(f"SELECT {FIELDS}, salt FROM events WHERE id = ?", (event_id,)).fetchone()
    known = db.execute("SELECT digest FROM redactions WHERE event_id = ?", (event_id,)).fetchone()
    before = known[0] if known else chain.digest_of(event_id, fields, salt or b"")
    after, fields[-1] = os.urandom(chain.SALT_BYTES), detail
    db.execute("UPDATE events SET detail = ?, salt = ? WHERE id = ?", (detail, after, event_id))
    _sign_redaction(db, master, event_id, before, chain.digest_of(event_id, fields, after))


def cut_off(db: Database, master: Master, *, before: str, future: str, most: int) -> int:
    """Remove the oldest events that are from before a time, `most` at once, and note it in the log; returns how many.

    They are removed in the order of recording, up to the first that must be kept, so that what remains is a chain that
    begins where the authenticated cut says. An event from the `future` was stamped by a wrong clock: it goes too.
    """
    oldest = db.execute("SELECT id, at, link FROM events ORDER BY id LIMIT ?", (most,)).fetchall()
    old = list(takewhile(lambda row: row[1] < before or row[1] > future, oldest))
    if not old:
        return 0
    through, _, link = old[-1]
    removed = vault.kept(db, master, "cut")["events"] + len(old)
    for sql in (
        "DELETE FROM events WHERE id <= ?",
        "DELETE FROM redactions WHERE event_id <= ?",
        "DELETE FROM snapshots WHERE event_id <= ?",
    ):
        db.execute(sql, (through,))
    vault.keep(db, master, "cut", {"id": through, "link": (link or b"").hex(), "events": removed})
    return len(old)


def change_key(db: Database, old: Master, new: Master) -> None:
    """Go on under another key: what was authenticated stays so, what was not stays found. Unsealable when altered."""
    stretches = [
        {**stretch, "key": _wrapped(new, stretch["id"], _chain_key(old, stretch["id"], stretch["key"]))}
        for stretch in vault.kept(db, old, "chains")
    ]
    head = vault.kept(db, old, "head")
    stretches.append({"first": head["next"], "id": new.id.hex(), "key": None})
    good, _ = _redacted(db, old)
    for name in ("head", "cut", "gaps"):
        vault.keep(db, new, name, vault.kept(db, old, name))
    vault.keep(db, new, "chains", stretches)
    for event_id, before in good.items():
        *fields, salt = db.execute(f"SELECT {FIELDS}, salt FROM events WHERE id = ?", (event_id,)).fetchone()
        _sign_redaction(db, new, event_id, before, chain.digest_of(event_id, fields, salt))


def pass_over(db: Database, master: Master, next_id: int) -> None:
    """Give no id below `next_id` any more: a log that is being replaced has given them."""
    head = vault.kept(db, master, "head")
    if next_id > head["next"]:
        gaps = vault.kept(db, master, "gaps")
        vault.keep(db, master, "gaps", [*gaps, (head["next"], next_id - 1)])
        vault.keep(db, master, "head", {**head, "next": next_id})


def anchor(db: Database, master: Master) -> Anchor:
    """Return what a copy elsewhere must hold to pin the log as it now is."""
    head = _head(db, master)
    return Anchor(head.id, head.link, chain.anchor_mac(master.subkey("chain"), head.id, head.link))


def verify(db: Database, master: Master, anchors: Sequence[Anchor] = ()) -> Iterator[Finding]:
    """What is wrong with the log. Reads all of it, about 15 s for a million events, within one read transaction."""
    try:
        vault.kept(db, master, "key")
        cut = vault.kept(db, master, "cut")
        gaps = [(first, last) for first, last in vault.kept(db, master, "gaps")]
        head, sign = _head(db, master), _signer(db, master)
    except Unsealable as error:
        yield Finding(0, str(error))
        return
    redacted, forged = _redacted(db, master)
    yield from forged
    yield from chain.check(
        _records(db),
        cut=Head(cut["id"], bytes.fromhex(cut["link"])),
        head=head,
        sign=sign,
        redacted=redacted,
        gaps=gaps,
        anchors=anchors,
    )


def _records(db: Database) -> Iterator[Record]:
    rows = db.execute(f"SELECT id, salt, link, mac, {FIELDS} FROM events ORDER BY id")
    while batch := rows.fetchmany(_BATCH):
        for event_id, salt, link, mac, *fields in batch:
            yield Record(event_id, tuple(fields), salt, link, mac)


def _links(event_id: int, fields: Sequence[Any], before: bytes, sign: Sign) -> tuple[bytes, bytes, bytes]:
    """Salt, link and MAC of a new event."""
    salt = os.urandom(chain.SALT_BYTES)
    link = chain.link_of(before, chain.digest_of(event_id, fields, salt))
    return salt, link, sign(event_id, link)


def _signer(db: Database, master: Master) -> Sign:
    """Return what authenticates links: each stretch of the log has the key that counted when it was written."""
    stretches = [
        (stretch["first"], _chain_key(master, stretch["id"], stretch["key"]))
        for stretch in reversed(vault.kept(db, master, "chains"))
    ]

    def sign(event_id: int, link: bytes) -> bytes:
        key = next((key for first, key in stretches if event_id >= first), b"")
        return chain.mac_of(key, event_id, link)

    return sign


def _chain_key(master: Master, key_id: str, sealed: str | None) -> bytes:
    if sealed is None:
        return master.subkey("chain")
    return master.open("keys", base64.b64decode(sealed), chain.canonical(["chain", key_id]))


def _wrapped(master: Master, key_id: str, key: bytes) -> str:
    return base64.b64encode(master.seal("keys", key, chain.canonical(["chain", key_id]))).decode()


def _head(db: Database, master: Master) -> Head:
    kept = vault.kept(db, master, "head")
    return Head(kept["id"], bytes.fromhex(kept["link"]))


def _keep_head(db: Database, master: Master, head: Head, next_id: int) -> None:
    vault.keep(db, master, "head", {"id": head.id, "link": head.link.hex(), "next": next_id})


def _redacted(db: Database, master: Master) -> tuple[dict[int, bytes], list[Finding]]:
    """The digests before redaction of events that are as the redaction left them, and what is wrong with others."""
    good: dict[int, bytes] = {}
    forged: list[Finding] = []
    rows = db.execute(
        f"SELECT event_id, digest, tag, salt, {FIELDS} FROM redactions LEFT JOIN events ON id = event_id ORDER BY 1"
    ).fetchall()
    for event_id, digest, tag, salt, *fields in rows:
        if master.holds(tag, _redaction(event_id, digest, chain.digest_of(event_id, fields, salt or b""))):
            good[event_id] = digest
        else:
            forged.append(Finding(event_id, "was altered after a name had been erased from it"))
    return good, forged


def _sign_redaction(db: Database, master: Master, event_id: int, before: bytes, after: bytes) -> None:
    db.execute(
        "INSERT OR REPLACE INTO redactions (event_id, digest, tag) VALUES (?, ?, ?)",
        (event_id, before, master.tag(_redaction(event_id, before, after))),
    )


def _redaction(event_id: int, before: bytes, after: bytes) -> bytes:
    return chain.canonical(["redaction", event_id, before.hex(), after.hex()])
