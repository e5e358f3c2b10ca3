"""Laws of the log as a chain at full size: every mutation, every pair of them; and a million events.

`make prove` tries them; `test_ledger.py` and `test_million.py` a share.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

from ledgers import is_found, mutated, mutations, plain_log, tampering, write_log
from maskgate import ledger, vault
from maskgate.chain import Head
from maskgate.events import as_json, stamp
from maskgate.store import Event, Store, open_store
from maskgate.values import StoreError
from worlds import person

MODEL = "a" * 64
START = datetime(2020, 1, 1, tzinfo=UTC)
REASONS = ("granted", "unknown", "left", "poor_picture", "thin_margin")
SLOWEST_S = 0.2
"""The question about the log that takes longest must be answered within this."""


def single_and_paired(length: int, most: int) -> int:
    """Every mutation of a log of `length`, and every pair of them, or `most` pairs at random; returns how many."""
    records = plain_log(length)
    head = Head(records[-1].id, records[-1].link or b"")
    assert not is_found(records, head)
    every = list(mutations(records))
    for one in every:
        assert is_found(mutated(records, one), head), one
    pairs = list(combinations(every, 2))
    dice = random.Random(length)
    tried = len(every)
    for first, second in pairs if len(pairs) <= most else dice.sample(pairs, most):
        changed = mutated(mutated(records, first), second)
        if changed != records:
            assert is_found(changed, head), (first, second)
            tried += 1
    return tried


def edits_of_a_gallery(events: int, pairs: int) -> int:
    """Every edit and deletion in what the log of a gallery is made of, and pairs at random; returns how many."""
    folder = Path(tempfile.mkdtemp(prefix="maskgate-edits-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    path = folder / "gallery.db"
    try:
        with open_store(path, create=True) as store:
            write_log(store, events)
            store.change_key(actor="pat")
            store.record(Event("decision", granted=False))
        whole = path.read_bytes()
        assert not is_tampered_with(path)
        every = list(tampering(path))
        dice = random.Random(events)
        tried = [(one,) for one in every] + [tuple(dice.sample(every, 2)) for _ in range(pairs)]
        for edits in tried:
            tamper(path, *edits)
            assert is_tampered_with(path), edits
            path.write_bytes(whole)
        assert not is_tampered_with(path)
        return len(tried)
    finally:
        shutil.rmtree(folder)


def tamper(path: Path, *edits: str) -> None:
    """Write to the gallery as somebody who has no key, but any tool there is."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA foreign_keys = OFF")
    for sql in edits:
        with suppress(sqlite3.IntegrityError):  # an id that the first edit has taken
            db.execute(sql)
    db.close()


def is_tampered_with(path: Path) -> bool:
    """Tell whether `log verify` finds anything, a gallery that cannot be read included."""
    try:
        with open_store(path, readonly=True) as store:
            return any(True for _ in store.verify())
    except StoreError:
        return True


def long_log(path: Path, count: int, people: int = 50) -> None:
    """Make a gallery with so many decisions over five years, chained as the gate does it."""
    dice = random.Random(count)
    with open_store(path, create=True) as store:
        for number in range(people):
            store.enrol(f"Person {number}", [(person(number), {})], model=MODEL, source="photo", actor="pat")
        step = timedelta(days=5 * 365) / count

        def rows() -> Iterator[tuple[Any, ...]]:
            for number in range(count):
                reason = "granted" if dice.random() < 0.8 else dice.choice(REASONS[1:])
                who = dice.randint(1, people) if reason == "granted" or dice.random() < 0.1 else None
                yield (
                    *(stamp(START + number * step), "decision", who, int(reason == "granted"), reason),
                    *(dice.random(), dice.random(), 0.4, dice.random(), dice.random(), None),
                    as_json(detail_of(number, 12 if reason == "unknown" else 3)),
                )

        append_many(store, rows())


def detail_of(number: int, looks: int) -> dict[str, Any]:
    """Return as much as a decision after so many looks notes."""
    shares = [round((number * 7 + look * 13) % 100 / 100, 3) for look in range(looks)]
    return {
        "frames": looks,
        "usable_to_decision_ms": number % 900,
        "at_ms": [look * 133 for look in range(looks)],
        "scores": shares,
        "margins": shares,
        "masks": shares,
        "live": shares,
        "ms": dict.fromkeys(("motion", "detect", "refine", "align", "judge", "embed", "liveness", "match"), 21.4),
        "needs": {"bare": 0.4111, "masked": 0.3972, "margin": 0.05, "agree": 3, "live": 0.0},
        "cue": "passive",
        "cues": {"passive": ["live", 0.912], "carried": ["nothing", None]},
        "model": MODEL[:16],
        "live_by": MODEL[:16],
    }


