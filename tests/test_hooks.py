"""Laws of maskgate.outlet and maskgate.hooks: real sockets, real programs; one way, and never a wait for the daemon."""

from __future__ import annotations

import json
import logging
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from house import House, environment
from maskgate import config, hooks
from maskgate.control import listen
from maskgate.outlet import MAX_BYTES, Outlet
from maskgate.report import Report
from maskgate.store import Event
from maskgate.values import HookError

ROOT = Path(__file__).parents[1]
EVENT: dict[str, object] = {"kind": "decision", "subject": "Zoë", "reason": "granted", "id": 4711}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder for hooks."""
    made = tmp_path / "hooks"
    made.mkdir(mode=0o755)
    return made


def hook(folder: Path, name: str, text: str, mode: int = 0o755) -> Path:
    """Write a shell script as a hook."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return path


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """Listen as the hooks' process does."""
    with hooks.listen(tmp_path / "events") as (source, passed):
        assert not passed
        source.settimeout(2)
        yield source


# -- the daemon's end ----------------------------------------------------------------------------------------------


def test_an_event_arrives_as_the_log_has_it(house: House, tmp_path: Path, listener: socket.socket) -> None:
    house.enrol("Anna")
    settings = config.Report(hooks="hooks", hooks_socket=str(tmp_path / "events"))
    with house.store() as store:
        event = Event("decision", at="2026-11-25T17:03:11.402Z", subject="Anna", granted=True, reason="granted")
        number = store.record(event)
        Report(store, settings).tell(next(e for e in store.events() if e.id == number))
    [logged] = [o for o in house.run("log", "--json").objects if o["kind"] == "decision"]
    assert json.loads(listener.recv(MAX_BYTES)) == logged | {"lost": 0}


def test_without_names_a_hook_gets_numbers(house: House, tmp_path: Path, listener: socket.socket) -> None:
    house.enrol("Anna")
    settings = config.Report(log_names=False, hooks="hooks", hooks_socket=str(tmp_path / "events"))
    with house.store() as store:
        Report(store, settings).tell(Event("decision", subject="Anna", granted=False, reason="passback"))
    told = listener.recv(MAX_BYTES)
    assert json.loads(told)["subject"] == "subject-1"
    assert b"Anna" not in told


def test_without_a_folder_nothing_is_sent(house: House, tmp_path: Path, listener: socket.socket) -> None:
    with house.store() as store:
        Report(store, config.Report(hooks_socket=str(tmp_path / "events"))).tell(Event("started"))
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.recv(100)


