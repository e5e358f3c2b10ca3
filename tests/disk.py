"""A disk that remembers every write and sync that SQLite makes, and what could be on it after a power cut.

SQLite's own VFS does the work; between it and SQLite stand callbacks for opening, writing, truncating, syncing and
deleting, put there by `ctypes` into the library that Python's `sqlite3` is linked to. The real store runs, unchanged.

What is assumed of the disk, and no more:

- what was synced stays; the first sync of a new file syncs its folder too (SQLite does that), which makes the new name
  and every deletion before it durable; until then either may be on the disk or not;
- of what was not synced since, each 512-byte sector is on the disk in any of the versions it had, independent of all
  others: lost, torn and reordered writes; the file has any of the sizes it had;
- a sector is written whole or not at all, and writing it harms no other (SQLITE_IOCAP_POWERSAFE_OVERWRITE).
"""

from __future__ import annotations

import ctypes
import random
import re
import sqlite3
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECTOR = 512
NAME = b"maskgate-remembering"


@dataclass(frozen=True, slots=True)
class Op:
    """One thing that happened, in its order."""

    kind: str
    """"write", "truncate", "sync", "delete", "create", or "mark"."""
    path: str = ""
    at: int = 0
    data: bytes = b""
    said: Any = None
    """What a mark says."""


class _File(Structure):
    _fields_ = (("methods", c_void_p),)


_METHODS = ("close", "read", "write", "truncate", "sync")


class _Methods(Structure):
    """sqlite3_io_methods, version 3: an int and 18 functions."""

    _fields_ = (("version", c_int), *((name, c_void_p) for name in _METHODS), ("rest", c_void_p * 13))


class _Vfs(Structure):
    """sqlite3_vfs, version 3."""

    _fields_ = (
        ("version", c_int),
        ("file_size", c_int),
        ("longest", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", c_void_p),
        ("delete", c_void_p),
        ("rest", c_void_p * 14),
    )


_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, POINTER(_File), c_int, c_void_p)
_DELETE = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
_CLOSE = CFUNCTYPE(c_int, c_void_p)
_WRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)


def library() -> ctypes.CDLL | None:
    """The SQLite that Python's `sqlite3` runs on; None where it is built in and cannot be reached."""
    sqlite3.connect(":memory:").close()
    mapped = re.search(r"\S*/libsqlite3\.so\S*", Path("/proc/self/maps").read_text())
    return ctypes.CDLL(mapped[0]) if mapped else None


class Recorder:
    """SQLite's default VFS while it is held: everything under `folder` is remembered in `ops`."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.ops: list[Op] = []
        found = library()
        assert found is not None
        self._sqlite = found
        self._sqlite.sqlite3_vfs_find.restype = POINTER(_Vfs)
        self._real = self._sqlite.sqlite3_vfs_find(None)
        self._paths: dict[int, str] = {}
        self._tables: dict[int, tuple[_Methods, _Methods, list[Any]]] = {}
        self._vfs = _Vfs.from_buffer_copy(self._real.contents)
        self._vfs.name = NAME
        self._callbacks = [_OPEN(self._open), _DELETE(self._delete)]
        self._vfs.open, self._vfs.delete = (ctypes.cast(one, c_void_p).value for one in self._callbacks)
        self._real_open = _OPEN(self._real.contents.open)
        self._real_delete = _DELETE(self._real.contents.delete)

    def __enter__(self) -> Recorder:
        assert self._sqlite.sqlite3_vfs_register(ctypes.byref(self._vfs), 1) == 0
        return self

    def __exit__(self, *_: object) -> None:
        self._sqlite.sqlite3_vfs_register(self._real, 1)
        self._sqlite.sqlite3_vfs_unregister(ctypes.byref(self._vfs))

    def mark(self, said: Any) -> None:
        """Note what the program knows at this moment."""
        self.ops.append(Op("mark", said=said))

    def _open(self, vfs: int, name: int | None, file: Any, flags: int, out: int | None) -> int:
        path = ctypes.string_at(name).decode() if name else ""
        known = path.startswith(self.folder)
        is_new = known and not Path(path).exists()
        code: int = self._real_open(vfs, name, file, flags, out)
        if code == 0 and known:
            if is_new:
                self.ops.append(Op("create", path))
            self._paths[ctypes.addressof(file.contents)] = path
            file.contents.methods = ctypes.addressof(self._table(file.contents.methods))
        return code

    def _table(self, address: int) -> _Methods:
        """SQLite's own functions, but ours for those that change a file."""
        if address not in self._tables:
            real = _Methods.from_address(address)
            ours = _Methods.from_buffer_copy(real)
            callbacks: list[Any] = [
                _CLOSE(self._closing(_CLOSE(real.close))),
                _WRITE(self._writing(_WRITE(real.write))),
                _TRUNCATE(self._truncating(_TRUNCATE(real.truncate))),
                _SYNC(self._syncing(_SYNC(real.sync))),
            ]
            ours.close, ours.write, ours.truncate, ours.sync = (ctypes.cast(one, c_void_p).value for one in callbacks)
            self._tables[address] = (ours, real, callbacks)
        return self._tables[address][0]

    def _closing(self, real: Callable[[int], int]) -> Callable[[int], int]:
        def close(file: int) -> int:
            self._paths.pop(file, None)
            return real(file)

        return close

    def _writing(self, real: Callable[[int, int, int, int], int]) -> Callable[[int, int, int, int], int]:
        def write(file: int, data: int, size: int, at: int) -> int:
            code = real(file, data, size, at)
            if code == 0:
                self.ops.append(Op("write", self._paths[file], at, ctypes.string_at(data, size)))
            return code

        return write

    def _truncating(self, real: Callable[[int, int], int]) -> Callable[[int, int], int]:
        def truncate(file: int, size: int) -> int:
            code = real(file, size)
            if code == 0:
                self.ops.append(Op("truncate", self._paths[file], size))
            return code

        return truncate

    def _syncing(self, real: Callable[[int, int], int]) -> Callable[[int, int], int]:
        def sync(file: int, flags: int) -> int:
            code = real(file, flags)
            if code == 0:
                self.ops.append(Op("sync", self._paths[file]))
            return code

        return sync

    def _delete(self, vfs: int, name: bytes, sync_folder: int) -> int:
        code: int = self._real_delete(vfs, name, sync_folder)
        if code == 0 and name.decode().startswith(self.folder):
            self.ops.append(Op("delete", name.decode()))
        return code


