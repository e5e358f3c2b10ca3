"""Laws of what is kept how long: retention, snapshots, and a key that changes. The log verifies throughout."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from house import environment
from laws_ledger import tamper
from ledgers import write_log
from maskgate.events import stamp
from maskgate.keys import Keys
from maskgate.store import Event, Store, open_store
from maskgate.values import StoreError
from test_ledger import found
from test_store import cut, remains
from test_store_faults import MODEL, enrol

START = datetime(2026, 1, 1, tzinfo=UTC)
JPEG = b"\xff\xd8\xff\xe0 a picture " * 300


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.db"


def daily(store: Store, days: int) -> None:
    """One decision a day."""
    for day in range(days):
        store.record(Event("decision", at=stamp(START + timedelta(days=day)), granted=False))


def test_what_is_old_is_removed_and_what_is_left_verifies_with_every_anchor(path: Path) -> None:
    anchors = []
    with open_store(path, create=True) as store:
        for day in range(30):
            store.record(Event("decision", at=stamp(START + timedelta(days=day)), granted=False))
            anchors.append(store.anchor())
        assert store.trim(START + timedelta(days=10)) == 10
        assert store.trim(START + timedelta(days=10)) == 0
        left = [event for event in store.events() if event.kind == "decision"]
        assert [event.id for event in left] == list(range(11, 31))
        assert list(store.verify(anchors)) == []
        assert store.trim(START + timedelta(days=25), most=7) == 7
        assert list(store.verify(anchors)) == []
        [*_, cut_event] = store.events()
        assert (cut_event.kind, cut_event.detail) == ("log_cut", {"events": 7})
    for sql in (
        "DELETE FROM events WHERE id = (SELECT min(id) FROM events)",
        "UPDATE kept SET value = json_set(value, '$.id', 19) WHERE name = 'cut'",
        "DELETE FROM kept WHERE name = 'cut'",
        "INSERT INTO events (id, at, kind, detail) VALUES (3, '2026', 'decision', '{}')",
    ):
        whole = path.read_bytes()
        tamper(path, sql)
        assert found(path), sql
        path.write_bytes(whole)


def test_a_clock_that_was_wrong_neither_removes_what_is_new_nor_keeps_what_is_old(path: Path) -> None:
    with open_store(path, create=True) as store:
        for at in ("2026-01-01", "2099-01-01", "2026-01-02", "2026-03-01", "1970-01-01", "2026-03-02"):
            store.record(Event("decision", at=f"{at}T00:00:00.000Z"))
        assert store.trim(START + timedelta(days=30)) == 3
        assert [event.at[:10] for event in store.events(after_id=0)][:3] == ["2026-03-01", "1970-01-01", "2026-03-02"]


def test_a_gate_where_nothing_is_old_writes_nothing(path: Path) -> None:
    with open_store(path, create=True) as store:
        daily(store, 5)
        version, data = store.last_id(), path.read_bytes()
        wal = Path(f"{path}-wal").stat().st_size
        for _ in range(10):
            assert store.trim(START) == 0
        assert (store.last_id(), path.read_bytes(), Path(f"{path}-wal").stat().st_size) == (version, data, wal)


# -- snapshots ---------------------------------------------------------------------------------------------------------


def test_a_snapshot_comes_back_and_stands_in_no_file(path: Path) -> None:
    with open_store(path, create=True) as store:
        daily(store, 2)
        assert store.attach(1, JPEG, most_bytes=1 << 20)
        assert (store.snapshot(1), store.snapshot(2)) == (JPEG, None)
    assert remains(path, [JPEG[:16], b"a picture"]) == []
    tamper(path, "UPDATE snapshots SET event_id = 2")
    with (
        open_store(path, readonly=True) as store,
        pytest.raises(StoreError, match="altered by somebody without the key"),
    ):
        store.snapshot(2)


def test_the_oldest_snapshots_give_way_and_go_with_their_events(path: Path) -> None:
    with open_store(path, create=True) as store:
        daily(store, 10)
        for event_id in range(1, 10):
            store.attach(event_id, JPEG, most_bytes=4 * len(JPEG))
        assert [event_id for event_id in range(1, 11) if store.snapshot(event_id)] == [7, 8, 9]
        assert not store.attach(10, JPEG, most_bytes=100)
        store.trim(START + timedelta(days=8))
        assert [event_id for event_id in range(1, 11) if store.snapshot(event_id)] == [9]


def test_erasing_somebody_removes_their_snapshots(path: Path) -> None:
    with open_store(path, create=True) as store:
        enrol(store, "Ada")
        event_id = store.record(Event("decision", subject="Ada", granted=True))
        store.attach(event_id, JPEG, most_bytes=1 << 20)
        [row] = store._rows("SELECT sealed FROM snapshots")
        store.erase("Ada", actor="pat")
        assert store.snapshot(event_id) is None
    assert remains(path, cut(row["sealed"])) == []


# -- another key -------------------------------------------------------------------------------------------------------


def test_another_key_opens_everything_and_the_old_one_nothing(path: Path, tmp_path: Path) -> None:
    key = tmp_path / "gate.key"
    with open_store(path, create=True) as store, open_store(path) as daemon:
        write_log(store, 12)
        store.attach(5, JPEG, most_bytes=1 << 20)
        anchor = store.anchor()
        before = [template.embedding.tobytes() for template in daemon.templates(MODEL)]
        old = key.read_text()
        sealed = [row["embedding"] for row in store._rows("SELECT embedding FROM templates")]
        for _ in range(3):
            name = store.change_key(actor="pat")
            daemon.record(Event("decision", granted=False))
        assert [template.embedding.tobytes() for template in daemon.templates(MODEL)] == before
        assert daemon.snapshot(5) == JPEG
        assert list(daemon.verify([anchor, daemon.anchor()])) == []
        assert [master.id.hex() for master in Keys(key).read()] == [name]
    assert remains(path, [piece for one in sealed for piece in cut(one)]) == []
    key.write_text(old)
    with open_store(path, readonly=True) as store, pytest.raises(StoreError, match="has no key"):
        store.templates(MODEL)


def test_what_was_tampered_with_is_found_after_a_change_of_keys_too(path: Path) -> None:
    with open_store(path, create=True) as store:
        write_log(store, 12)
        for sql in (
            "UPDATE events SET granted = 0 WHERE id = 5",
            "UPDATE subjects SET revoked_at = 'x' WHERE id = 2",
            "UPDATE events SET detail = '{}' WHERE id = (SELECT event_id FROM redactions)",
        ):
            tamper(path, sql)
        assert len(list(store.verify())) == 4
        store.change_key(actor="pat")
        assert len(list(store.verify())) == 4


def test_who_had_the_old_key_can_continue_no_log(path: Path, tmp_path: Path) -> None:
    """Nor write its past anew: every later link depends on it, under the new key."""
    from maskgate import chain

    with open_store(path, create=True) as store:
        write_log(store, 6)
        old = Keys(tmp_path / "gate.key").read()[0]
        store.change_key(actor="pat")
        last = store.last_id()
        [row] = store._rows("SELECT link FROM events WHERE id = ?", (last,))
        link = chain.link_of(row["link"], chain.digest_of(last + 1, ("2026", "d", *[None] * 9, "{}"), b"s" * 16))
        forged = chain.mac_of(old.subkey("chain"), last + 1, link)
        tamper(
            path,
            "INSERT INTO events (id, at, kind, detail, salt, link, mac) VALUES"
            f" ({last + 1}, '2026', 'd', '{{}}', x'{(b's' * 16).hex()}', x'{link.hex()}', x'{forged.hex()}')",
        )
        assert any(finding.id == last + 1 for finding in store.verify())


ROTATOR = """
import sys
from maskgate.store import open_store
with open_store(sys.argv[1], key=sys.argv[2]) as store:
    print("ready", flush=True)
    while True:
        store.change_key(actor="pat")
        print("changed", flush=True)
"""


def test_killed_at_any_moment_a_change_of_keys_leaves_a_key_that_opens_everything(path: Path, tmp_path: Path) -> None:
    key = tmp_path / "gate.key"
    with open_store(path, key=key, create=True) as store:
        write_log(store, 12)
        for event_id in range(1, 12):
            store.attach(event_id, JPEG, most_bytes=1 << 20)
    for number in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", ROTATOR, path, key], env=environment(), stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(number * 0.004)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with open_store(path, key=key) as store:
            assert len(store.templates(MODEL)) == 2
            assert {store.snapshot(event_id) for event_id in range(1, 12)} == {JPEG}
            assert list(store.verify()) == []
    with open_store(path, key=key) as store:
        store.change_key(actor="pat")
        assert len(Keys(key).read()) == 1
        assert store.snapshot(3) == JPEG
    assert not re.findall(r"next|new", " ".join(os.listdir(tmp_path)))
