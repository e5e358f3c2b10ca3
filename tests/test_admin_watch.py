"""Laws of `maskgate watch` on a real pseudo-terminal: what is shown, its cost, and that the terminal is given back."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from house import COMMAND, House, environment
from maskgate.admin.board import View, lines
from maskgate.admin.ink import LEFT_TO_RIGHT
from maskgate.admin.terminal import fitted
from maskgate.control import listen

EVENT = {
    "at": "2026-11-25T17:03:11.402Z",
    "kind": "decision",
    "subject": "王小明",
    "granted": True,
    "reason": "granted",
}
EVENT |= {"score": 0.612, "actor": None, "id": 1}
ANSWER: dict[str, Any] = {
    "version": "1.2.3",
    "state": "armed",
    "lock": "locked",
    "lock_left_s": None,
    "relay": "inactive",
    "fire": False,
    "door": "closed",
    "tampered": False,
    "up_s": 400.0,
    "frames": 6000,
    "fps": 14.9,
    "camera": {"source": "picamera2", "size": [1280, 960], "lores": [640, 480], "fps": 15.0},
    "gallery": {"subjects": 12, "templates": 31},
    "last_decision": {
        "ago_s": 12.0,
        "granted": True,
        "reason": "granted",
        "subject": "محمد علي",
        "score": 0.612,
        "threshold": 0.402,
        "margin": 0.2,
        "masked": 0.0,
        "live": 0.9,
    },
    "sighting": {
        "faults": ["too_dark"],
        "masked": 0.9,
        "live": None,
        "quality": {"face_px": 112.0, "sharpness": 0.44, "brightness": 30.0, "contrast": 40.0, "eyes": 0.9},
    },
    "events": [EVENT | {"id": i} for i in range(10)],
}
NOW = datetime(2026, 11, 25, 17, 5, tzinfo=UTC)


class Daemon:
    """Answers as the daemon does, over the real socket; counts what it was asked."""

    def __init__(self, socket: Path, answer: dict[str, Any]) -> None:
        """Listen at `socket`."""
        self.socket, self.answer, self.asked = socket, answer, list[str]()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        with listen(self.socket) as requests:
            while not self._stop.is_set():
                request = requests.pending()
                if request is None:
                    time.sleep(0.005)
                    continue
                self.asked.append(request.name)
                watched = request.name == "watch"
                request.reply(self.answer | {"up_s": 400.0 + time.monotonic() % 60} if watched else {"lock": "locked"})
                request.close()

    def __enter__(self) -> Daemon:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()


class Tmux:
    """A pseudo-terminal with `maskgate watch` on it, and what its screen shows."""

    def __init__(self, house: House, columns: int = 80, rows: int = 24, *, shell: str = "") -> None:
        """Start the command with the terminal as its own, from a shell that also does what `shell` says."""
        self.master, slave = pty.openpty()
        self.slave = os.dup(slave)
        self.sent = bytearray()
        self.resize(columns, rows)
        self.modes = termios.tcgetattr(slave)
        variables = environment(TERM="xterm-256color", PYTHONUTF8="1")
        variables |= {"COLUMNS": "33", "LINES": "7"}  # what a shell may have left behind
        variables.pop("NO_COLOR", None)
        command = [*COMMAND, "--config", str(house.path), "watch"]
        self.process = subprocess.Popen(
            ["bash", "-c", f"set -m; {shlex.join(command)}; {shell}"] if shell else command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=variables,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
        )
        os.close(slave)
        self._ended = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with suppress(OSError):
            while not self._ended.is_set():
                if select.select([self.master], [], [], 0.05)[0]:
                    self.sent += os.read(self.master, 65536)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size, as a window does."""
        self.columns, self.rows = columns, rows
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self.master, keys.encode())

    @property
    def screen(self) -> str:
        """What is shown, since it was last cleared, styles left out."""
        shown: dict[int, str] = {}
        sent = bytes(self.sent).decode(errors="replace").rpartition("\x1b[2J")[2]
        for row, line in re.findall(r"\x1b\[(\d+)H\x1b\[K((?:[^\x1b]|\x1b\[[\d;]*m)*)", sent):
            shown[int(row)] = re.sub(r"\x1b\[[\d;]*m", "", line)
        return "\n".join(shown.get(row, "") for row in range(1, self.rows + 1))

    def wait(self, condition: Callable[[], object], within_s: float = 60.0) -> None:
        """Wait for a condition."""
        end_s = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < end_s, self.screen
            time.sleep(0.02)

    @property
    def given_back(self) -> bool:
        """Whether the terminal is as it was: its modes, its main screen, its cursor."""
        last = {name: bytes(self.sent).rfind(name.encode()) for name in ("\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h")}
        main = last["\x1b[?1049l"] > last["\x1b[?1049h"] and last["\x1b[?25h"] > last["\x1b[?1049h"]
        return main and termios.tcgetattr(self.slave) == self.modes

    def take_away(self) -> None:
        """Close the terminal. Its number is soon another file's: nobody may still read from it."""
        self._ended.set()
        self._reader.join()
        os.close(self.slave)
        os.close(self.master)

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        self.take_away()


