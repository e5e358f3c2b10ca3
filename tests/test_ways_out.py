"""The daemon as a process, seen at its pins: the ways out work whatever is broken, and a process that freezes or dies
does not leave the gate open. Pins are files; this test is the service manager."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from house import House, environment
from people import Enrolled

WATCHDOG_S = 3.0
"""What the unit's WatchdogSec= is to the test."""
BUTTON = {"rex_pin": 5, "rex_s": 30.0}


class Service:
    """`maskgate run` under a service manager that keeps a watchdog and runs ExecStopPost=."""

    def __init__(self, house: House) -> None:
        """Start it, the button not pressed."""
        self.house, self.pins = house, house.folder / "pins"
        self.pins.mkdir()
        self.press(False)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(house.folder / "notify"))
        self.process = house.start(
            "run", env=environment(NOTIFY_SOCKET=str(house.folder / "notify")), stdout=subprocess.DEVNULL
        )

    def press(self, down: bool) -> None:
        """Press the exit button, or let it go."""
        (self.pins / "gpio5").write_text(f"{not down:d}\n")

    @property
    def energised(self) -> bool:
        """Whether the relay's pin is high, whoever left it so."""
        file = self.pins / "gpio17"
        return file.exists() and file.read_text() == "1\n"

    def waits_until(self, energised: bool, *, within_s: float) -> float:
        """Wait for the relay; return how long it took, seconds."""
        began_s = time.monotonic()
        while self.energised is not energised:
            assert time.monotonic() - began_s < within_s, "waited in vain"
            assert self.process.poll() is None or not energised
            time.sleep(0.01)
        return time.monotonic() - began_s

    def hears(self, word: str, *, within_s: float = 30.0) -> None:
        """Wait for a notification that begins so."""
        self._notify.settimeout(within_s)
        while not self._notify.recv(1000).decode().startswith(word):
            pass

    def supervises(self) -> None:
        """As systemd does: wait until the process has died or gives no sign of life, end it, lock the gate."""
        until_s = time.monotonic() + WATCHDOG_S
        self._notify.settimeout(0.05)
        while self.process.poll() is None and time.monotonic() < until_s:
            try:
                if self._notify.recv(1000) == b"WATCHDOG=1":
                    until_s = time.monotonic() + WATCHDOG_S
            except TimeoutError:
                pass
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGABRT)
            self.process.send_signal(signal.SIGCONT)
        self.process.wait(timeout=10)
        assert self.house.start("lock").wait(timeout=30) == 0

    def stop(self) -> None:
        """End it for good."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=10)
        self._notify.close()


def services(folder: Path, **sections: dict[str, object]) -> Service:
    """Start the daemon with an exit button."""
    gate = {"pins": "simulated", "pins_folder": "pins"}
    return Service(House(folder, gate=gate, door=dict(BUTTON), **sections))


@pytest.fixture
def armed(tmp_path: Path, enrolled: Enrolled) -> Iterator[Service]:
    """Hold a daemon that looks at pictures and pings."""
    (tmp_path / "shots").mkdir()
    for number in range(6):
        enrolled.save_scene(tmp_path / "shots" / f"{number}.png")
    service = services(tmp_path, camera={"source": "shots", "fps": 2})
    service.hears("READY")
    yield service
    service.stop()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_a_daemon_that_is_killed_or_frozen_with_the_gate_open_leaves_it_open_no_longer_than_the_watchdog_and_2_s(
    armed: Service, end: signal.Signals
) -> None:
    began_s = time.monotonic()
    assert armed.house.start("lock").wait(timeout=30) == 0
    # The 2 s are meant for this command, half of one on a board; a busy test machine takes longer to start it.
    lock_s = time.monotonic() - began_s
    armed.press(True)
    armed.waits_until(True, within_s=2)
    armed.process.send_signal(end)
    ended_s = time.monotonic()
    armed.supervises()
    assert not armed.energised
    assert time.monotonic() - ended_s < WATCHDOG_S + max(2.0, 2 * lock_s)


def records(service: Service) -> list[str]:
    """End the daemon in order and return the kinds of its events."""
    service.process.terminate()
    service.process.communicate(timeout=20)
    return [kind for kind, _, _ in service.house.events()]


def test_the_exit_button_works_without_a_camera_and_is_recorded_afterwards(tmp_path: Path) -> None:
    service = services(tmp_path)
    service.hears("STATUS=locked")
    service.press(True)
    assert service.waits_until(True, within_s=2) < 0.5
    assert "rex" in records(service)
    assert not service.energised
    service.stop()


@pytest.mark.parametrize("broken", ["models", "gallery"])
def test_the_exit_button_works_with_broken_networks_and_with_a_broken_gallery(tmp_path: Path, broken: str) -> None:
    if broken == "models":
        (tmp_path / "none").mkdir()
        service = services(tmp_path, models={"path": "none"})
    else:
        (tmp_path / "gallery.db").write_bytes(os.urandom(8192))
        service = services(tmp_path)
    service.hears("STATUS=locked")
    service.press(True)
    assert service.waits_until(True, within_s=2) < 0.5
    service.process.terminate()
    assert service.process.wait(timeout=20) == 0
    assert not service.energised
    service.stop()


def test_without_a_way_out_to_keep_a_broken_gallery_ends_the_daemon_with_one_line(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.gallery.write_bytes(os.urandom(8192))
    ran = subprocess.run(
        [sys.executable, "-m", "maskgate.admin", "--config", str(house.path), "run"],
        env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 1
