"""The log as a chain: each record's link holds all records before it, each link is authenticated. Opens nothing.

    digest = SHA-256(salt || record)            link = SHA-256(link before || digest)
    mac    = HMAC-SHA256(chain key, id || link), its first 16 bytes (RFC 2104 allows half)

Links need no key, so a copy of one (an anchor, kept elsewhere) pins every record up to it. MACs need the key, which the
database does not hold, so nobody without it can continue the chain or begin it anew. The salt is random and is replaced
when a name is taken out of a record: then nothing can be guessed from the digest that stays behind.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

MAC_BYTES = 16
SALT_BYTES = 16
ORIGIN = bytes(32)
"""The link before the first event."""

Sign: TypeAlias = Callable[[int, bytes], bytes]
"""From an event's id and link to the MAC that belongs to it."""

_encoded = json.JSONEncoder(ensure_ascii=True, check_circular=False, separators=(",", ":"), default=repr).encode
_ANCHOR = re.compile(r"\banchor seq=(\d{1,18}) link=([0-9a-f]{64}) mac=([0-9a-f]{32})\b")


@dataclass(frozen=True, slots=True)
class Record:
    """An event as the database holds it."""

    id: int
    fields: tuple[Any, ...]
    """Every column but those of the chain, as SQLite gives them back."""
    salt: bytes | None
    link: bytes | None
    mac: bytes | None


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain, or the place where its older part was cut off."""

    id: int
    link: bytes


@dataclass(frozen=True, slots=True)
class Anchor:
    """What a copy outside of the database says: up to `id` the log had this link."""

    id: int
    link: bytes
    mac: bytes

    def __str__(self) -> str:
        return f"anchor seq={self.id} link={self.link.hex()} mac={self.mac.hex()}"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that nobody with the key has done."""

    id: int
    """The event it was found at."""
    said: str


def canonical(values: Sequence[Any]) -> bytes:
    """One sequence of bytes for one of plain values: no two read alike. Others, never written, are described."""
    return _encoded(values).encode()


def number(value: float | None) -> float | None:
    """A number as SQLite gives it back: no NaN, which it keeps as NULL, and no negative zero."""
    return None if value is None or math.isnan(value) else float(value) + 0.0


def digest_of(event_id: int, fields: Sequence[Any], salt: bytes) -> bytes:
    """What the chain holds of one record."""
    return hashlib.sha256(salt + canonical([event_id, *fields])).digest()


def link_of(before: bytes, digest: bytes) -> bytes:
    """The link of a record after the link `before`."""
    return hashlib.sha256(before + digest).digest()


def mac_of(key: bytes, event_id: int, link: bytes) -> bytes:
    """Authenticate a link."""
    return hmac.digest(key, b"event" + event_id.to_bytes(8, "big", signed=True) + link, "sha256")[:MAC_BYTES]


def anchor_mac(key: bytes, event_id: int, link: bytes) -> bytes:
    """Authenticate an anchor; never equal to an event's."""
    return hmac.digest(key, b"anchor" + event_id.to_bytes(8, "big", signed=True) + link, "sha256")[:MAC_BYTES]


def anchors_in(text: str) -> list[Anchor]:
    """Every anchor in a text: a file of anchors, or a journal with other lines around them."""
    return [Anchor(int(seq), bytes.fromhex(link), bytes.fromhex(mac)) for seq, link, mac in _ANCHOR.findall(text)]


def check(
    records: Iterable[Record],
    *,
    cut: Head,
    head: Head,
    sign: Sign,
    redacted: Mapping[int, bytes],
    gaps: Sequence[tuple[int, int]] = (),
    anchors: Sequence[Anchor] = (),
) -> Iterator[Finding]:
    """What is wrong with a log, in its order; nothing for one as it was written.

    `records` come by id, all there are; `redacted` has the digest that a record had before a name was taken out of
    it; `gaps` are ids (first, last) that a restored backup passed over. Anchors before the cut tell nothing any more.
    """
    pinned: dict[int, list[Anchor]] = {}
    for anchor in anchors:
        pinned.setdefault(anchor.id, []).append(anchor)
    last = cut
    for record in records:
        yield from _missing(last.id, record.id, gaps)
        link = record.link or b""
        if record.id <= last.id:
            yield Finding(record.id, "was inserted where the log had been cut off")
        elif record.salt is None or not hmac.compare_digest(sign(record.id, link), record.mac or b""):
            yield Finding(record.id, "was not written by this gate, or its authentication was altered")
        elif link_of(last.link, redacted.get(record.id) or digest_of(record.id, record.fields, record.salt)) != link:
            yield Finding(record.id, "was altered, or what stands before it was altered, removed or moved")
        yield from _unlike(pinned.pop(record.id, ()), link)
        last = Head(record.id, link)
    if last.id < head.id:
        yield Finding(last.id + 1, f"is missing: the log ends at {last.id} and must end at {head.id}")
    elif last != head:
        yield Finding(last.id, "is not the end that the gate wrote")
    for event_id, left in sorted(pinned.items()):
        if event_id == cut.id:
            yield from _unlike(left, cut.link)
        elif event_id > cut.id and not any(first <= event_id <= end for first, end in gaps):
            yield Finding(event_id, "is missing: an anchor holds it, the log does not")


def _missing(last: int, following: int, gaps: Sequence[tuple[int, int]]) -> Iterator[Finding]:
    """Ids of one gate follow each other without a hole."""
    if following > last + 1 and (last + 1, following - 1) not in gaps:
        one = following == last + 2
        yield Finding(last + 1, "is missing" if one else f"and all up to {following - 1} are missing")


def _unlike(anchors: Iterable[Anchor], link: bytes) -> Iterator[Finding]:
    if any(anchor.link != link for anchor in anchors):
        yield Finding(next(iter(anchors)).id, "is not what an anchor holds: it or what stands before it was altered")