@contextmanager
def watching(house: House, **how: Any) -> Iterator[Tmux]:
    """Hold the command on a terminal, once it draws."""
    terminal = Tmux(house, **how)
    try:
        terminal.wait(lambda: "quit" in terminal.screen)
        yield terminal
    finally:
        terminal.close()


# -- what is shown -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50), (40, 12), (20, 3), (1, 1)])
@pytest.mark.parametrize("daemon", [ANSWER, ANSWER | {"last_decision": None, "sighting": None, "events": []}, None])
def test_a_screen_of_any_size_is_filled_and_never_overflows(
    width: int, height: int, daemon: dict[str, Any] | None
) -> None:
    view = View(NOW, daemon, silence="no daemon is running", celsius=48.2, free_bytes=21_000_000_000)
    shown = lines(view, width, height)
    assert len(shown) == height
    for line in shown:
        assert cell_len(fitted(line, width, colour=False)) <= width


def test_the_numbers_of_the_last_decision_stand_beside_what_they_are_held_against() -> None:
    shown = "\n".join(fitted(line, 80, colour=False) for line in lines(View(NOW, ANSWER, celsius=48.2), 80, 24))
    shown = shown.replace(LEFT_TO_RIGHT, "")
    for words in (
        "armed",
        "15 of 15 frames a second",
        "48 C",
        "12 people, 31 templates",
        "✓ granted  محمد علي  12 s ago",
        "0.612  needs 0.402",
        "too dark, 112 px",
        "17:03:11  granted",
        "王小明  0.612",
    ):
        assert words in shown, words
    assert shown.count("17:03:11") == 10


def test_a_bar_passes_its_stroke_exactly_when_the_value_does() -> None:
    from maskgate.admin.board import _bar

    for value in (0.0, 0.2, 0.39, 0.41, 0.8, 1.0, 7.0, -1.0):
        drawn = _bar(value, 0.4, 1.0, 80, plain=True)
        assert len(drawn) == 36
        assert (drawn[drawn.index("|") + 1] == "#") == (value >= 0.4)


def test_nothing_in_a_name_can_move_the_cursor() -> None:
    assert fitted([("A\x1b[2Jnna\n", "strong")], 80) == "\x1b[1mA?[2Jnna?\x1b[0m"
    assert fitted([("王小明", "")], 5) == "王小 "


# -- on a terminal -------------------------------------------------------------------------------------------------


def test_at_rest_it_costs_a_slow_link_under_two_kilobytes_a_second(house: House) -> None:
    with Daemon(house.folder / "control.sock", ANSWER), watching(house) as terminal:
        terminal.wait(lambda: "armed" in terminal.screen)
        time.sleep(1.0)
        before, began_s = len(terminal.sent), time.monotonic()
        time.sleep(3.0)
        rate = (len(terminal.sent) - before) / (time.monotonic() - began_s)
        assert 0 < rate < 2048


