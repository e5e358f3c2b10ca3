"""Tell systemd how the daemon is: ready, alive, stopping. A datagram per call; silent when systemd is absent."""

from __future__ import annotations

import logging
import os
import socket

log = logging.getLogger(__name__)


def ready() -> None:
    """Say that the gate is armed; `systemctl start` returns."""
    _send("READY=1")


def status(text: str) -> None:
    """Show `text` in `systemctl status`; line breaks become spaces."""
    _send("STATUS=" + " ".join(text.split()))


def watchdog() -> None:
    """Prove that the loop lives. Only the loop may call this, after a frame was really processed."""
    _send("WATCHDOG=1")


def stopping() -> None:
    """Say that the daemon is on its way out."""
    _send("STOPPING=1")


def _send(message: str) -> None:
    """Send one message to $NOTIFY_SOCKET; a send that fails is logged, for it must not stop a gate."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    # "@" stands for the NUL byte that starts the name of an abstract socket.
    target = "\0" + address[1:] if address[0] == "@" else address
    try:
        # Non-blocking: a service manager that does not read must not hold up the loop.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sender:
            sender.sendto(message.encode(), target)
    except OSError as error:
        log.warning("notify: %s did not take %r (%s)", address, message, error)
