"""Laws of maskgate.control, over real sockets: no client can stop the daemon or make its loop wait."""

from __future__ import annotations

import getpass
import itertools
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from maskgate import control
from maskgate.control import Request, Requests, ask, listen
from maskgate.values import DaemonError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


def taken(requests: Requests, *, within_s: float = 3.0) -> Request:
    """Return the next request, as a loop would find it."""
    end_s = time.monotonic() + within_s
    while (request := requests.pending()) is None:
        assert time.monotonic() < end_s, "no request came"
        time.sleep(0.002)
    return request


@contextmanager
def looping(requests: Requests) -> Iterator[None]:
    """Answer every request with its own words, from another thread, as the daemon's loop does."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.wait(0.002):
            if request := requests.pending():
                request.reply({"heard": request.name, "args": request.args, "user": request.user})
                request.close()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(3)
    client.connect(str(path))
    return client


def said(client: socket.socket) -> dict[str, str]:
    """Read all that the daemon says to a client before it hangs up."""
    words = b""
    with suppress(ConnectionResetError):
        while data := client.recv(65_536):
            words += data
    answer = json.loads(words)
    assert isinstance(answer, dict)
    return answer


def test_a_request_arrives_with_its_arguments_and_the_kernels_word_for_who_asks(path: Path) -> None:
    with listen(path) as requests, looping(requests):
        assert list(ask(path, "enrol", subject="Zoë 🙂", shots=3)) == [
            {"heard": "enrol", "args": {"subject": "Zoë 🙂", "shots": 3}, "user": getpass.getuser()}
        ]


def test_answers_stream_until_the_daemon_closes(path: Path) -> None:
    with listen(path) as requests:
        answers = ask(path, "enrol")
        first: list[dict[str, object]] = []
        client = threading.Thread(target=lambda: first.extend(answers))
        client.start()
        request = taken(requests)
        assert all(request.reply({"taken": number}) for number in range(200))
        request.close()
        client.join(3)
        assert [answer["taken"] for answer in first] == list(range(200))


def test_a_client_that_leaves_is_noticed_and_closing_twice_is_harmless(path: Path) -> None:
    with listen(path) as requests:
        client = connected(path)
        client.sendall(b'{"request": "enrol"}\n')
        request = taken(requests)
        assert request.reply({"go": 1})
        client.close()
        assert not request.reply({"go": 2})
        assert not request.reply({"go": 3})
        request.close()


def test_a_client_that_does_not_read_is_given_up_without_waiting(path: Path) -> None:
    with listen(path) as requests, connected(path) as client:
        client.sendall(b'{"request": "enrol"}\n')
        request = taken(requests)
        started_s = time.monotonic()
        sent = sum(1 for _ in itertools.takewhile(lambda _: request.reply({"fill": "x" * 1000}), range(100_000)))
        assert 10 < sent < 100_000
        assert time.monotonic() - started_s < 2


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"\xff\xfe\x00 nonsense\n", "not a request"),
        (b"\n", "not a request"),
        (b"[1, 2]\n", "must be an object"),
        (b"[" * 50_000 + b"\n", "not a request"),
        (b'{"request": 7}\n', "must be"),
        (b'{"request": "status", "args": []}\n', "must be"),
        (b'{"request": "' + b"x" * 1_000_000 + b'"}\n', "longer than 65536 bytes"),
    ],
)
def test_a_malformed_request_is_answered_and_the_next_one_served(path: Path, line: bytes, why: str) -> None:
    with listen(path) as requests, looping(requests):
        with connected(path) as client:
            with suppress(BrokenPipeError, ConnectionResetError):
                client.sendall(line)
            assert why in said(client)["error"]
        assert [answer["heard"] for answer in ask(path, "status")] == ["status"]


def test_half_a_line_holds_nobody_up_and_is_dropped_in_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "REQUEST_S", 0.3)
    with listen(path) as requests, looping(requests), connected(path) as client:
        client.sendall(b'{"request": "sta')
        assert [answer["heard"] for answer in ask(path, "status")] == ["status"]
        assert client.recv(10) == b""


def test_a_request_may_come_in_pieces(path: Path) -> None:
    with listen(path) as requests, looping(requests), connected(path) as client:
        for byte in b'{"request": "status"}\n':
            client.sendall(bytes([byte]))
            time.sleep(0.001)
        assert said(client)["heard"] == "status"


def test_fifty_idle_connections_do_not_keep_the_administrator_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "REQUEST_S", 0.5)
    with listen(path) as requests, looping(requests):
        clients = [connected(path) for _ in range(50)]
        turned_away = json.loads(clients[-1].recv(1000))
        assert "too many" in turned_away["error"]
        time.sleep(1.6)
        assert [answer["heard"] for answer in ask(path, "status")] == ["status"]
        for client in clients:
            client.close()


def test_requests_that_the_loop_does_not_take_are_turned_away(path: Path) -> None:
    with listen(path), connected(path) as last:
        waiting = [connected(path) for _ in range(control.MAX_PENDING)]
        for client in waiting:
            client.sendall(b'{"request": "status"}\n')
        time.sleep(0.3)
        last.sendall(b'{"request": "status"}\n')
        assert "busy" in said(last)["error"]
        for client in waiting:
            client.close()


def test_a_client_that_was_killed_in_mid_request_does_no_harm(path: Path) -> None:
    with listen(path) as requests, looping(requests):
        for _ in range(control.MAX_PENDING // 2):
            client = connected(path)
            client.sendall(b'{"request": "status"}\n{"more"')
            client.close()
        assert [answer["heard"] for answer in ask(path, "status")] == ["status"]


def test_only_the_user_and_the_group_may_connect(path: Path) -> None:
    old = os.umask(0)
    try:
        with listen(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
    finally:
        os.umask(old)


def test_the_socket_is_gone_afterwards_and_waiting_clients_are_hung_up_on(path: Path) -> None:
    with listen(path) as requests:
        asking, sending = connected(path), connected(path)
        asking.sendall(b'{"request": "status"}\n')
        sending.sendall(b'{"requ')
        time.sleep(0.1)
        assert requests is not None
    assert not path.exists()
    assert asking.recv(10) == b""
    assert sending.recv(10) == b""
    asking.close()
    sending.close()


def test_a_socket_left_by_a_killed_daemon_is_replaced(path: Path) -> None:
    code = (
        "import os, pathlib, signal, sys\n"
        "from maskgate.control import listen\n"
        "with listen(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    source = str(Path(control.__file__).parents[1])
    subprocess.run([sys.executable, "-c", code, str(path)], env=os.environ | {"PYTHONPATH": source}, check=False)
    assert path.is_socket()
    with pytest.raises(DaemonError, match="no daemon is running"):
        list(ask(path, "status"))
    with listen(path) as requests, looping(requests):
        assert [answer["heard"] for answer in ask(path, "status")] == ["status"]


def test_a_second_daemon_is_refused_and_the_first_goes_on(path: Path) -> None:
    with listen(path) as requests, looping(requests):
        with pytest.raises(DaemonError, match="another daemon has it"), listen(path):
            pass
        assert [answer["heard"] for answer in ask(path, "status")] == ["status"]


def test_a_file_in_the_way_is_left_alone(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(DaemonError, match="is no socket"), listen(path):
        pass
    assert path.read_text() == "mine"


@pytest.mark.parametrize("name", ["missing/control.sock", "x" * 120])
def test_a_socket_that_cannot_be_opened_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(DaemonError) as caught, listen(tmp_path / name):
        pass
    assert str(caught.value).startswith("control.socket is ")
    assert "\n" not in str(caught.value)


def test_without_a_daemon_the_command_says_so(path: Path) -> None:
    with pytest.raises(DaemonError, match="no daemon is running"):
        list(ask(path, "status"))


def test_a_daemon_that_hangs_is_reported(path: Path) -> None:
    with listen(path), pytest.raises(DaemonError, match=r"has not answered for 0\.2 s"):
        list(ask(path, "status", answer_s=0.2))


def test_an_answer_that_breaks_off_is_an_error(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()

        def break_off() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b'{"taken": 1}\n{"tak')

        daemon = threading.Thread(target=break_off)
        daemon.start()
        answers = ask(path, "enrol")
        assert next(answers) == {"taken": 1}
        with pytest.raises(DaemonError, match="broke off"):
            next(answers)
        daemon.join()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be refused")
@pytest.mark.parametrize(("groups", "may"), [([], False), ([0], True)])
def test_who_is_not_in_the_daemons_group_is_refused_even_where_the_socket_lets_anybody_in(
    path: Path, groups: list[int], may: bool
) -> None:
    """The daemon runs as root here, so its group is 0."""
    for folder in list(path.parents)[:-2]:
        folder.chmod(0o755)
    with listen(path) as requests, looping(requests):
        path.chmod(0o666)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.setgroups(groups)
            os.setgid(65_534)
            os.setuid(65_534)
            try:
                os.write(writing, json.dumps(list(ask(path, "unlock"))).encode())
            finally:
                os._exit(0)
        os.close(writing)
        os.waitpid(child, 0)
        with open(reading, "rb") as pipe:
            [answer] = json.loads(pipe.read())
    assert ("heard" in answer) is may
    assert may or "may not ask this gate" in answer["error"]
