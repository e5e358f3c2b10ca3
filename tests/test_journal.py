"""Laws of maskgate.journal and maskgate.report: real datagram sockets, real SQLite, and journald itself where it is."""

from __future__ import annotations

import logging
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from house import DAEMON, House
from maskgate import config
from maskgate.decide import ATTACKS
from maskgate.journal import NOTICE, Journal, datagram
from maskgate.reasons import REASONS
from maskgate.report import ALARMING, BROKEN, EVERYDAY, Report, level_of
from maskgate.store import Event

ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[socket.socket]:
    """Listen as journald does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(2)
        listener.bind(str(tmp_path / "journal"))
        yield listener


@pytest.fixture
def log(tmp_path: Path, journald: socket.socket) -> Iterator[logging.Logger]:
    """Hold the daemon's logger as it is in a service."""
    logger, handler = logging.getLogger("maskgate"), Journal(tmp_path / "journal")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield logger
    logger.setLevel(before)
    logger.removeHandler(handler)
    handler.close()


def read(data: bytes) -> dict[str, str]:
    """Read a datagram as the protocol has it."""
    fields = {}
    while data:
        name, _, rest = data.partition(b"\n")
        if b"=" in name:
            key, _, value = name.partition(b"=")
        else:
            key, size = name, int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + size], rest[8 + size :]
            assert rest[:1] == b"\n"
            rest = rest[1:]
        assert key.decode() not in fields
        fields[key.decode()], data = value.decode(), rest
    return fields


def decision(reason: str, subject: str | None = None, **more: object) -> Event:
    """Return a decision as it was recorded."""
    return Event("decision", subject=subject, granted=reason == "granted", reason=reason, id=7, **more)  # type: ignore[arg-type]


def test_a_decision_is_one_line_with_a_field_for_whatever_one_searches_by(
    house: House, log: logging.Logger, journald: socket.socket
) -> None:
    with house.store() as store:
        event = decision("granted", "王小明", score=0.61249, threshold=0.4, detail={"frames": 3})
        Report(store, config.Report()).tell(event)
    fields = read(journald.recv(10_000))
    assert fields.pop("MESSAGE").startswith("decision granted=true reason=granted subject='王小明' score=0.612 ")
    assert fields.pop("SYSLOG_PID") == str(os.getpid())
    assert fields == {
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "maskgate",
        "MASKGATE_EVENT": "decision",
        "MASKGATE_EVENT_ID": "7",
        "MASKGATE_REASON": "granted",
        "MASKGATE_GRANTED": "true",
        "MASKGATE_SUBJECT": "王小明",
        "MASKGATE_SCORE": "0.612",
        "MASKGATE_THRESHOLD": "0.400",
        "MASKGATE_FRAMES": "3",
    }


def test_without_names_nothing_of_a_line_names_anybody(
    house: House, log: logging.Logger, journald: socket.socket
) -> None:
    house.enrol("Anna", "Ben")
    with house.store() as store:
        report = Report(store, config.Report(log_names=False))
        report.tell(decision("granted", "Ben"))
        report.tell(decision("unknown", "nobody there any more"))
        report.tell(Event("unlock", actor=ME, detail={"reason": "for Anna"}))
    data = [journald.recv(10_000) for _ in range(3)]
    assert [read(line).get("MASKGATE_SUBJECT") for line in data] == ["subject-2", "subject-unknown", None]
    assert read(data[2])["MASKGATE_ACTOR"] == str(os.getuid())
    for name in ("Anna", "Ben", "nobody there", ME):
        assert name.encode() not in b"".join(data), name


def test_an_orders_reason_is_not_repeated_outside_of_the_log(
    house: House, log: logging.Logger, journald: socket.socket
) -> None:
    with house.store() as store:
        Report(store, config.Report()).tell(Event("unlock", actor="olga", detail={"reason": "parcel"}))
    fields = read(journald.recv(10_000))
    assert (fields["MESSAGE"], fields["MASKGATE_ACTOR"], fields["PRIORITY"]) == ("unlock by olga", "olga", "5")
    assert "parcel" not in str(fields)


def test_who_reads_warnings_alone_sees_attacks_and_faults_and_no_ordinary_day() -> None:
    levels = {reason: level_of(decision(reason)) for reason in REASONS}
    assert levels["granted"] == logging.INFO
    assert {levels[reason] for reason in ATTACKS.values()} == {logging.WARNING}
    assert levels["not_recorded"] == levels["gate_fault"] == logging.ERROR
    assert levels["unknown"] == levels["outside_schedule"] == NOTICE
    assert level_of(Event("forced_open")) == level_of(Event("tamper")) == logging.WARNING
    assert level_of(Event("lockdown", actor="olga")) == NOTICE
    assert not (BROKEN & ALARMING)
    assert not (BROKEN & EVERYDAY)
    assert not (ALARMING & EVERYDAY)


