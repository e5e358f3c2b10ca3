"""Search the gallery's files, byte by byte, for what was erased. Reads files; changes none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maskgate.values import StoreError

if TYPE_CHECKING:
    # At run time only where something is searched for: who reads the log alone has no time for numpy.
    import numpy as np
    from numpy.typing import NDArray

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
    """Those patterns that stand anywhere in the gallery's files, other than inside one of the `living` values.

    Patterns of `SHORTEST` bytes or more, else ValueError.
    """
    by_head: dict[bytes, list[bytes]] = {}
    for pattern in patterns:
        if len(pattern) < SHORTEST:
            raise ValueError(f"{pattern!r} stands in any file, only {SHORTEST} bytes or more can be searched for")
        by_head.setdefault(pattern[:SHORTEST], []).append(pattern)
    found: set[bytes] = set()
    for file in gallery_files(path):
        for window, first, end in _windows(file, max(map(len, (*patterns, *living)), default=0)):
            for hit in _candidates(window, first, end, list(by_head)):
                for pattern in by_head.get(window[hit : hit + SHORTEST], ()):
                    if window.startswith(pattern, hit) and not _covered(window, hit, pattern, living):
                        found.add(pattern)
    return [pattern for pattern in patterns if pattern in found]


def _candidates(window: bytes, first: int, end: int, heads: Sequence[bytes]) -> list[int]:
    """Where in [first, end) one of the heads may start: all of them in one pass, however many there are."""
    import numpy as np

    data = np.frombuffer(window, np.uint8)
    end = max(first, min(end, len(data) - SHORTEST + 1))
    starts = first + np.flatnonzero(_table(heads, 0)[_pairs(data[first:end], data[first + 1 : end + 1])])
    starts = starts[_table(heads, 2)[_pairs(data[starts + 2], data[starts + 3])]]
    return [int(start) for start in starts]


def _pairs(high: NDArray[np.uint8], low: NDArray[np.uint8]) -> NDArray[np.uint16]:
    import numpy as np

    return (high.astype(np.uint16) << np.uint16(8)) | low


def _table(heads: Sequence[bytes], at: int) -> NDArray[np.bool_]:
    """For each pair of bytes, whether some head has it at `at`."""
    import numpy as np

    known = np.zeros(1 << 16, np.bool_)
    known[[int.from_bytes(head[at : at + 2], "big") for head in heads]] = True
    return known


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
    import subprocess

    # By another process: closing a file here drops every POSIX lock this process holds on it, SQLite's own included,
    # and the next program to close the gallery would then delete the -wal under our feet.
    with subprocess.Popen(["cat", "--", str(file)], stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        while block := reader.stdout.read(_BLOCK):
            yield block
    if reader.returncode:
        raise StoreError(f"{file}: cannot be read back, so erasing is not proven; check the disk and erase again")


def _covered(window: bytes, hit: int, pattern: bytes, living: Sequence[bytes]) -> bool:
    """Whether the pattern stands there as a part of a living value."""
    return any(
        hit >= offset and window.startswith(value, hit - offset)
        for value in living
        for offset in _offsets(value, pattern)
    )


def _offsets(value: bytes, pattern: bytes) -> Iterator[int]:
    offset = value.find(pattern)
    while offset >= 0:
        yield offset
        offset = value.find(pattern, offset + 1)
