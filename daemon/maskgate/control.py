"""Carry requests from the administrator's command to the running daemon over a Unix socket. Knows no request's meaning.

A client sends one JSON line, `{"request": NAME, "args": {...}}`, and reads JSON lines until the daemon closes. A thread
collects requests; the loop takes them with `pending` and answers. Nothing a client does, or does not do, makes it wait.
"""

from __future__ import annotations

import json
import os
import pwd
import queue
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskgate.values import DaemonError

MAX_REQUEST = 65_536
"""Bytes of the longest request."""
MAX_CLIENTS = 32
"""Clients that may be sending a request at a time; further ones are turned away."""
MAX_PENDING = 16
"""Requests that may wait for the loop; further ones are told so."""
REQUEST_S = 5.0
"""A client that has not sent its request after this long is dropped."""
ANSWER_S = 10.0
"""A daemon that says nothing for this long is taken for hung."""

SO_PEERGROUPS = 59
"""Linux: the groups of the process at the other end, as it connected. Python has no name for it."""


class Request:
    """What one client wants; answered and closed by the loop."""

    def __init__(self, connection: socket.socket, name: str, args: dict[str, Any], user: str, uid: int = -1) -> None:
        """Take over `connection`."""
        self._connection = connection
        self._open = True
        self.name, self.args, self.uid = name, args, uid
        self.user = user
        """Name of the UNIX user as the kernel knows it, or the number of one without a name."""

    def reply(self, answer: dict[str, Any]) -> bool:
        """Send one answer without waiting; False when the client is gone, or reads too slowly to take it whole."""
        if self._open and not _sent(self._connection, answer):
            self.close()
        return self._open

    def close(self) -> None:
        """End the answers; a second time does nothing."""
        self._open = False
        self._connection.close()


class Requests:
    """The requests that wait for the loop."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Request] = queue.Queue(MAX_PENDING)

    def pending(self) -> Request | None:
        """Return the oldest request not yet taken, or None; never waits."""
        with suppress(queue.Empty):
            return self._queue.get_nowait()
        return None

    def add(self, request: Request) -> None:
        """Let a request wait, or turn it away when too many do."""
        try:
            self._queue.put_nowait(request)
        except queue.Full:
            request.reply({"error": "the daemon is busy with other requests; try again"})
            request.close()


@contextmanager
def listen(path: Path) -> Iterator[Requests]:
    """Take requests at `path` until closed; raise DaemonError when it cannot be opened or another daemon has it."""
    requests = Requests()
    with _listener(path) as listener:
        collector = _Collector(listener, requests)
        collector.start()
        try:
            yield requests
        finally:
            collector.stop()
            path.unlink(missing_ok=True)
            while (request := requests.pending()) is not None:
                request.close()


def ask(path: Path, name: str, *, answer_s: float = ANSWER_S, **args: Any) -> Iterator[dict[str, Any]]:
    """Send a request to the daemon and yield its answers until it closes; DaemonError when there is none to be had."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(answer_s)
        try:
            connection.connect(str(path))
            connection.sendall(_line({"request": name, "args": args}))
            with connection.makefile("rb") as lines:
                for line in lines:
                    yield _answer(path, line)
        except TimeoutError as error:
            raise DaemonError(f"{path}: the daemon has not answered for {answer_s:g} s; look at its log") from error
        except PermissionError as error:
            raise DaemonError(f"{path}: may not be used by you; use sudo or join the group maskgate") from error
        except (FileNotFoundError, ConnectionRefusedError) as error:
            if isinstance(error, DaemonError):
                raise
            raise DaemonError(f"{path}: no daemon is running; start it: systemctl start maskgate") from error
        except DaemonError:
            raise
        except OSError as error:
            raise DaemonError(f"{path}: the daemon cannot be asked ({error}); look at its log") from error


def _answer(path: Path, line: bytes) -> dict[str, Any]:
    """Read one answer; one that ends in mid-line is an error."""
    try:
        answer = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise DaemonError(f"{path}: the daemon broke off in mid-answer; look at its log")
    return answer


def _line(message: dict[str, Any]) -> bytes:
    """Word a message as a line of JSON."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def _sent(connection: socket.socket, message: dict[str, Any]) -> bool:
    """Send a message at once and whole; False when the client is gone or its buffer is full."""
    line = _line(message)
    try:
        return connection.send(line, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) == len(line)
    except OSError:
        return False


@contextmanager
def _listener(path: Path) -> Iterator[socket.socket]:
    """Listen at `path`, readable and writable by the process's user and group alone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as listener:
        try:
            _remove_stale(path)
            listener.bind(str(path))
            # Nobody can connect before listen(), so nobody gets in before the mode is set.
            path.chmod(0o660)
            listener.listen(128)
        except DaemonError:
            raise
        except OSError as error:
            raise DaemonError(f"control.socket is {path}: cannot be opened ({error}); name another path") from error
        yield listener