@dataclass(slots=True)
class _Contents:
    """One file: what is surely on the disk, and what has been written since."""

    durable: bytes | None
    """None for a file whose name is not durable yet."""
    pending: list[Op] = field(default_factory=list)
    before: bytes | None = None
    """What a file of the same name held, whose deletion may not have reached the disk."""
    deleted: bool = False


class Disk:
    """What is on the disk after some of the ops, as far as anything is sure."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = {path: _Contents(data) for path, data in files.items()}

    def apply(self, op: Op) -> None:
        """Let an op happen."""
        if op.kind == "mark":
            return
        file = self._files.setdefault(op.path, _Contents(None))
        if op.kind == "create":
            before = file.durable if file.deleted else None
            self._files[op.path] = _Contents(None, before=before)
        elif op.kind == "delete":
            file.deleted = True
        elif op.kind == "sync":
            data = bytearray(file.durable or b"")
            for one in file.pending:
                _whole(data, one)
            if file.durable is None:  # SQLite syncs the folder with the first sync of a new file in it
                self._files = {path: one for path, one in self._files.items() if not one.deleted}
            self._files[op.path] = _Contents(bytes(data))
        else:
            file.pending.append(op)

    def after_a_cut(self, dice: random.Random) -> dict[str, bytes]:
        """One of the many contents that the disk may have if the power fails now."""
        found: dict[str, bytes] = {}
        for path, file in self._files.items():
            if file.deleted and dice.random() < 0.5:
                continue
            if file.durable is None and dice.random() < 0.3:  # the name of a new file was not durable
                if file.before is not None:
                    found[path] = file.before
                continue
            found[path] = _torn(file.durable or b"", file.pending, dice)
        return found


def _whole(data: bytearray, op: Op) -> None:
    if op.kind == "truncate":
        del data[op.at :]
        return
    if op.at > len(data):
        data.extend(bytes(op.at - len(data)))
    data[op.at : op.at + len(op.data)] = op.data


def _torn(durable: bytes, pending: list[Op], dice: random.Random) -> bytes:
    """Each sector in one of the versions that it had since the last sync; the size one of those the file had."""
    if not pending:
        return durable
    versions: dict[int, list[bytes]] = {}
    data, sizes = bytearray(durable), [len(durable)]
    for op in pending:
        _whole(data, op)
        sizes.append(len(data))
        if op.kind == "write":
            for sector in range(op.at // SECTOR, (op.at + len(op.data) - 1) // SECTOR + 1):
                versions.setdefault(sector, []).append(bytes(data[sector * SECTOR : (sector + 1) * SECTOR]))
    how = dice.random()
    size = sizes[-1] if how < 0.5 else dice.choice(sizes)
    result = bytearray(durable[:size].ljust(size, b"\0"))
    kept = dice.choice((0.0, 0.05, 0.5, 0.95, 1.0))
    for sector, had in versions.items():
        if dice.random() < kept:
            version = had[-1] if dice.random() < 0.7 else dice.choice(had)
            at = sector * SECTOR
            if at < size:
                result[at : at + len(version)] = version
    return bytes(result[:size])
