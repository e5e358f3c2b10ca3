"""The gallery when something is wrong with its file, its disk, its owner, or its process: real files, real kills."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from maskgate import schema
from maskgate.schema import APPLICATION_ID, MIGRATIONS
from maskgate.store import Event, Store, open_store
from maskgate.values import MaskgateError, StoreError

NOBODY = 65534
MODEL = "a" * 64
DAEMON = Path(__file__).parent.parent / "daemon"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else or mount")


def enrol(store: Store, name: str, count: int = 1, *, size: int = 128) -> None:
    found = np.random.default_rng(len(name)).normal(size=(count, size)).astype(np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    store.enrol(name, [(embedding, {}) for embedding in found], model=MODEL, source="photo.jpg", actor="pat")


def refusal(path: Path, *, create: bool = False, readonly: bool = False) -> str:
    """Say with which line opening is refused."""
    with pytest.raises(StoreError) as refused, open_store(path, create=create, readonly=readonly):
        pass
    line = str(refused.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line.removeprefix(f"{path}: ")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.db"


@pytest.fixture
def shared() -> Iterator[Path]:
    """Make a folder everybody can reach; pytest's own are root's alone."""
    folder = Path(tempfile.mkdtemp(prefix="maskgate-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_nobody(act: Callable[[], object]) -> str:
    """Run `act` in a process of the user nobody; returns the error it ended with, empty for none."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        told = ""
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            act()
        except BaseException as error:
            told = f"{type(error).__name__}: {error}"
        os.write(writer, told.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return told


# -- what cannot be opened ---------------------------------------------------------------------------------------------


def test_what_is_missing_or_no_file_is_refused(tmp_path: Path, path: Path) -> None:
    assert refusal(path).startswith("there is no gallery yet")
    assert not path.exists()
    assert refusal(tmp_path, create=True).startswith("is a folder")
    assert refusal(tmp_path / "none" / "gallery.db", create=True).startswith("No such file or directory")
    path.touch()
    assert refusal(path).startswith("is empty")
    assert refusal(tmp_path / ("x" * 300), create=True).startswith("File name too long")
    assert refusal(path / "gallery.db").startswith("there is no gallery yet")
    assert refusal(path / "gallery.db", create=True).startswith("Not a directory")


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("content", [b"maskgate", b"\xff\xd8\xff\xe0 a photo" * 1000, b"SQLite format 3\0 or not" * 99])
def test_what_is_no_database_is_refused_and_left_alone(path: Path, content: bytes, create: bool) -> None:
    path.write_bytes(content)
    assert refusal(path, create=create).startswith("is not a gallery")
    assert path.read_bytes() == content


@pytest.mark.parametrize("create", [False, True])
def test_the_database_of_another_program_is_refused_and_left_alone(path: Path, create: bool) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE subjects (id INTEGER PRIMARY KEY, name TEXT)")
    other.close()
    content = path.read_bytes()
    assert refusal(path, create=create).startswith("is a database of another program")
    assert path.read_bytes() == content


@pytest.mark.parametrize("readonly", [False, True])
def test_a_newer_schema_is_refused_and_left_alone(path: Path, readonly: bool) -> None:
    with open_store(path, create=True) as store:
        enrol(store, "Ada")
    newer = sqlite3.connect(path)
    newer.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    newer.close()
    line = refusal(path, readonly=readonly)
    assert line.startswith(f"has schema {len(MIGRATIONS) + 1}, this maskgate knows up to {len(MIGRATIONS)}")
    assert sqlite3.connect(path).execute("SELECT name FROM subjects").fetchall() == [("Ada",)]


def test_a_damaged_gallery_is_told_in_one_line(path: Path) -> None:
    with open_store(path, create=True) as store:
        enrol(store, "Ada", 200)
    with path.open("r+b") as file:
        for page in range(2, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(random.Random(page).randbytes(64))
    with pytest.raises(StoreError, match=r"is damaged .*, restore a backup") as refused, open_store(path) as store:
        store.templates(MODEL)
    assert "\n" not in str(refused.value)


def test_an_empty_file_becomes_a_gallery_when_asked_to(path: Path) -> None:
    path.touch()
    with open_store(path, create=True) as store:
        enrol(store, "Ada")
    with open_store(path, create=True) as store:
        assert store.subject("Ada").templates == 1


# -- whose it is -------------------------------------------------------------------------------------------------------


@as_root
def test_what_may_not_be_read_or_written_is_refused(shared: Path) -> None:
    path = shared / "gallery.db"
    with open_store(path, create=True) as store:
        enrol(store, "Ada")

    def read() -> None:
        with open_store(path, readonly=True) as store:
            assert store.subjects()

    def write() -> None:
        with open_store(path):
            pass

    def make() -> None:
        with open_store(shared / "other.db", create=True):
            pass

    path.chmod(0o600)
    assert "gallery.db: cannot be opened, use sudo" in as_nobody(read)
    path.chmod(0o644)
    assert "gallery.db: read-only, use sudo" in as_nobody(write)
    assert "other.db: Permission denied, use sudo" in as_nobody(make)
    shared.chmod(0o700)
    assert "gallery.db: Permission denied, use sudo" in as_nobody(read)


@as_root
def test_root_leaves_every_file_to_the_owner_of_the_folder(shared: Path) -> None:
    os.chown(shared, NOBODY, NOBODY)
    shared.chmod(0o750)
    path = shared / "gallery.db"

    def owners() -> dict[str, tuple[int, int, str]]:
        found = [(file.name, file.stat()) for file in sorted(shared.iterdir())]
        return {name: (stat.st_uid, stat.st_gid, oct(stat.st_mode & 0o777)) for name, stat in found}

    expected = dict.fromkeys(("gallery.db", "gallery.db-shm", "gallery.db-wal"), (NOBODY, NOBODY, "0o640"))
    expected["gate.key"] = (NOBODY, NOBODY, "0o600")
    with open_store(path, create=True) as store:
        enrol(store, "Ada")
        assert owners() == expected

    def enrol_bo() -> None:
        with open_store(path) as store:
            enrol(store, "Bo")

    assert as_nobody(enrol_bo) == ""
    with open_store(path, readonly=True) as log, open_store(path) as store:
        assert len(log.templates(MODEL)) == 2
        store.erase("Bo", actor="root")
        assert owners() == expected
        assert as_nobody(enrol_bo) == ""
        assert len(log.templates(MODEL)) == 2


def test_only_the_owner_may_read_a_gallery_in_a_folder_of_the_owner_alone(tmp_path: Path) -> None:
    for mode, expected in ((0o700, 0o600), (0o755, 0o640), (0o770, 0o660)):
        folder = tmp_path / oct(mode)
        folder.mkdir()
        folder.chmod(mode)
        with open_store(folder / "gallery.db", create=True):
            modes = {file.stat().st_mode & 0o777 for file in folder.glob("gallery.db*")}
        assert modes == {expected}
        assert (folder / "gate.key").stat().st_mode & 0o777 == 0o600


# -- who else is at it -------------------------------------------------------------------------------------------------


def test_a_locked_gallery_is_waited_for_and_then_told(path: Path) -> None:
    with open_store(path, create=True) as store:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        assert refusal(path).startswith("locked by another process for 2 s")
        assert 1.5 < time.monotonic() - began < 6
        began = time.monotonic()
        with pytest.raises(StoreError, match="locked by another process for 2 s"):
            store.record(Event("decision", granted=True))
        assert 1.5 < time.monotonic() - began < 6
        assert [subject.name for subject in store.subjects()] == []
        holder.execute("ROLLBACK")
        assert store.record(Event("decision", granted=True)) == 1
        holder.close()


WRITER = """
import sys
from maskgate.store import Event, open_store
with open_store(sys.argv[1], create=True) as store:
    for number in range(int(sys.argv[2])):
        print(store.record(Event("decision", granted=False, reason=sys.argv[3])), flush=True)
"""


def writer(path: Path, count: int, reason: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(count), reason],
        env=os.environ | {"PYTHONPATH": str(DAEMON)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_several_processes_write_at_once_and_nothing_is_lost(path: Path) -> None:
    with open_store(path, create=True) as store:
        writers = [writer(path, 40, reason) for reason in ("one", "two", "three")]
        for number in range(20):
            enrol(store, f"Person {number}")
            store.erase(f"Person {number}", actor="pat")
        acknowledged = [int(line) for process in writers for line in process.communicate()[0].split()]
        assert {process.returncode for process in writers} == {0}
        kinds = [event.kind for event in store.events()]
        assert (kinds.count("decision"), kinds.count("enrolled"), kinds.count("erased")) == (120, 20, 20)
        assert len(set(acknowledged)) == 120


def test_killing_the_writer_loses_no_acknowledged_event(path: Path) -> None:
    acknowledged: list[int] = []
    dice = random.Random(1)
    for number in range(8):
        process = writer(path, 100_000, f"run {number}")
        assert process.stdout is not None
        acknowledged += [int(process.stdout.readline()) for _ in range(dice.randint(1, 60))]
        time.sleep(dice.random() / 50)
        process.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout.read().split("\n")[:-1]]
        process.wait()
    with open_store(path) as store:
        kept = [event.id for event in store.events()]
    assert len(acknowledged) > 100
    assert set(acknowledged) <= set(kept)
    assert len(kept) - len(acknowledged) <= 8  # at most the one that was being acknowledged, each time
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_every_commit_is_synced_and_every_deletion_overwritten(path: Path) -> None:
    with open_store(path, create=True) as store:
        pragmas = ("journal_mode", "synchronous", "secure_delete", "foreign_keys")
        assert [store._db.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas] == ["wal", 2, 1, 1]
        assert not store._db.conn.in_transaction


# -- where it lies -----------------------------------------------------------------------------------------------------


@as_root
def test_a_full_disk_refuses_and_a_freed_one_goes_on(shared: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", shared], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount here: {mounted.stderr.decode().strip()}")
    try:
        path, ballast = shared / "gallery.db", shared / "ballast"
        ballast.write_bytes(b"\0" * (512 << 10))
        with open_store(path, create=True) as store:
            enrol(store, "Ada", 2)
            recorded = fill_up(store)
            assert [event.id for event in store.events()] == list(range(1, recorded + 1))
            with pytest.raises(StoreError, match="the disk is full"):
                enrol(store, "Bo", 400)
            assert [subject.name for subject in store.subjects()] == ["Ada"]
        with ballast.open("ab") as file:
            subprocess.run(["cat", "/dev/zero"], stdout=file, stderr=subprocess.DEVNULL)
        with pytest.raises(StoreError, match="the disk is full"):
            record_one(path)
        ballast.unlink()
        with open_store(path) as store:
            assert store.record(Event("started")) == recorded + 1
            assert store.subject("Ada").templates == 2
    finally:
        subprocess.run(["umount", shared], check=True)


def record_one(path: Path) -> None:
    with open_store(path) as store:
        store.record(Event("started"))


def fill_up(store: Store) -> int:
    """Record until the disk is full; returns the id acknowledged last."""
    recorded = store.last_id()
    decision = Event("decision", granted=False, reason="unknown", detail={"note": "x" * 500})
    told = ""
    while not told and recorded < 10_000:
        try:
            recorded = store.record(decision)
        except StoreError as error:
            told = str(error)
    assert told.endswith("the disk is full, free some space")
    return recorded


@as_root
def test_a_read_only_disk_is_told(shared: Path) -> None:
    path = shared / "gallery.db"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", shared], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount here: {mounted.stderr.decode().strip()}")
    try:
        with open_store(path, create=True) as store:
            enrol(store, "Ada")
        subprocess.run(["mount", "-o", "remount,ro", shared], check=True)
        assert refusal(path).startswith("read-only")
        assert refusal(shared / "other.db", create=True).startswith("Read-only file system")
    finally:
        subprocess.run(["umount", shared], check=True)


def test_a_limit_on_file_size_is_an_error_and_nothing_is_half_written(path: Path) -> None:
    with open_store(path, create=True) as store:
        enrol(store, "Ada")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (256 * 1024, limits[1]))
        try:
            with pytest.raises(StoreError) as refused:
                enrol(store, "Bo", 1_000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert "\n" not in str(refused.value)
        assert [subject.name for subject in store.subjects()] == ["Ada"]
        enrol(store, "Bo", 1_000)
        assert len(store.templates(MODEL)) == 1_001


# -- older galleries ---------------------------------------------------------------------------------------------------


def older(path: Path, version: int) -> None:
    """Make a gallery as the maskgate of that schema left it, with somebody in it."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    for statements in MIGRATIONS[:version]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {version}")
    blob = np.eye(1, 128, dtype=np.float32).tobytes()
    at = "2026-01-01T00:00:00.000Z"
    connection.execute("INSERT INTO subjects (name, created_at) VALUES ('Ada', ?)", (at,))
    connection.execute(
        "INSERT INTO templates VALUES (1, 1, ?, '2026-01-01T00:00:00.000Z', 'a', '{}', ?)", (MODEL, blob)
    )
    connection.execute("INSERT INTO events (at, kind, subject_id, granted, detail) VALUES (?, 'd', 1, 1, '{}')", (at,))
    connection.close()


def tables(path: Path) -> list[tuple[str, str]]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").fetchall()
    connection.close()
    return found


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_an_older_gallery_is_brought_up_to_date_with_everybody_in_it(tmp_path: Path, path: Path, version: int) -> None:
    older(path, version)
    assert refusal(path, readonly=True).startswith("older than this maskgate")
    with open_store(path) as store:
        assert store.subject("Ada").last_granted_at == "2026-01-01T00:00:00.000Z"
        assert len(store.templates(MODEL)) == 1
        store.rename("Ada", "Ada Lovelace", actor="pat")
        assert store.subject("Ada Lovelace").formerly == ("Ada",)
        store.erase("Ada Lovelace", actor="pat")
    with open_store(tmp_path / "new.db", create=True):
        pass
    assert tables(path) == tables(tmp_path / "new.db")
    with open_store(path, readonly=True) as store:
        assert store.subjects() == []


def test_a_migration_that_fails_leaves_the_gallery_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older(path, 1)
    before = tables(path)
    broken = (*MIGRATIONS, ("CREATE TABLE later (id INTEGER)", "DROP TABLE templates", "CREATE TABLE nonsense"))
    monkeypatch.setattr(schema, "MIGRATIONS", broken)
    with pytest.raises(MaskgateError, match=r"syntax error|incomplete input"), open_store(path):
        pass
    monkeypatch.undo()
    assert tables(path) == before
    with open_store(path) as store:
        assert store.subject("Ada").templates == 1


def test_galleries_opened_at_once_are_made_and_migrated_once(path: Path) -> None:
    writers = [writer(path, 3, f"{number}") for number in range(6)]
    codes = [(process.communicate()[0], process.returncode) for process in writers]
    assert {code for _, code in codes} == {0}
    with open_store(path) as store:
        assert len(list(store.events())) == 18