def _remove_stale(path: Path) -> None:
    """Remove the socket that a killed daemon left behind; DaemonError when a daemon, or another file, is there."""
    if not path.is_socket():
        if path.exists():
            raise DaemonError(f"control.socket is {path}: is no socket; move it away or name another path")
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        else:
            raise DaemonError(f"control.socket is {path}: another daemon has it; stop that one first")


@dataclass(slots=True)
class _Client:
    """A client that is still sending its request."""

    until_s: float
    sent: bytearray = field(default_factory=bytearray)


class _Collector(threading.Thread):
    """Reads requests off all clients at once, and gives each complete one to the loop."""

    def __init__(self, listener: socket.socket, requests: Requests) -> None:
        super().__init__(name="control", daemon=True)
        self._listener, self._requests = listener, requests
        self._clients: dict[socket.socket, _Client] = {}
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)

    def stop(self) -> None:
        """End the thread and hang up on everybody who has not finished asking."""
        self._waker.close()
        self.join()
        for client in list(self._clients):
            self._drop(client)
        self._selector.close()
        self._woken.close()

    def run(self) -> None:
        """Serve until the waker is closed."""
        while True:
            # Idle, it sleeps for good: an idle gate must not wake the processor.
            ready = [key.fileobj for key, _ in self._selector.select(1.0 if self._clients else None)]
            if self._woken in ready:
                return
            for source in ready:
                if source is self._listener:
                    self._accept()
                elif isinstance(source, socket.socket):
                    self._read(source)
            self._drop_late()

    def _accept(self) -> None:
        """Let a client in, or turn it away."""
        try:
            connection, _ = self._listener.accept()
        except OSError:
            # Out of file descriptors, most likely: do not spin until there are some again.
            time.sleep(0.1)
            return
        connection.setblocking(False)
        if len(self._clients) >= MAX_CLIENTS:
            _refuse(connection, "too many clients at once; try again")
            return
        self._clients[connection] = _Client(time.monotonic() + REQUEST_S)
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> None:
        """Take what a client has sent; a whole line is a request."""
        try:
            data = connection.recv(MAX_REQUEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(connection)
            return
        sent = self._clients[connection].sent
        sent += data
        line, ended, _ = sent.partition(b"\n")
        if ended or len(sent) > MAX_REQUEST:
            self._forget(connection)
            self._take(connection, bytes(line))

    def _take(self, connection: socket.socket, line: bytes) -> None:
        """Turn a line into a request for the loop, or tell the client what is wrong with it."""
        try:
            name, args = _parsed(line)
            uid, user = _user(connection)
            may = _may_ask(connection, uid)
        except (ValueError, RecursionError, OSError) as error:
            _refuse(connection, f"not a request: {error}")
            return
        if not may:
            # The socket's mode keeps such clients out; this is for the day when somebody has widened it.
            _refuse(connection, f"{user} may not ask this gate; use sudo or join the group of its socket")
            return
        self._requests.add(Request(connection, name, args, user, uid))

    def _drop_late(self) -> None:
        """Hang up on clients that take too long over their request."""
        now_s = time.monotonic()
        for connection in [connection for connection, client in self._clients.items() if client.until_s < now_s]:
            self._drop(connection)

    def _forget(self, connection: socket.socket) -> None:
        """Stop reading from a client."""
        del self._clients[connection]
        self._selector.unregister(connection)

    def _drop(self, connection: socket.socket) -> None:
        """Hang up on a client."""
        self._forget(connection)
        connection.close()


def _refuse(connection: socket.socket, why: str) -> None:
    """Tell a client why not, and hang up."""
    _sent(connection, {"error": why})
    connection.close()


def _parsed(line: bytes) -> tuple[str, dict[str, Any]]:
    """Return the name and arguments of a request; ValueError or RecursionError when it is none."""
    if len(line) > MAX_REQUEST:
        raise ValueError(f"longer than {MAX_REQUEST} bytes")
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("must be an object")
    name, args = message.get("request"), message.get("args", {})
    if not isinstance(name, str) or not isinstance(args, dict):
        raise ValueError('must be {"request": NAME, "args": {...}}')
    return name, args


def _user(connection: socket.socket) -> tuple[int, str]:
    """Return number and name of the user at the other end, as the kernel saw it connect."""
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        return uid, pwd.getpwuid(uid).pw_name
    except KeyError:
        return uid, str(uid)


def _may_ask(connection: socket.socket, uid: int) -> bool:
    """Tell whether the other end is root, the daemon's own user, or in the daemon's group."""
    if uid in (0, os.geteuid()):
        return True
    _, _, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    # Python asks for 1024 bytes at most, 256 groups; a process in more is refused with an OSError.
    joined = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 1024)
    return os.getegid() in (gid, *(number for (number,) in struct.iter_unpack("i", joined)))