def test_a_listener_that_does_not_read_makes_nobody_wait_and_what_was_dropped_is_told(
    tmp_path: Path, listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    outlet = Outlet(tmp_path / "events")
    began_s = time.monotonic()
    sent = sum(outlet.send(EVENT) for _ in range(2000))
    assert time.monotonic() - began_s < 2
    assert 0 < sent < 2000
    assert len(caplog.records) == 1
    for _ in range(sent):
        listener.recv(MAX_BYTES)
    outlet.send(EVENT)
    assert json.loads(listener.recv(MAX_BYTES))["lost"] == 2000 - sent
    assert f"{2000 - sent} events for hooks were lost" in caplog.text
    outlet.send(EVENT)
    assert json.loads(listener.recv(MAX_BYTES))["lost"] == 0
    outlet.close()


def test_nobody_listening_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    outlet = Outlet(tmp_path / "nobody")
    assert [outlet.send(EVENT) for _ in range(5)] == [False] * 5
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    outlet.close()


# -- the hooks' end ------------------------------------------------------------------------------------------------


def test_each_hook_gets_the_event_as_a_line_of_json_and_nothing_else(tmp_path: Path, folder: Path) -> None:
    first = hook(folder, "a", f"cat > {tmp_path}/a; env | sort > {tmp_path}/env; ls /proc/self/fd > {tmp_path}/fds")
    second = hook(folder, "b", f"cat > {tmp_path}/b")
    hooks.run([first, second], EVENT, limit_s=10)
    for name in "ab":
        [line] = (tmp_path / name).read_text().splitlines()
        assert json.loads(line) == EVENT
    assert {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()} <= {"PATH", "LANG", "PWD"}
    # stdin, stdout, stderr, and the one that ls reads the list by
    assert len((tmp_path / "fds").read_text().split()) == 4


def test_a_hook_that_hangs_is_killed_with_what_it_started_and_holds_up_no_other(
    tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slow = hook(folder, "a", f"sleep 600 & echo $! > {tmp_path}/child; sleep 600")
    quick = hook(folder, "b", f"date > {tmp_path}/done")
    began_s = time.monotonic()
    hooks.run([slow, quick], EVENT, limit_s=0.5)
    assert time.monotonic() - began_s < 5
    assert (tmp_path / "done").exists()
    assert "took longer than 0.5 s for event 4711" in caplog.text
    child = int((tmp_path / "child").read_text())
    end_s = time.monotonic() + 2
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_a_hook_that_fails_reads_nothing_or_is_no_program_is_said_and_stops_nothing(
    tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = folder / "b"
    broken.write_bytes(b"\0no program")
    broken.chmod(0o755)
    made = [hook(folder, "a", "exec false"), broken, hook(folder, "c", f"date > {tmp_path}/done")]
    hooks.run(made, EVENT | {"detail": "x" * 20_000}, limit_s=10)
    assert (tmp_path / "done").exists()
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == [
        "cannot be run",
        "failed with 1 for event 4711",
    ]


def test_only_programs_that_nobody_else_can_write_are_run(folder: Path) -> None:
    good = hook(folder, "10-good", "true")
    hook(folder, "20-open", "true", 0o777)
    hook(folder, "30-plain", "true", 0o644)
    (folder / "40-folder").mkdir()
    (folder / "50-gone").symlink_to("/nowhere")
    hook(folder, ".hidden", "true")
    ready, refused = hooks.executables(folder)
    assert ready == [good]
    assert [line.partition(":")[0].rpartition("/")[2] for line in refused] == [
        "20-open",
        "30-plain",
        "40-folder",
        "50-gone",
    ]
    assert any("20-open: can be written by others" in line for line in refused)
    assert any("30-plain: cannot be run" in line for line in refused)
    folder.chmod(0o777)
    with pytest.raises(HookError, match="can be written by others"):
        hooks.executables(folder)
    with pytest.raises(HookError, match="make it"):
        hooks.executables(folder / "none")


def test_no_more_than_sixteen_are_run(folder: Path) -> None:
    for number in range(18):
        hook(folder, f"{number:02}", "true")
    ready, refused = hooks.executables(folder)
    assert (len(ready), len(refused)) == (16, 2)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"1", b'{"kind": 1}', b"\xff", b"[" * 30_000])
def test_what_is_no_event_runs_nothing_and_ends_nothing(
    data: bytes, tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hook(folder, "a", f"cat >> {tmp_path}/said")
    with hooks.listen(tmp_path / "events") as (source, _), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        for said in (data, json.dumps(EVENT).encode()):
            sender.sendto(said, str(tmp_path / "events"))
        hooks.serve(source, folder, limit_s=10, idle_s=0.2)
    assert [json.loads(line) for line in (tmp_path / "said").read_text().splitlines()] == [EVENT]
    assert "no event" in caplog.text


@contextmanager
def running(house: House) -> Iterator[subprocess.Popen[bytes]]:
    """Hold `maskgate hooks run` as a process of its own."""
    process = house.start("hooks", "run")
    try:
        end_s = time.monotonic() + 20
        while not (house.folder / "events").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end_s
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_command_runs_hooks_from_a_try_to_its_end(tmp_path: Path) -> None:
    house = House(tmp_path, report={"hooks": "hooks", "hooks_socket": "events"})
    assert "nobody took the event" in house.run("hooks", "test").failure.splitlines()[-1]
    (tmp_path / "hooks").mkdir(mode=0o755)
    hook(tmp_path / "hooks", "a", f"cat > {tmp_path}/part; mv {tmp_path}/part {tmp_path}/said; echo rung")
    assert house.run("hooks", "list").out == f"runs  {tmp_path}/hooks/a\n"
    with running(house) as process:
        assert house.run("hooks", "test").out.startswith("sent; ")
        end_s = time.monotonic() + 10
        while not (tmp_path / "said").exists():
            assert time.monotonic() < end_s
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 0
    assert b"rung" in said
    told = json.loads((tmp_path / "said").read_text())
    assert (told["kind"], told["actor"], told["lost"]) == ("test", pwd.getpwuid(os.getuid()).pw_name, 0)
    assert not (tmp_path / "events").exists()


def test_without_a_folder_there_is_nothing_to_run(house: House) -> None:
    for command in ("list", "test", "run"):
        assert "report.hooks names no folder" in house.run("hooks", command).failure


def test_a_socket_that_systemd_passes_is_taken(tmp_path: Path, folder: Path) -> None:
    """As systemd does it: descriptor 3, and the process's own id in the environment."""
    hook(folder, "a", f"cat > {tmp_path}/said")
    house = House(tmp_path, report={"hooks": "hooks", "hooks_socket": "other"})
    path = str(tmp_path / "passed")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as given:
        given.bind(path)
        code = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3);"
            "os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '1'};"
            "from maskgate import hooks; hooks.IDLE_S = 1.0; sys.argv[1:2] = [];"
            "from maskgate.admin import main; main()"
        )
        sender = Outlet(tmp_path / "passed")
        assert sender.send(EVENT)
        ran = subprocess.run(
            [sys.executable, "-c", code, str(given.fileno()), "--config", str(house.path), "hooks", "run"],
            env=environment(),
            pass_fds=[given.fileno()],
            capture_output=True,
            timeout=30,
        )
        sender.close()
    assert ran.returncode == 0, ran.stderr
    assert json.loads((tmp_path / "said").read_text())["id"] == 4711
    assert not (tmp_path / "other").exists()


