"""Run the owner's executables for each event that the daemon sends. Opens no gallery, no pin and no control socket.

This is a process of its own, of a user who may do nothing (systemd/maskgate-hooks.service): a hook learns what happened
at the gate, and has no way to tell the gate anything.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from maskgate.outlet import MAX_BYTES
from maskgate.values import HookError

log = logging.getLogger("maskgate")

IDLE_S = 60.0
"""Started by systemd for an event, the process ends after so long without one, and takes no memory then."""
MOST = 16
"""Executables that are run for an event, the first by name: they run at once, on a small board."""
FIRST_FD = 3
"""The first file descriptor that systemd passes (sd_listen_fds(3))."""


def executables(folder: Path) -> tuple[list[Path], list[str]]:
    """Return what is run of a folder, by name, and one line for each file that is not; HookError when it is unusable.

    Whoever may write there runs programs, so neither folder nor file may be writable by others than its owner.
    """
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
        if folder.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise HookError(f"{folder}: can be written by others; chmod go-w {folder}")
    except OSError as error:
        if isinstance(error, HookError):
            raise
        raise HookError(f"{folder}: {error.strerror}; make it, or correct report.hooks") from None
    wrong = {entry: _why_not(entry) for entry in entries}
    good = [entry for entry in entries if wrong[entry] is None]
    refused = [f"{entry}: {why}" for entry, why in wrong.items() if why is not None]
    return good[:MOST], refused + [f"{entry}: is one more than {MOST}" for entry in good[MOST:]]


def _why_not(entry: Path) -> str | None:
    """Say why a file is not run; None when it is."""
    try:
        mode = entry.stat().st_mode
    except OSError as error:
        return f"{error.strerror}"
    if not stat.S_ISREG(mode):
        return "is no file"
    if not os.access(entry, os.X_OK):
        return f"cannot be run; chmod 755 {entry}"
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"can be written by others; chmod go-w {entry}"
    return None


@contextmanager
def listen(path: Path) -> Iterator[tuple[socket.socket, bool]]:
    """Give the socket that events come by, and whether systemd passed it and can start this process again.

    Without systemd it is made at `path`; HookError when it cannot be.
    """
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        with socket.socket(fileno=FIRST_FD) as passed:
            os.set_inheritable(FIRST_FD, False)
            yield passed, True
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        try:
            if path.is_socket():
                path.unlink()
            made.bind(str(path))
            path.chmod(0o600)
        except OSError as error:
            raise HookError(f"report.hooks_socket is {path}: {error.strerror}") from None
        try:
            yield made, False
        finally:
            path.unlink(missing_ok=True)


def serve(source: socket.socket, folder: Path, *, limit_s: float, idle_s: float | None = None) -> None:
    """Run the hooks for each event from `source`, one event after the other, until SIGTERM or `idle_s` without one."""
    with selectors.DefaultSelector() as selector:
        selector.register(source, selectors.EVENT_READ)
        while selector.select(idle_s):
            event = _event(source.recv(MAX_BYTES + 1))
            if event is None:
                log.warning("something that is no event was sent, and is left out")
                continue
            try:
                ready, refused = executables(folder)
            except HookError as error:
                log.error("%s", error)
                continue
            for line in refused:
                log.warning("%s", line)
            run(ready, event, limit_s=limit_s)


def _event(data: bytes) -> dict[str, object] | None:
    """Read an event; None when it is none."""
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("kind"), str) else None


def run(hooks: Sequence[Path], event: dict[str, object], *, limit_s: float) -> None:
    """Run all hooks at once with the event on their stdin; those that take longer than `limit_s` are killed.

    What one prints goes to stderr, so to the journal. One that fails is said, and stops nothing.
    """
    said = json.dumps(event).encode() + b"\n"
    # Nothing of ours: systemd's variables would let a hook speak for this process.
    clean = {"PATH": os.defpath, "LANG": os.environ.get("LANG", "C.UTF-8")}
    began_s = time.monotonic()
    started = [(hook, process) for hook in hooks if (process := _start(hook, said, clean)) is not None]
    for hook, process in started:
        try:
            code = process.wait(max(0.0, began_s + limit_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("%s: took longer than %g s for event %s, and was killed", hook, limit_s, event.get("id"))
            code = 0
        # What it left running in its own group goes with it.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if code != 0:
            log.warning("%s: failed with %d for event %s", hook, code, event.get("id"))


def _start(hook: Path, said: bytes, environment: dict[str, str]) -> subprocess.Popen[bytes] | None:
    """Start a hook and hand it the event; None, said, when it cannot be started."""
    try:
        process = subprocess.Popen(
            [hook], stdin=subprocess.PIPE, stdout=sys.stderr, env=environment, cwd="/", start_new_session=True
        )
    except OSError as error:
        log.warning("%s: cannot be run: %s", hook, error.strerror)
        return None
    assert process.stdin is not None
    # One that reads nothing is welcome to.
    with suppress(BrokenPipeError), process.stdin:
        process.stdin.write(said)
    return process
