"""Send each event out of the daemon, one way: a datagram that nobody answers. Never waits, reads nothing.

Who listens (`maskgate hooks run`) is another process, of another user: nothing that goes on there comes back here. The
kernel's queue is the only one; what does not fit is dropped, counted, and told when there is room again.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger("maskgate")

MAX_BYTES = 32_768
"""An event is one to four hundred bytes; a pipe takes 65,536 at once, so a hook's input never makes its runner wait."""


class Outlet:
    """Sends events to whoever listens at a Unix datagram socket."""

    def __init__(self, path: Path) -> None:
        """Send to `path`; nobody need listen there yet."""
        self._path, self._lost, self._failing = str(path), 0, False
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    def send(self, event: Mapping[str, Any]) -> bool:
        """Send an event, with how many before it were lost; False for one that cannot be sent: lost, and said once."""
        said = json.dumps({**event, "lost": self._lost}, allow_nan=False).encode()
        try:
            if len(said) > MAX_BYTES:
                raise OSError(f"an event of {len(said)} bytes")
            self._socket.sendto(said, self._path)
        except OSError as error:
            self._lost += 1
            if not self._failing:
                log.warning("%s: events for hooks are lost: %s; look at maskgate-hooks", self._path, error)
            self._failing = True
            return False
        if self._lost:
            log.warning("%s: %d events for hooks were lost", self._path, self._lost)
        self._lost, self._failing = 0, False
        return True

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()