# -- the walls -----------------------------------------------------------------------------------------------------


def unit(name: str) -> dict[str, list[str]]:
    """Read a unit file: each setting with its values."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / "systemd" / name).read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_the_unit_of_the_hooks_gives_them_neither_group_nor_pins_nor_the_gates_files() -> None:
    walls, gate, inlet = unit("maskgate-hooks.service"), unit("maskgate.service"), unit("maskgate-hooks.socket")
    assert walls["DynamicUser"] == walls["PrivateDevices"] == walls["NoNewPrivileges"] == ["yes"]
    assert walls["CapabilityBoundingSet"] == [""]
    assert not {"User", "Group", "SupplementaryGroups", "DeviceAllow", "ReadWritePaths"} & walls.keys()
    hidden = walls["InaccessiblePaths"][0].replace("-/", "/").split()
    settings = config.defaults()
    assert {
        str(Path(settings.control.socket).parent),
        str(Path(settings.store.path).parent),
        settings.store.key,
    } == set(hidden)
    assert inlet["ListenDatagram"] == [settings.report.hooks_socket]
    assert (inlet["SocketUser"], inlet["SocketGroup"], inlet["SocketMode"]) == (["root"], gate["Group"], ["0660"])


def test_who_is_in_no_group_of_the_gates_cannot_use_its_control_socket(tmp_path: Path) -> None:
    """The modes that a hook meets, tried with a real process of another user."""
    if os.geteuid() != 0:
        pytest.skip("only root may become somebody else")
    place = tmp_path / "run"
    place.mkdir(mode=0o750)
    with listen(place / "control.sock"):
        code = f"import socket; socket.socket(socket.AF_UNIX).connect({str(place / 'control.sock')!r})"
        ran = subprocess.run(
            ["/usr/bin/python3", "-c", code], user="nobody", group="nogroup", extra_groups=[], capture_output=True
        )
    assert b"PermissionError" in ran.stderr
