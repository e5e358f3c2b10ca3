"""Laws of the store under power cuts: the real store on SQLite, on a disk that keeps of unsynced writes what it likes.

`make prove` tries them at full size; `test_power.py` a share. What is assumed of the disk is said in `disk.py`.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from disk import Disk, Op, Recorder
from maskgate import backup, erasure
from maskgate.events import stamp
from maskgate.keys import Keys
from maskgate.store import Event, Store, open_store
from test_store_faults import MODEL, older
from worlds import person

JPEG = b"\xff\xd8\xff\xe0 picture " * 60
SECRET = b"correct horse battery"
SHM = Path("/dev/shm")
"""In memory where there is such a place: what a disk would do is simulated, so none need be waited for."""


@dataclass(slots=True)
class Life:
    """What a gate went through, told as what its disk was asked to do."""

    folder: Path
    files: dict[str, bytes]
    ops: list[Op]


@dataclass(slots=True)
class Known:
    """What had been acknowledged when the power failed."""

    events: set[int] = field(default_factory=set)
    opened: set[int] = field(default_factory=set)
    """Events of grants that moved the relay."""
    people: dict[str, int | None] = field(default_factory=dict)
    """Templates of each, None while it is being changed; 0 for who was erased or revoked."""
    gone: list[bytes] = field(default_factory=list)
    """What erasing has proved to be on the disk no more."""
    pictures: dict[int, bool] = field(default_factory=dict)
    keys: list[dict[str, str]] = field(default_factory=list)
    """What may be in the key file, by its name."""
    replaced: bool = False
    """From when on a restored backup may have taken the place of the events before."""

    def learn(self, said: tuple[Any, ...]) -> None:
        """Take a mark in."""
        what, *rest = said
        if what == "event":
            self.events.add(rest[0])
        elif what == "opened":
            self.opened.add(rest[0])
        elif what == "people":
            self.people |= rest[0]
        elif what == "gone":
            self.gone += rest[0]
        elif what == "picture":
            self.pictures[rest[0]] = True
        elif what == "pictures unsure":
            self.pictures.clear()
        elif what == "keys":
            self.keys = rest[0]
        elif what == "replacing":
            self.replaced = True
            self.pictures.clear()
            self.people = dict.fromkeys(self.people)
        else:
            raise AssertionError(said)


class Gate:
    """A store, with a note of all that it acknowledges."""

    def __init__(self, recorder: Recorder, store: Store, dice: random.Random) -> None:
        self.recorder, self.store, self.dice = recorder, store, dice
        self.people: dict[str, int] = {}
        self.day = 0

    def record(self, count: int = 1) -> None:
        for _ in range(count):
            self.day += 1
            who = self.dice.choice([None, *[name for name, templates in self.people.items() if templates]])
            at = stamp(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=self.day))
            detail = {"next": self.dice.choice(["", *self.people]), "filler": "x" * self.dice.choice((0, 0, 300, 5000))}
            event_id = self.store.record(
                Event("decision", at=at, subject=who, granted=who is not None, reason="r", score=0.5, detail=detail)
            )
            self.recorder.mark(("event", event_id))
            if who:
                self.recorder.mark(("opened", event_id))
            elif self.dice.random() < 0.3:
                self.store.attach(event_id, JPEG, most_bytes=1 << 20)
                self.recorder.mark(("picture", event_id))

    def enrol(self, name: str, count: int) -> None:
        shots = [(person(hash((name, number)) % 1_000_000), {}) for number in range(count)]
        with self.changing(name, self.people.get(name, 0) + count):
            self.store.enrol(name, shots, model=MODEL, source="photo", actor="pat")

    def revoke(self, name: str) -> None:
        with self.changing(name, 0):
            self.store.revoke(name, actor="pat")

    def erase(self, name: str) -> None:
        rows = self.store._rows(
            "SELECT embedding FROM templates JOIN subjects AS s ON s.id = subject_id WHERE name = ?", [name]
        )
        with self.changing(name, 0):
            self.recorder.mark(("pictures unsure",))
            self.store.erase(name, actor="pat")
        self.recorder.mark(("gone", [row["embedding"][at : at + 32] for row in rows for at in range(0, 512, 32)]))
        del self.people[name]

    def trim(self, days: int) -> None:
        self.recorder.mark(("pictures unsure",))
        self.store.trim(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=days))

    @contextmanager
    def changing(self, name: str, templates: int) -> Iterator[None]:
        self.recorder.mark(("people", {name: None}))
        yield
        self.people[name] = templates
        self.recorder.mark(("people", {name: templates}))


@contextmanager
def remembered(folder: Path) -> Iterator[Recorder]:
    """Remember also what the store asks of the disk without SQLite: the key file, and the sync of an emptied -wal."""
    replace, settle, sync_file = Keys.replace, Keys.settle, erasure.sync_file

    def replacing(self: Keys, masters: Any) -> None:
        before, after = self.path.read_text(), "".join(f"{master.secret.hex()}\n" for master in masters)
        recorder.mark(("keys", [{"gate.key": before}, {"gate.key": after}]))
        replace(self, masters)
        recorder.mark(("keys", [{"gate.key": after}]))

    def settling(self: Keys) -> None:
        pending = self.path.with_name("gate.key.new")
        if pending.exists():
            text = pending.read_text()
            recorder.mark(("keys", [{"gate.key.new": text}, {"gate.key": text}]))
        settle(self)
        if self.path.exists():
            recorder.mark(("keys", [{"gate.key": self.path.read_text()}]))

    def syncing(file: Path) -> None:
        sync_file(file)
        recorder.ops.append(Op("sync", str(file)))

    with Recorder(folder) as recorder:
        Keys.replace, Keys.settle, erasure.sync_file = replacing, settling, syncing  # type: ignore[method-assign]
        try:
            yield recorder
        finally:
            Keys.replace, Keys.settle, erasure.sync_file = replace, settle, sync_file  # type: ignore[method-assign]


def everyday(seed: int) -> Life:
    """Enrol, open, refuse, keep pictures, revoke, erase, trim, change the key, stop and start: for some weeks."""
    dice = random.Random(seed)
    folder = Path(tempfile.mkdtemp(dir=SHM if SHM.is_dir() else None))
    path, key = folder / "gallery.db", folder / "gate.key"
    keys = Keys(key)
    keys.first(folder)
    keys.settle()
    with remembered(folder) as recorder:
        recorder.mark(("keys", [{"gate.key": key.read_text()}]))
        recorder.ops.append(Op("create", str(path)))
        recorder.ops.append(Op("sync", str(path)))
        gate = None
        for start in range(3):
            with open_store(path, key=key, create=True) as store:
                store._db.execute(f"PRAGMA wal_autocheckpoint = {dice.choice((8, 40, 1000))}")
                gate = gate or Gate(recorder, store, dice)
                gate.store = store
                gate.enrol(f"Person {start}", dice.randint(1, 6))
                gate.record(dice.randint(3, 8))
                gate.enrol(f"Guest {start}", 2)
                gate.record(dice.randint(1, 5))
                dice.choice((gate.revoke, gate.erase))(f"Guest {start}")
                gate.record(2)
                if dice.random() < 0.6:
                    gate.trim(gate.day - 8)
                    gate.record(2)
                if dice.random() < 0.6:
                    store.change_key(actor="pat")
                    gate.record(2)
    return Life(folder, {}, recorder.ops)


def migrating(seed: int) -> Life:
    """Bring a gallery from before the key up to date, then go on."""
    dice = random.Random(seed)
    folder = Path(tempfile.mkdtemp(dir=SHM if SHM.is_dir() else None))
    path, key = folder / "gallery.db", folder / "gate.key"
    older(path, 1 + seed % 2)
    plain = person(seed).tobytes()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE templates SET embedding = ?", (plain,))
    db.close()
    before = path.read_bytes()
    with remembered(folder) as recorder:
        made = Keys(key).first(path)  # opening would make it: here, so that every cut comes after
        recorder.mark(("keys", [{"gate.key.new": f"{made.secret.hex()}\n"}]))
        recorder.mark(("event", 1))
        recorder.mark(("people", {"Ada": 1}))
        with open_store(path, key=key) as store:
            recorder.mark(("gone", [plain[at : at + 32] for at in range(0, 512, 32)]))
            gate = Gate(recorder, store, dice)
            gate.people["Ada"] = 1
            gate.record(3)
    return Life(folder, {str(path): before}, recorder.ops)


def restoring(seed: int) -> Life:
    """Put a backup in the place of a gallery in use."""
    dice = random.Random(seed)
    folder = Path(tempfile.mkdtemp(dir=SHM if SHM.is_dir() else None))
    path, key = folder / "gallery.db", folder / "gate.key"
    away = Path(tempfile.mkdtemp(dir=folder.parent))
    with open_store(path, key=key, create=True) as store:
        silent = Gate(Recorder(away), store, dice)
        silent.enrol("Ada", 2)
        silent.record(4)
        backup.make(store, away / "backup", SECRET)
    before = path.read_bytes()
    with remembered(folder) as recorder:
        recorder.mark(("keys", [{"gate.key": key.read_text()}]))
        for event_id in range(1, 6):
            recorder.mark(("event", event_id))
        recorder.mark(("people", {"Ada": 2}))
        with open_store(path, key=key) as store:
            gate = Gate(recorder, store, dice)
            gate.record(3)
        with backup.opened(away / "backup", SECRET, beside=away / "x") as found:
            recorder.mark(("replacing",))
            backup.restore(found, path, key, actor="pat")
        with open_store(path, key=key) as store:
            gate.store = store
            gate.record(3)
    shutil.rmtree(away)
    return Life(folder, {str(path): before}, recorder.ops)


def cuts(life: Life, number: int, seed: int) -> int:
    """Cut the power `number` times during a life, and hold each disk that may be left against what was acknowledged."""
    dice = random.Random(seed)
    moments = sorted(dice.choices(range(1, len(life.ops) + 1), k=number))
    disk, known, done = Disk(life.files), Known(), 0
    for moment in moments:
        for op in life.ops[done:moment]:
            disk.apply(op)
            if op.kind == "mark":
                known.learn(op.said)
        done = moment
        state = dice.getstate()
        files = disk.after_a_cut(dice)
        try:
            hold(life, files, known, dice.choice(known.keys))
        except BaseException as error:
            raise AssertionError(f"{error!r} at op {moment} of {len(life.ops)}, dice {hash(state)}") from error
    return number


def hold(life: Life, files: dict[str, bytes], known: Known, key: dict[str, str]) -> None:
    """Start the real store on what the disk holds, and check it."""
    folder = Path(tempfile.mkdtemp(dir=life.folder.parent))
    try:
        for path, data in files.items():
            if Path(path).name.startswith("gallery.db") and "before" not in path:
                (folder / Path(path).name).write_bytes(data)
        for name, text in key.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o600)
        raw = b"".join(file.read_bytes() for file in folder.glob("gallery.db*"))
        assert not [piece for piece in known.gone if piece in raw], "erased bytes are back"
        with open_store(folder / "gallery.db", key=folder / "gate.key", create=True) as store:
            held = {event.id for event in store.events(after_id=0)}
            [cut] = store._rows("SELECT json_extract(value, '$.id') AS id FROM kept WHERE name = 'cut'")
            if not known.replaced or "restored" not in {event.kind for event in store.events()}:
                lost = {event_id for event_id in known.events if event_id > cut["id"]} - held
                assert not lost, f"acknowledged events {lost} are lost"
                assert {event_id for event_id in known.opened if event_id > cut["id"]} <= held
            assert store.damage() is None
            assert [str(finding) for finding in store.verify()] == []
            templates = [template.subject for template in store.templates(MODEL)]
            for name, count in known.people.items():
                assert count is None or templates.count(name) == count, (name, count, templates)
            for event_id in known.pictures:
                assert store.snapshot(event_id) == JPEG
            assert store.record(Event("started")) > max(known.events, default=0) or known.replaced
    finally:
        shutil.rmtree(folder)


def lives(make: Callable[[int], Life], number: int, per_life: int) -> int:
    """Live as often as it takes, with so many cuts in each life."""
    tried = 0
    for seed in range(max(1, -(-number // per_life))):
        life = make(seed)
        try:
            tried += cuts(life, min(per_life, number - tried), seed)
        finally:
            shutil.rmtree(life.folder)
    return tried


def laws(share: float = 1.0) -> Iterable[tuple[str, Callable[[], int]]]:
    """Each law in words, and what tries it."""
    whole = "no power cut loses an acknowledged event, damages the gallery, opens unrecorded or brings the erased back"
    yield f"{whole} (everyday life)", lambda: lives(everyday, max(60, int(9000 * share)), 300)
    yield f"{whole} (bringing an older gallery up to date)", lambda: lives(migrating, max(20, int(700 * share)), 100)
    yield f"{whole} (restoring a backup)", lambda: lives(restoring, max(20, int(700 * share)), 100)
