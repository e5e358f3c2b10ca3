"""Write the daemon's own log lines to the journal, with fields; to stderr where the journal does not listen.

The format is systemd's (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/): a datagram of `NAME=value` lines. A journal that
does not read holds nobody up: what it did not take is counted, and told with the next line that it takes.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

SOCKET = Path("/run/systemd/journal/socket")
NOTICE = 25
"""The level between INFO and WARNING: out of the ordinary, and nothing is wrong."""
SYSLOG = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (NOTICE, 5), (logging.INFO, 6))
"""From which level on a line has which of syslog's priorities; below all of them it is 7, debug."""

logging.addLevelName(NOTICE, "NOTICE")


def handler() -> logging.Handler:
    """Return where log lines go: to the journal if stderr leads there, as it does in a service, else to stderr."""
    if SOCKET.is_socket() and _stderr_is_the_journal():
        return Journal(SOCKET)
    return plain_handler()


def plain_handler() -> logging.Handler:
    """Return a handler that writes a line to stderr, its level before it."""
    plain = logging.StreamHandler(sys.stderr)
    plain.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    return plain


def _stderr_is_the_journal() -> bool:
    """Tell whether stderr still is what systemd connected to the journal: who redirected it wants the lines there."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        stderr = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(stderr.st_dev), str(stderr.st_ino))


class Journal(logging.Handler):
    """Sends each log line as a datagram; fields come with `extra={"fields": {...}}`."""

    def __init__(self, path: Path) -> None:
        """Send to the journal's socket at `path`."""
        super().__init__()
        # logging.basicConfig would set one with the level in it.
        self.setFormatter(logging.Formatter("%(message)s"))
        self._path, self._fallback, self._lost = str(path), plain_handler(), 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line; one that the journal does not take for now is counted, any other failure goes to stderr."""
        try:
            self._socket.sendto(self._worded(record), self._path)
            self._lost = 0
        except BlockingIOError:
            # Not to stderr: in a service that is the journal's too, and would wait for it.
            self._lost += 1
        except OSError:
            # Gone, or the line is too long for a datagram.
            self._fallback.handle(record)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()
        super().close()

    def _worded(self, record: logging.LogRecord) -> bytes:
        lost = f" ({self._lost} lines before this one are lost)" if self._lost else ""
        priority = next((syslog for level, syslog in SYSLOG if record.levelno >= level), 7)
        fields = {
            "MESSAGE": self.format(record) + lost,
            "PRIORITY": str(priority),
            "SYSLOG_IDENTIFIER": "maskgate",
            "SYSLOG_PID": str(os.getpid()),
            **getattr(record, "fields", {}),
        }
        return datagram(fields.items())


def datagram(fields: Iterable[tuple[str, str]]) -> bytes:
    """Word fields as the journal wants them; a value of several lines has its length before it, in 64 bits."""
    return b"".join(
        b"%s\n%s%s\n" % (name.encode(), len(said).to_bytes(8, "little"), said)
        if b"\n" in said
        else b"%s=%s\n" % (name.encode(), said)
        for name, said in ((name, value.encode(errors="replace")) for name, value in fields)
    )
