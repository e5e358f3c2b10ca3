"""A backup: gallery, rules and key in one encrypted file, from a running gate, verified whole before it replaces any.

    "maskgate backup 1\\n" || header, a line of JSON || chunks

Chunks of 1 MiB are sealed with AES-256-GCM under scrypt(passphrase, salt). A chunk's nonce is its number and whether it
is the last (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizar, 2015), and the header is authenticated
with each: nothing can be altered, left out, moved or cut off. Inside: a line of JSON with
the key and the rules, then the SQLite file.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import IO, Any

from maskgate.events import now_at
from maskgate.keys import Keys, sync_folder
from maskgate.seal import Unsealable, open_chunk, stream_cipher
from maskgate.store import Store, open_store
from maskgate.values import StoreError

MAGIC = b"maskgate backup 1\n"
BESIDE = ("rules.toml",)
"""Files beside the gallery that a backup keeps: the rules that the command has made."""
SHORTEST_PASSPHRASE = 10
"""Bytes; scrypt makes each guess cost a third of a second and 32 MiB, not the passphrase a good one."""
TRIES = 5
"""Copies that are begun anew because the gallery's key was changed meanwhile."""
_CHUNK = 1 << 20
_LONGEST_LINE = 4096
_SCRYPT = {"n": 1 << 15, "r": 8, "p": 3}
"""OWASP's password storage cheat sheet (2024): N = 2^15, r = 8, p = 3. Fits into a board with 512 MB."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds, as verified."""

    made_at: str
    people: int
    events: int
    database: Path
    """Its gallery, decrypted into a file that lives as long as the backup is held open."""
    keys: Keys
    secrets: tuple[bytes, ...]
    beside: dict[str, str]
    """Small files that lay beside the gallery, by their names."""


