"""The key file: read, made, replaced. Outside of the gallery's folder, so that a copy of that folder opens nothing.

The file has a key a line, 64 hex digits, the newest first; a second one only while `maskgate key rotate` is at work.
With systemd the key can be a credential (`LoadCredentialEncrypted=gate.key:...`), which the service finds in a folder
that nobody else sees; then that counts, and the file need not exist.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from maskgate.seal import KEY_BYTES, Master
from maskgate.values import StoreError

CREDENTIAL = "gate.key"
_HEAD = "# maskgate: whoever has this and the gallery reads every template. `maskgate backup` keeps a copy of both.\n"
_PENDING = ".new"
"""A key whose first gallery is not sealed yet: after a power cut it is used, not replaced."""


class Keys:
    """The keys there are, read when one is wanted that is not known yet."""

    def __init__(self, path: Path) -> None:
        """Use the key file at `path`."""
        self.path = path
        self._known: dict[bytes, Master] = {}
        self._held: list[Master] = []

    @classmethod
    def holding(cls, secrets: Sequence[bytes]) -> Keys:
        """Return keys that are known without a file: those out of a backup."""
        keys = cls(Path("the backup"))
        keys._held = [Master(secret) for secret in secrets]
        return keys

    def add(self, secrets: Sequence[bytes], owner: Path) -> bool:
        """Add keys to the file, made if there is none; they count from now on. False when it has them all already."""
        had = self.read() if self.exists() else []
        new = [master for master in map(Master, secrets) if master.id not in {one.id for one in had}]
        if not had:
            _write(self.path, new, owner)
        elif new:
            self.replace([*new, *had])
        return bool(new)

    def put_aside(self, secrets: Sequence[bytes], aside: Path) -> None:
        """Leave only the first of these keys in the file; the others that it has go to the file `aside`."""
        kept = Master(secrets[0])
        others = [master for master in self.read() if master.id != kept.id]
        if others and _credential() is None:
            _write(aside, others, self.path)
            self.replace([kept])

    def find(self, key_id: bytes) -> Master:
        """Return the key with that id; StoreError when the file has no such key, or cannot be read."""
        if key_id not in self._known:
            self._known |= {master.id: master for master in self.read()}
        if key_id not in self._known:
            raise StoreError(
                f"{self.path}: has no key {key_id.hex()}, which the gallery is sealed with; put that key back"
            )
        return self._known[key_id]

    def exists(self) -> bool:
        """Tell whether there is a key that galleries may be sealed with already."""
        return _credential() is not None or os.path.exists(self.path)  # not Path's: that raises where one may not look

    def read(self) -> list[Master]:
        """Return all keys of the file, newest first; StoreError in one line when it cannot be used."""
        if self._held:
            return self._held
        place = _credential() or (self.path if self.path.exists() else self._pending)
        if place == self._pending and not place.exists():
            raise StoreError(f"{self.path}: the gallery's key is missing; put it back, or restore a backup")
        return _parsed(place, _text(place, private=place.parent != _credentials_folder()))

    def first(self, owner: Path) -> Master:
        """Return the newest key, or make the first: owned like the file `owner`, and pending until `settle`."""
        if not self.exists() and not self._pending.exists():
            _write(self._pending, [Master.fresh()], owner)
        master = self.read()[0]
        self._known[master.id] = master
        return master

    def settle(self) -> None:
        """Give a pending key its place: a gallery is sealed with it."""
        with suppress(OSError):  # the daemon may not write here; then it goes on with the pending one
            if not self._held and self._pending.exists() and not self.path.exists():
                _rename(self._pending, self.path)

    def replace(self, masters: Sequence[Master]) -> None:
        """Put these keys into the file, at once or not at all."""
        if _credential() is not None or not self.path.exists():
            raise StoreError(
                f"{self.path}: is no file that could be replaced; a credential is changed with systemd-creds"
            )
        beside = self.path.with_name(f"{self.path.name}.next")
        try:
            beside.unlink(missing_ok=True)
            _write(beside, masters, self.path)
            _rename(beside, self.path)
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}, the key cannot be changed; use sudo") from error
        self._known |= {master.id: master for master in masters}

    @property
    def _pending(self) -> Path:
        return self.path.with_name(self.path.name + _PENDING)


def _credentials_folder() -> Path | None:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(folder) if folder else None


def _credential() -> Path | None:
    folder = _credentials_folder()
    return folder / CREDENTIAL if folder is not None and (folder / CREDENTIAL).exists() else None


def _text(place: Path, *, private: bool) -> str:
    try:
        mode = place.stat().st_mode & 0o777
        if private and mode & 0o077:
            raise StoreError(f"{place}: mode is {mode:04o}, so others may read the key; run: chmod 600 {place}")
        return place.read_text(encoding="ascii")
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"{place}: {error.strerror}, the gallery's key cannot be read; use sudo") from error
    except UnicodeDecodeError:
        raise StoreError(f"{place}: is not a key file, must have {KEY_BYTES * 2} hex digits a line") from None


def _parsed(place: Path, text: str) -> list[Master]:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines or not all(re.fullmatch(rf"[0-9a-f]{{{KEY_BYTES * 2}}}", line) for line in lines):
        raise StoreError(f"{place}: is not a key file, must have {KEY_BYTES * 2} hex digits a line")
    return [Master(bytes.fromhex(line)) for line in lines]


def _write(place: Path, masters: Sequence[Master], owner: Path) -> None:
    """Make the file, durably, readable by the owner of `owner` alone."""
    try:
        who = owner.stat()
        handle = os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError as error:
        raise StoreError(f"{place}: {error.strerror}, the gallery's key cannot be made; use sudo") from error
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            if os.geteuid() == 0:
                os.fchown(handle, who.st_uid, who.st_gid)
            file.write(_HEAD + "".join(f"{master.secret.hex()}\n" for master in masters))
            file.flush()
            os.fsync(handle)
        sync_folder(place)
    except OSError as error:
        place.unlink(missing_ok=True)
        raise StoreError(f"{place}: {error.strerror}, the gallery's key cannot be made") from error


def _rename(source: Path, target: Path) -> None:
    os.replace(source, target)
    sync_folder(target)


def sync_folder(file: Path) -> None:
    """Make a file's name durable: on POSIX a new or renamed file may otherwise be gone after a power cut."""
    handle = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