@pytest.mark.parametrize(("level", "priority"), [(10, "7"), (20, "6"), (NOTICE, "5"), (30, "4"), (40, "3"), (50, "2")])
def test_each_level_has_syslogs_priority(
    level: int, priority: str, log: logging.Logger, journald: socket.socket
) -> None:
    log.log(level, "said")
    assert read(journald.recv(10_000))["PRIORITY"] == priority


def test_no_value_can_add_a_field_or_break_one_off() -> None:
    told = {"MESSAGE": "a\nPRIORITY=0\n", "MASKGATE_SUBJECT": "=\n\n", "C": "", "D": "\ud800"}
    assert read(datagram(told.items())) == told | {"D": "?"}


def test_a_traceback_is_one_line_of_the_journal(log: logging.Logger, journald: socket.socket) -> None:
    try:
        raise ValueError("odd")
    except ValueError:
        log.exception("it broke")
    assert read(journald.recv(10_000))["MESSAGE"].startswith("it broke\nTraceback")


def test_a_journal_that_does_not_read_holds_nobody_up_and_what_was_lost_is_told(
    log: logging.Logger, journald: socket.socket, capfd: pytest.CaptureFixture[str]
) -> None:
    # It returns at all; a blocking socket would wait for ever.
    for _ in range(1000):
        log.info("said")
    taken = 0
    journald.setblocking(False)
    try:
        while journald.recv(10_000):
            taken += 1
    except BlockingIOError:
        pass
    log.info("again")
    assert read(journald.recv(10_000))["MESSAGE"] == f"again ({1000 - taken} lines before this one are lost)"
    log.info("well")
    assert read(journald.recv(10_000))["MESSAGE"] == "well"
    assert capfd.readouterr().err == ""


def test_what_the_journal_cannot_take_goes_to_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    handler = Journal(tmp_path / "nobody")
    handler.emit(logging.LogRecord("maskgate", logging.WARNING, "", 0, "said", None, None))
    handler.close()
    assert capfd.readouterr().err.endswith("WARNING said\n")


SAY = """
import logging
from maskgate import journal
logging.basicConfig(level=20, handlers=[journal.handler()])
logging.info("said", extra={"fields": {"MASKGATE_REASON": "unknown"}})
"""


def test_a_daemon_started_by_hand_logs_to_stderr() -> None:
    ran = subprocess.run([sys.executable, "-c", SAY], env=environment(), capture_output=True, text=True, check=True)
    assert ran.stderr == "INFO said\n"
    ran = subprocess.run(
        [sys.executable, "-c", SAY], env=environment() | {"JOURNAL_STREAM": "1:2"}, capture_output=True, text=True
    )
    assert ran.stderr == "INFO said\n"


def environment() -> dict[str, str]:
    """Return what a process started by hand has."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(DAEMON)}


JOURNALD = Path("/usr/lib/systemd/systemd-journald")
# Its own /run, so that nothing of this machine's is touched. What systemd sets for a service, systemd-cat may not.
SANDBOX = """
set -eu
mount -t tmpfs none /run
mkdir -p /run/systemd/journal
/usr/lib/systemd/systemd-journald > /run/said 2>&1 &
journald=$!
trap 'kill $journald' EXIT
for _ in $(seq 100); do [ -S /run/systemd/journal/stdout ] && break; sleep 0.05; done
systemd-cat sh -c 'JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$PYTHON" -c "$SAY"'
for _ in $(seq 100); do
    journalctl -q -o json MASKGATE_REASON=unknown SYSLOG_IDENTIFIER=maskgate | grep . && break
    sleep 0.05
done
"""


@pytest.mark.skipif(os.geteuid() != 0 or not JOURNALD.exists(), reason="needs root and systemd-journald")
def test_journald_itself_takes_the_line_and_finds_it_by_its_field() -> None:
    env = environment() | {"PYTHON": sys.executable, "SAY": SAY}
    ran = subprocess.run(
        ["unshare", "--mount", "sh", "-c", SANDBOX], env=env, capture_output=True, text=True, timeout=30
    )
    if "unshare" in ran.stderr or "mount:" in ran.stderr:
        pytest.skip(f"no namespace to be had here: {ran.stderr}")
    assert '"MESSAGE":"said"' in ran.stdout, ran
    assert '"PRIORITY":"6"' in ran.stdout