def make(store: Store, to: Path, passphrase: bytes) -> int:
    """Write a backup of an open gallery, which others may go on using; returns its size in bytes.

    It is read back and verified before it gets its name. StoreError when it cannot be made; then nothing is left of it.
    The file is its owner's alone, for it is worth what its passphrase is worth.
    """
    _check_passphrase(passphrase)
    try:
        # What is not encrypted as a whole stays on the disk of the gallery: no name is left on a stick to be found.
        with _folder_for(store.path) as home, _folder_for(to) as folder:
            copy, written = home / "copy", folder / "backup"
            secrets = _copied(store, copy)
            with (
                os.fdopen(os.open(written, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out,
                copy.open("rb") as database,
            ):
                _write(out, database, secrets, passphrase, _beside(store.path))
                out.flush()
                os.fsync(out.fileno())
            size = _sound_size(written, passphrase, store.path, to)
            os.replace(written, to)
        sync_folder(to)
    except OSError as error:
        raise _explained(to, error) from error
    return size


def _copied(store: Store, copy: Path) -> list[bytes]:
    """Copy the gallery; returns the keys that the copy is sealed with, though the key may be changed meanwhile."""
    for _ in range(TRIES):
        secrets = store.secrets()
        store.copy_to(copy)
        if store.secrets() == secrets:
            return secrets
        copy.unlink()
    raise StoreError(f"{store.path}: its key was changed {TRIES} times meanwhile; back up again when that is done")


def _sound_size(written: Path, passphrase: bytes, home: Path, to: Path) -> int:
    """Read back what was just written; returns its size, or says what is wrong with the gallery it was made from."""
    try:
        with opened(written, passphrase, beside=home):
            return written.stat().st_size
    except StoreError as error:
        raise StoreError(str(error).replace(str(written), f"{to} was not made")) from None


@contextmanager
def opened(file: Path, passphrase: bytes, *, beside: Path) -> Iterator[Backup]:
    """Hold a backup that was decrypted and verified to the last byte and the last event; StoreError for any other.

    It is decrypted into a folder next to `beside` that is gone afterwards: templates stay sealed there, names do not.
    """
    with _folder_for(beside) as folder:
        database = folder / "gallery.db"
        try:
            with file.open("rb") as source, database.open("xb") as out:
                about = _read(source, out, passphrase)
        except OSError as error:
            raise _explained(file, error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{file}: is not a whole backup of maskgate ({error})") from None
        secrets = tuple(base64.b64decode(secret) for secret in about["keys"])
        keys = Keys.holding(secrets)
        people, events = _verified(file, database, keys)
        lay = about.get("beside", {})
        texts = {name: str(lay[name]) for name in BESIDE if name in lay}
        yield Backup(about["made_at"], people, events, database, keys, secrets, texts)


def restore(backup: Backup, path: Path, key: Path, *, actor: str) -> Path | None:
    """Put a backup in a gallery's place, also of one in use; returns where that was copied to, None if none was there.

    A gallery that cannot be read is renamed, not copied. The key file has both keys until all is in place; then keys
    that open only what was put aside are put aside too.
    """
    keys = Keys(key)
    stamp = f"before-{datetime.now().strftime('%Y%m%d-%H%M%S')}"
    aside = path.with_name(f"{path.name}.{stamp}")
    was_there = path.exists()
    sound = was_there and _is_sound(path, key)
    keys.add(backup.secrets, path if was_there else path.parent)
    if was_there and not sound:
        _rename_all(path, aside)
    with open_store(path, key=key, create=True) as store:
        copy = aside if sound else None
        store.replace(backup.database, copy, backup.keys, actor=actor, detail={"made_at": backup.made_at})
    _put_beside(backup.beside, path)
    keys.put_aside(backup.secrets, key.with_name(f"{key.name}.{stamp}"))
    return aside if was_there else None


def _beside(path: Path) -> dict[str, str]:
    """What belongs to the gallery and lies beside it."""
    files = (path.with_name(name) for name in BESIDE)
    return {file.name: file.read_text("utf-8", "surrogateescape") for file in files if file.exists()}


def _put_beside(texts: dict[str, str], path: Path) -> None:
    """Put them beside a gallery that has none: what somebody is refused by now stays as it is."""
    owner = path.stat()
    for file, text in ((path.with_name(name), text) for name, text in texts.items()):
        try:
            handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as out:
                if os.geteuid() == 0:
                    os.fchown(handle, owner.st_uid, owner.st_gid)
                os.fchmod(handle, 0o600 | owner.st_mode & 0o040)
                out.write(text)
                out.flush()
                os.fsync(handle)
            sync_folder(file)
        except FileExistsError:
            continue
        except OSError as error:
            raise _explained(file, error) from error


def _verified(file: Path, database: Path, keys: Keys) -> tuple[int, int]:
    """Count people and events; StoreError unless the gallery opens, is sound, and its log is as it was written."""
    try:
        with open_store(database, keys=keys) as store:
            damage = store.damage()
            if damage:
                raise StoreError(f"{file}: the gallery in it is damaged: {damage}")
            for finding in store.verify():
                at = f"event {finding.id} " if finding.id else ""
                raise StoreError(f"{file}: the log in it was tampered with: {at}{finding.said}")
            return len(store.subjects()), store.count()
    except StoreError as error:
        raise StoreError(str(error).replace(str(database), f"{file}, the gallery in it")) from None


def _is_sound(path: Path, key: Path) -> bool:
    try:
        with open_store(path, key=key, readonly=True) as store:
            return store.damage() is None
    except StoreError:
        return False


def _rename_all(path: Path, to: Path) -> None:
    """Put a gallery that SQLite cannot copy out of the way, with what belongs to it."""
    try:
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.replace(f"{path}{suffix}", f"{to}{suffix}")
        sync_folder(path)
    except OSError as error:
        raise _explained(path, error) from error


@contextmanager
def _folder_for(file: Path) -> Iterator[Path]:
    """Hold a folder of our own on the same disk, readable by nobody else; gone afterwards."""
    try:
        folder = tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.absolute().parent)
    except OSError as error:
        raise _explained(file, error) from error
    with folder as name:
        yield Path(name)


def _explained(file: Path, error: OSError) -> StoreError:
    if isinstance(error, StoreError):
        return error
    return StoreError(f"{file}: {error.strerror or error}; check the path, the rights and the space on the disk")


# -- the file ----------------------------------------------------------------------------------------------------------


def _check_passphrase(passphrase: bytes) -> None:
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise StoreError(f"the passphrase has {len(passphrase)} bytes, must have at least {SHORTEST_PASSPHRASE}")


def _write(
    out: IO[bytes], database: IO[bytes], secrets: list[bytes], passphrase: bytes, beside: dict[str, str]
) -> None:
    salt = os.urandom(16)
    header = _line({"scrypt": _SCRYPT, "salt": salt.hex()})
    out.write(MAGIC + header)
    cipher = stream_cipher(_stretched(passphrase, salt, **_SCRYPT))
    kept = [base64.b64encode(secret).decode() for secret in secrets]
    about = _line({"made_at": now_at(), "keys": kept, "beside": beside})
    if len(about) > _CHUNK:
        raise StoreError(f"{', '.join(beside)}: too long for a backup, at most {_CHUNK:,} bytes are kept")
    part, number = about + database.read(_CHUNK - len(about)), 0
    while True:
        following = database.read(_CHUNK)
        out.write(cipher.encrypt(_nonce(number, last=not following), part, header))
        if not following:
            return
        part, number = following, number + 1


def _read(source: IO[bytes], out: IO[bytes], passphrase: bytes) -> dict[str, Any]:
    """Decrypt the SQLite file into `out`, return what is said before it; StoreError or ValueError for no backup."""
    if source.read(len(MAGIC)) != MAGIC:
        raise ValueError("it does not begin as one")
    header = source.readline(_LONGEST_LINE)
    described = json.loads(header)
    cipher = stream_cipher(_stretched(passphrase, bytes.fromhex(described["salt"]), **_bounded(described["scrypt"])))
    about: dict[str, Any] | None = None
    sealed = source.read(_CHUNK + 16)
    for number in count():
        following = source.read(_CHUNK + 16)
        part = _open(cipher, number, sealed, header, last=not following)
        if about is None:
            line, _, part = part.partition(b"\n")
            about = json.loads(line)
        out.write(part)
        if not following:
            break
        sealed = following
    out.flush()
    os.fsync(out.fileno())
    assert about is not None  # the loop runs once at least
    return about


def _open(cipher: Any, number: int, sealed: bytes, header: bytes, *, last: bool) -> bytes:
    try:
        return open_chunk(cipher, _nonce(number, last=last), sealed, header)
    except Unsealable:
        if number:
            raise ValueError(f"it was altered or cut off in its {number + 1}. MiB") from None
        raise ValueError("the passphrase is another, or it was altered") from None


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _bounded(scrypt: dict[str, Any]) -> dict[str, int]:
    """What a header may ask of this machine: a forged one must not take its memory or its day."""
    n, r, p = scrypt["n"], scrypt["r"], scrypt["p"]
    if (n, r) not in {(1 << power, 8) for power in range(14, 18)} or p not in range(1, 5):
        raise ValueError(f"scrypt is n {n}, r {r}, p {p}, must be n 2^14 to 2^17, r 8, p 1 to 4")
    return {"n": n, "r": r, "p": p}


def _stretched(passphrase: bytes, salt: bytes, *, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(passphrase, salt=salt, n=n, r=r, p=p, maxmem=1 << 28, dklen=32)


def _line(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode() + b"\n"