def append_many(store: Store, rows: Iterable[Sequence[Any]]) -> None:
    """Append decisions in one transaction: a million of single ones would take as many syncs."""
    with store._change() as master:
        head = vault.kept(store._db, master, "head")
        last, sign = Head(head["id"], bytes.fromhex(head["link"])), ledger._signer(store._db, master)

        def chained() -> Iterator[tuple[Any, ...]]:
            nonlocal last
            for event_id, fields in enumerate(rows, head["next"]):
                salt, link, mac = ledger._links(event_id, fields, last.link, sign)
                last = Head(event_id, link)
                yield (event_id, *fields, salt, link, mac)

        columns = f"INSERT INTO events (id, {ledger.FIELDS}, salt, link, mac) VALUES ({', '.join('?' * 16)})"
        store._db.conn.executemany(columns, chained())
        ledger._keep_head(store._db, master, last, last.id + 1)


def questions(store: Store) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What `maskgate log`, `show` and `people` may ask, with every mixture of options; a screen of answers each."""
    times = (None, START + timedelta(days=400), START + timedelta(days=1700))
    for since in times:
        for until in times:
            for who in (None, "Person 7", "Person 49"):
                for denied in (False, True):
                    for reason in (None, *REASONS):
                        how = {"since": since, "until": until, "person": who, "denied": denied, "reason": reason}
                        yield f"events {how}", lambda how=how: list(store.events(**how, limit=100))  # type: ignore[misc]
    for who in (None, "Person 49"):
        for reason in (None, *REASONS):
            how = {"person": who, "reason": reason, "masked": True, "hours": ("22:00", "06:00")}
            yield f"events {how}", lambda how=how: list(store.events(**how, limit=100))  # type: ignore[misc]
    last = store.last_id()
    for who in (None, "Person 7"):
        yield f"follow {who}", lambda who=who: list(store.events(after_id=last - 50, person=who))  # type: ignore[misc]
    yield "last_id", store.last_id
    yield "anchor", store.anchor
    yield "people", store.subjects
    yield "show", lambda: store.subject("Person 7")


def any_question_is_quick(count: int, slowest_s: float = SLOWEST_S) -> int:
    """Ask everything of a log of so many events; returns how many questions; says what it costs on the card."""
    folder = Path(tempfile.mkdtemp(prefix="maskgate-million-"))
    path = folder / "gallery.db"
    try:
        long_log(path, count)
        size = path.stat().st_size
        with open_store(path, readonly=True) as store:
            took = [(time_of(ask), words) for words, ask in questions(store)]
            slow = max(took)
            print(
                f"    {count:,} events, {size / count:.0f} bytes each; slowest {slow[0] * 1000:.0f} ms: {slow[1]}",
                flush=True,
            )
            assert slow[0] < slowest_s, slow
            began = time.monotonic()
            assert list(store.verify()) == []
            print(f"    log verify: {time.monotonic() - began:.0f} s", flush=True)
        return len(took)
    finally:
        shutil.rmtree(folder)


def time_of(ask: Callable[[], Any]) -> float:
    """Seconds, the better of two: another process may be what was slow."""
    best = float("inf")
    for _ in range(2):
        began = time.perf_counter()
        ask()
        best = min(best, time.perf_counter() - began)
        if best < SLOWEST_S / 4:
            break
    return best


def laws(share: float = 1.0) -> Iterable[tuple[str, Callable[[], int]]]:
    """Each law in words, and what tries it."""
    yield (
        "log verify finds every single mutation of a log and every pair of them",
        lambda: single_and_paired(12, 10**9) + single_and_paired(60, max(1000, int(60_000 * share))),
    )
    yield (
        "log verify finds every edit of every row of a real gallery, and pairs of them",
        lambda: edits_of_a_gallery(20, max(20, int(4000 * share))),
    )
    yield (
        "any question about a log of a million events is answered within 200 ms",
        lambda: any_question_is_quick(max(20_000, int(1_000_000 * share))),
    )
