"""Open the gallery file, bring its tables up to date, run its transactions. Knows tables and failures, not subjects.

Writes go through `Database.execute` inside `transaction`, never through `Table.insert` or `executescript`: in
sqlite-utils 3 those commit the transaction around them, and half an enrolment would be durable.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias
from urllib.parse import quote

from maskgate.keys import sync_folder
from maskgate.seal import Unsealable
from maskgate.values import StoreError

APPLICATION_ID = int.from_bytes(b"mgat")
"""PRAGMA application_id of every gallery; `file` shows it too."""
PATIENCE_S = 2.0
"""How long a locked gallery is waited for."""
SYNCHRONOUS = "FULL"
"""In WAL mode: what was acknowledged is on the disk. Without it a power cut would lose the last events."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE subjects (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL UNIQUE,
            created_at TEXT NOT NULL,
            revoked_at TEXT,
            erased_at TEXT
        ) STRICT""",
        """CREATE TABLE templates (
            id INTEGER PRIMARY KEY,
            subject_id INTEGER NOT NULL REFERENCES subjects (id),
            model TEXT NOT NULL,
            created_at TEXT NOT NULL,
            source TEXT NOT NULL,
            detail TEXT NOT NULL,
            embedding BLOB NOT NULL
        ) STRICT""",
        "CREATE INDEX templates_by_subject ON templates (subject_id, model)",
        """CREATE TABLE events (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at TEXT NOT NULL,
            kind TEXT NOT NULL,
            subject_id INTEGER REFERENCES subjects (id),
            granted INTEGER,
            reason TEXT,
            score REAL,
            margin REAL,
            threshold REAL,
            masked REAL,
            live REAL,
            actor TEXT,
            detail TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX events_by_time ON events (at)",
        "CREATE INDEX events_by_subject ON events (subject_id, at, id, granted, reason) WHERE subject_id IS NOT NULL",
        "CREATE INDEX events_by_reason ON events (reason, at, id, granted) WHERE reason IS NOT NULL",
        "CREATE INDEX events_denied ON events (at) WHERE granted = 0",
    ),
    (
        """CREATE TABLE former_names (
            id INTEGER PRIMARY KEY,
            subject_id INTEGER NOT NULL REFERENCES subjects (id),
            name TEXT NOT NULL,
            until_at TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX former_names_by_subject ON former_names (subject_id)",
    ),
    (
        "ALTER TABLE subjects ADD COLUMN tag BLOB",
        "ALTER TABLE events ADD COLUMN salt BLOB",
        "ALTER TABLE events ADD COLUMN link BLOB",
        "ALTER TABLE events ADD COLUMN mac BLOB",
        "CREATE TABLE kept (name TEXT PRIMARY KEY, value TEXT NOT NULL, tag BLOB NOT NULL) STRICT",
        "CREATE TABLE redactions (event_id INTEGER PRIMARY KEY, digest BLOB NOT NULL, tag BLOB NOT NULL) STRICT",
        """CREATE TABLE snapshots (
            event_id INTEGER PRIMARY KEY,
            subject_id INTEGER,
            at TEXT NOT NULL,
            size INTEGER NOT NULL,
            sealed BLOB NOT NULL
        ) STRICT""",
    ),
)
"""What takes a gallery from one PRAGMA user_version to the next: append here, never edit what has been released.

AUTOINCREMENT: no id is ever given twice, so a log follower misses nothing and `erased-7` stays one person. An event
names its subject by id alone: erasing and renaming change one row and leave the log's own rows as they were written.
"""
SEALED_SINCE = 3
"""The first schema whose templates are sealed and whose log is a chain."""


class Database(Protocol):
    """An open gallery: sqlite-utils' own for who writes, and for who reads alone a `Reader`."""

    @property
    def conn(self) -> sqlite3.Connection:
        """The connection itself."""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Run one statement."""

    def close(self) -> None:
        """Let go of the file."""


class Reader(sqlite3.Connection):
    """A connection that is quickly there: sqlite-utils brings numpy, for which `maskgate log` has no time."""

    @property
    def conn(self) -> sqlite3.Connection:
        """The connection itself."""
        return self


Founding: TypeAlias = Callable[[Database], None]
"""What seals a gallery that is not yet, within the transaction that brings its tables up to date."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into one line that names the gallery and the way out."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {_way_out(path, error)}") from error
    except Unsealable as error:
        raise StoreError(f"{path}: {error}") from error


def _way_out(path: Path, error: sqlite3.Error) -> str:
    name: str = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"locked by another process for {PATIENCE_S:g} s, try again (`fuser -v {path}` shows by whom)"
    if name == "SQLITE_FULL" or (name.startswith("SQLITE_IOERR") and _is_full(path)):
        return "the disk is full, free some space"
    if name.startswith("SQLITE_READONLY") or os.statvfs(path.parent).f_flag & os.ST_RDONLY:
        return "read-only, use sudo or make the file, its folder and its disk writable"
    if name == "SQLITE_NOTADB":
        return "is not a gallery, name another file in store.path"
    if name.startswith("SQLITE_CORRUPT"):
        return f"is damaged ({error}), restore a backup"
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return "cannot be opened, use sudo or check who owns the file and its folder"
    return f"{error} ({name or type(error).__name__})"


def _is_full(path: Path) -> bool:
    disk = os.statvfs(path.parent)
    return disk.f_bavail * disk.f_frsize < 65536  # the -shm grows by 32 KiB, and reports no space as an I/O error


@contextmanager
def transaction(db: Database, path: Path) -> Iterator[None]:
    """All or nothing: durable when it ends, rolled back when it raises. IMMEDIATE, so waiting comes before reading."""
    with explained(path):
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
            db.execute("COMMIT")
        except BaseException:
            if db.conn.in_transaction:  # a full disk may have rolled back by itself
                db.execute("ROLLBACK")
            raise


@contextmanager
def snapshot(db: Database) -> Iterator[None]:
    """Read one state of the gallery throughout, whatever others write meanwhile."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("ROLLBACK")


def open_database(path: Path, *, create: bool, readonly: bool, founding: Founding) -> Database:
    """Open a gallery, migrated and ready; StoreError in one line for anything that is none or cannot be used."""
    _look(path, create=create)
    with explained(path):
        db = _connect(path, readonly=readonly)
        try:
            _prepare(db, path, create=create, readonly=readonly, founding=founding)
        except BaseException:
            db.close()
            raise
        return db


def _look(path: Path, *, create: bool) -> None:
    try:
        if path.is_dir():
            raise StoreError(f"{path}: is a folder, name a file in store.path")
        if not path.exists() and not create:
            raise StoreError(f"{path}: there is no gallery yet, `maskgate enrol` makes one")
        if not path.exists():
            _touch(path)
        if path.stat().st_size == 0 and not create:
            raise StoreError(f"{path}: is empty and not a gallery, remove it or name another file in store.path")
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}, use sudo or check store.path and its folder") from error


def _touch(path: Path) -> None:
    """Make the file as its folder has it: same owner, and the folder's group may do what it may in the folder."""
    folder = path.parent.stat()
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    except FileExistsError:
        return  # another process was faster
    try:
        if os.geteuid() == 0:
            os.fchown(handle, folder.st_uid, folder.st_gid)
        os.fchmod(handle, 0o600 | folder.st_mode & 0o060)
        os.fsync(handle)
    finally:
        os.close(handle)
    sync_folder(path)


def _connect(path: Path, *, readonly: bool) -> Database:
    uri = f"file:{quote(str(path.absolute()))}?mode={'ro' if readonly else 'rw'}"
    if readonly:
        return sqlite3.connect(uri, uri=True, timeout=PATIENCE_S, isolation_level=None, factory=Reader)
    from sqlite_utils import Database as Writer

    connection = sqlite3.connect(uri, uri=True, timeout=PATIENCE_S, isolation_level=None)
    return Writer(connection, recursive_triggers=False, execute_plugins=False)


def pragma(db: Database, name: str) -> int:
    """A PRAGMA's integer."""
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def _prepare(db: Database, path: Path, *, create: bool, readonly: bool, founding: Founding) -> None:
    _recognise(db, path, create=create)
    for setting in ("foreign_keys = ON", "secure_delete = ON", f"synchronous = {SYNCHRONOUS}"):
        db.execute(f"PRAGMA {setting}").fetchall()
    if readonly:
        if pragma(db, "user_version") < len(MIGRATIONS):
            raise StoreError(f"{path}: older than this maskgate, start the daemon once to bring it up to date")
        return
    db.execute("PRAGMA journal_mode = WAL").fetchall()
    with transaction(db, path):  # also what tells a read-only or locked gallery now rather than at the first visit
        _migrate(db, path, founding)


def _recognise(db: Database, path: Path, *, create: bool) -> None:
    version, application = pragma(db, "user_version"), pragma(db, "application_id")
    if create and (version, application) == (0, 0) and pragma(db, "schema_version") == 0:
        return
    if application != APPLICATION_ID:
        raise StoreError(f"{path}: is a database of another program, name another file in store.path")
    _refuse_newer(version, path)


def _refuse_newer(version: int, path: Path) -> None:
    if version > len(MIGRATIONS):
        ours = len(MIGRATIONS)
        raise StoreError(f"{path}: has schema {version}, this maskgate knows up to {ours}, install a newer maskgate")


def _migrate(db: Database, path: Path, founding: Founding) -> None:
    version = pragma(db, "user_version")  # asked again: another process may have migrated before our BEGIN
    _refuse_newer(version, path)
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            db.execute(statement)
    if version < SEALED_SINCE:
        founding(db)
    if version < len(MIGRATIONS):
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def copy_database(db: Database, path: Path, to: Path) -> None:
    """Copy a gallery into one new file without -wal, durably; the copy is of one moment. StoreError when that fails."""
    if to.exists():
        raise StoreError(f"{to}: exists already, name a new file")
    try:
        _touch(to)
    except OSError as error:
        raise StoreError(f"{to}: {error.strerror}, the gallery cannot be copied there") from error
    try:
        with explained(to):
            copy = sqlite3.connect(to, isolation_level=None)
            try:
                db.conn.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE").fetchall()
            finally:
                copy.close()
        sync_file(to)
    except BaseException:
        to.unlink(missing_ok=True)
        raise


def replace_tables(db: Database, other: Path) -> None:
    """Put the rows of another gallery of the same schema in place of these, within the open transaction."""
    db.execute("PRAGMA defer_foreign_keys = ON")
    source = sqlite3.connect(f"file:{quote(str(other.absolute()))}?mode=ro", uri=True, isolation_level=None)
    try:
        tables = source.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
        for (table,) in tables.fetchall():
            db.execute(f"DELETE FROM {table}")
            rows = source.execute(f"SELECT * FROM {table}")
            places = ", ".join("?" * len(rows.description))
            columns = ", ".join(column[0] for column in rows.description)
            db.conn.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", rows)
    finally:
        source.close()


def sync_file(file: Path) -> None:
    """Make a file and its name durable. Never the gallery itself: closing it would drop SQLite's locks on it."""
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    sync_folder(file)
