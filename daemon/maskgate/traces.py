"""Search the gallery's files, byte by byte, for what was erased. Reads files; changes none."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from maskgate.values import StoreError

SHORTEST = 4
"""Bytes a pattern needs to mean anything: shorter ones stand in any file by chance."""
_PIECE = 32
_BLOCK = 8 << 20


def pieces(embedding: bytes) -> list[bytes]:
    """Patterns that find any remaining run of 63 bytes: SQLite may have overwritten a part of a freed page.

    Pieces that repeat one number are left out: a zeroed page would match them.
    """
    cuts = [embedding[start : start + _PIECE] for start in range(0, len(embedding) - _PIECE + 1, _PIECE)]
    return [cut for cut in cuts if cut != cut[:4] * (_PIECE // 4)]


def gallery_files(path: Path) -> list[Path]:
    """The file and the two that SQLite keeps beside it, as far as they exist."""
    return [file for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")) if file.exists()]


def find(path: Path, patterns: Sequence[bytes], living: Sequence[bytes] = ()) -> list[bytes]:
    """Those patterns that stand anywhere in the gallery's files, other than inside one of the `living` values."""
    found: set[bytes] = set()
    for file in gallery_files(path):
        for window, first, end in _windows(file, max(map(len, (*patterns, *living)), default=0)):
            left = [pattern for pattern in patterns if pattern not in found]
            found.update(pattern for pattern in left if _is_in(window, first, end, pattern, living))
    return [pattern for pattern in patterns if pattern in found]


def _windows(file: Path, margin: int) -> Iterator[tuple[bytes, int, int]]:
    """The file in overlapping windows, and from where to where a hit may start for all around it to be in sight."""
    window, first = b"", 0
    for block in _blocks(file):
        window += block
        end = max(first, len(window) - margin)
        yield window, first, end
        cut = max(0, end - margin)
        window, first = window[cut:], end - cut
    yield window, first, len(window)


def _blocks(file: Path) -> Iterator[bytes]:
    # By another process: closing a file here drops every POSIX lock this process holds on it, SQLite's own included,
    # and the next program to close the gallery would then delete the -wal under our feet.
    with subprocess.Popen(["cat", "--", str(file)], stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        while block := reader.stdout.read(_BLOCK):
            yield block
    if reader.returncode:
        raise StoreError(f"{file}: cannot be read back, so erasing is not proven; check the disk and erase again")


def _is_in(window: bytes, first: int, end: int, pattern: bytes, living: Iterable[bytes]) -> bool:
    """Whether a hit starts in [first, end) that no living value covers."""
    inside = [(value, offset) for value in living for offset in _hits(value, pattern, 0, len(value))]
    return any(
        not any(hit >= offset and window.startswith(value, hit - offset) for value, offset in inside)
        for hit in _hits(window, pattern, first, end)
    )


def _hits(data: bytes, pattern: bytes, first: int, end: int) -> Iterator[int]:
    hit = data.find(pattern, first)
    while 0 <= hit < end:
        yield hit
        hit = data.find(pattern, hit + 1)