def test_an_order_is_given_after_a_y_and_after_nothing_else(house: House) -> None:
    with Daemon(house.folder / "control.sock", ANSWER) as daemon, watching(house) as terminal:
        terminal.wait(lambda: "armed" in terminal.screen)
        for key, order in (("u", "unlock"), ("l", "lockdown"), ("r", "release")):
            terminal.press(key)
            terminal.wait(lambda: "y/n" in terminal.screen)
            terminal.press("n")
            terminal.wait(lambda: "y/n" not in terminal.screen)
            assert order not in daemon.asked
            terminal.press(key)
            terminal.wait(lambda: "y/n" in terminal.screen)
            terminal.press("y")
            terminal.wait(lambda order=order: f"{order}: done, the gate is locked" in terminal.screen)  # type: ignore[misc]
            assert daemon.asked.count(order) == 1
        terminal.press("q")
        terminal.wait(lambda: terminal.process.poll() is not None)
        assert terminal.process.returncode == 0
        assert terminal.given_back


def test_a_daemon_that_goes_away_is_said_and_found_again(house: House) -> None:
    with watching(house) as terminal:
        terminal.wait(lambda: "start maskgate" in terminal.screen)
        for _ in range(2):
            with Daemon(house.folder / "control.sock", ANSWER):
                terminal.wait(lambda: "armed" in terminal.screen)
            terminal.wait(lambda: "no answer" in terminal.screen)
        assert terminal.process.poll() is None


def test_a_terminal_that_is_resized_is_drawn_anew(house: House) -> None:
    with Daemon(house.folder / "control.sock", ANSWER), watching(house) as terminal:
        for columns, rows in ((200, 50), (60, 10), (80, 24)):
            terminal.resize(columns, rows)
            terminal.wait(lambda: "quit" in terminal.screen.splitlines()[-1])
            assert "armed" in terminal.screen.splitlines()[0]
            assert all(cell_len(line) <= columns for line in terminal.screen.splitlines())


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 128 + signal.SIGTERM),
        (signal.SIGHUP, 128 + signal.SIGHUP),
        (signal.SIGQUIT, 128 + signal.SIGQUIT),
        (signal.SIGINT, 0),
    ],
)
def test_whatever_ends_it_the_terminal_is_given_back(house: House, number: signal.Signals, code: int) -> None:
    with watching(house) as terminal:
        assert not terminal.given_back
        terminal.process.send_signal(number)
        terminal.wait(lambda: terminal.process.poll() is not None)
        terminal.wait(lambda: terminal.given_back, 5)
        assert terminal.process.returncode == code


def test_a_bug_in_drawing_gives_the_terminal_back_and_shows_itself(house: House) -> None:
    with Daemon(house.folder / "control.sock", ANSWER | {"camera": {}}):
        terminal = Tmux(house)
        try:
            terminal.wait(lambda: terminal.process.poll() is not None)
            terminal.wait(lambda: b"KeyError" in terminal.sent and terminal.given_back, 5)
        finally:
            terminal.close()


def test_stopped_it_lends_the_terminal_back_and_continued_it_takes_it_again(house: House) -> None:
    with watching(house, shell="read; fg; read; fg") as terminal:
        for _ in range(2):
            terminal.press("\x1a")
            terminal.wait(lambda: terminal.given_back)
            del terminal.sent[:]
            terminal.press("\n")
            terminal.wait(lambda: not terminal.given_back and "quit" in terminal.screen)


def test_a_terminal_that_is_gone_ends_it(house: House) -> None:
    terminal = Tmux(house)
    terminal.wait(lambda: "quit" in terminal.screen)
    terminal.take_away()
    assert terminal.process.wait(timeout=30) != 0


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {}])
def test_without_a_terminal_it_says_what_does_without(house: House, env: dict[str, str]) -> None:
    assert "maskgate log --follow" in house.run("watch").failure
