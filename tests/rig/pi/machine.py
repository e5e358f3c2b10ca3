"""The emulated Pi 3B, seen from outside: a shell on its serial line, the level of its pins, its inputs, its power.

QEMU's own model of the board's pins stands for the header: whether a pin is an output and its level are read from its
registers by the monitor, and an input is driven by writing GPSET0 or GPCLR0 through the debugger's port, which sets a
pin's level whatever it is. Edge interrupts, pull resistors and how long things take are not modelled: a pin that is
no output counts as low, for that is what the resistor of the wiring guide makes it.
"""

from __future__ import annotations

import re
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rig.report import Failed
from rig.roots import WORK
from rig.shell import PATIENCE, run, until

GPIO = 0x3F200000
"""Where the BCM2837 has its pins."""
GPSET0, GPCLR0, GPLEV0 = 0x1C, 0x28, 0x34
"""Registers of pins 0 to 31 (BCM2835 ARM Peripherals, 6.1)."""
REVISION = "a02082"
"""Of a 3B; the firmware tells a real one, gpiozero asks for it."""
POLL_S = 0.02


class Channel:
    """A Unix socket of QEMU's."""

    def __init__(self, path: Path) -> None:
        """Connect as soon as it is there."""
        self._socket = until(f"QEMU to open {path.name}", lambda: _connected(path), limit_s=30)
        self._said = b""

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self._socket.sendall(data)

    def read(self, end: re.Pattern[bytes], *, limit_s: float) -> re.Match[bytes]:
        """Read until `end` is found, and forget all up to it; Failed, with what came, after the limit."""
        end_s = time.monotonic() + limit_s * PATIENCE
        while not (found := end.search(self._said)):
            self._socket.settimeout(max(0.01, end_s - time.monotonic()))
            try:
                more = self._socket.recv(65536)
            except TimeoutError as error:
                said = self._said.decode(errors="replace")
                raise Failed(f"{said}\nno {end.pattern!r} after {limit_s * PATIENCE:.0f} s") from error
            if not more:
                raise Failed(f"{self._said.decode(errors='replace')}\nQEMU has ended")
            self._said += more
        self._said = self._said[found.end() :]
        return found

    def forget(self) -> None:
        """Drop what came and was not read."""
        self._said = b""


def _connected(path: Path) -> socket.socket | None:
    made = socket.socket(socket.AF_UNIX)
    try:
        made.connect(str(path))
    except OSError:
        made.close()
        return None
    return made


class Pi:
    """A running emulated Pi."""

    def __init__(self, folder: Path) -> None:
        """Connect to the QEMU whose sockets are in `folder`."""
        self._monitor, self._serial = Channel(folder / "monitor"), Channel(folder / "serial")
        self._monitor.read(PROMPT, limit_s=60)
        self._asking = threading.Lock()
        self._debugger = Channel(folder / "debugger")
        # Whoever attaches stops the machine. From now on addresses are those of its bus.
        self._remote(b"Qqemu.PhyMemMode:1")
        self._continue()

    # -- power, pins

    def ask(self, command: str) -> str:
        """Give the monitor a command and return its answer."""
        with self._asking:
            self._monitor.send(command.encode() + b"\n")
            return self._monitor.read(ANSWER, limit_s=60)[0].decode(errors="replace")

    def driven(self, pin: int) -> tuple[bool, bool]:
        """Tell whether a pin is an output, and whether it is high."""
        said = self.ask(f"xp /{GPLEV0 // 4 + 1}wx {GPIO:#x}")
        words = [int(word, 16) for line in re.findall(r"[0-9a-f]+: (.+)", said) for word in line.split()]
        # GPFSEL0 to 5 are the first words, ten pins each; 1 is an output.
        return words[pin // 10] >> (pin % 10 * 3) & 7 == 1, bool(words[GPLEV0 // 4] >> pin & 1)

    def drive(self, pin: int, high: bool) -> None:
        """Put an input at a level, as a contact would."""
        place = GPIO + (GPSET0 if high else GPCLR0)
        self._debugger.send(b"\x03")
        self._debugger.read(PACKET, limit_s=30)
        self._remote(f"M{place:x},4:".encode() + (1 << pin).to_bytes(4, "little").hex().encode())
        self._continue()

    def reset(self) -> None:
        """Do what pulling the power and putting it back does to processor and pins."""
        self._serial.forget()
        self.ask("system_reset")

    def _remote(self, words: bytes) -> None:
        """Send the debugger's port a packet that it has to take."""
        self._debugger.forget()
        self._debugger.send(b"$" + words + b"#" + f"{sum(words) % 256:02x}".encode())
        # Packets with a T only say that the machine has stopped.
        while (answer := self._debugger.read(PACKET, limit_s=30)[1]).startswith(b"T"):
            continue
        if answer != b"OK":
            raise Failed(f"QEMU's debugger port says {answer!r} to {words!r}")
        self._debugger.send(b"+")

    def _continue(self) -> None:
        """Let the machine run on."""
        self._debugger.send(b"+$c#63")

    # -- the shell on the serial line

    def up(self, *, limit_s: float) -> None:
        """Wait until the shell answers."""
        self._serial.read(re.compile(rb"rig-shell-is-up"), limit_s=limit_s)

    def run(self, command: str, *, limit_s: float = 120) -> str:
        """Run a shell command and return what it said; Failed when it fails or does not end."""
        word = secrets.token_hex(4)
        # Broken in two, so that the echo of the command is not taken for its end.
        self._serial.send(f"{{ {command}\n}} 2>&1; echo rig''-{word}-$?\n".encode())
        found = self._serial.read(re.compile(rb"(?s)(.*)rig-" + word.encode() + rb"-(\d+)"), limit_s=limit_s)
        said = found[1].decode(errors="replace").replace("\r", "").strip()
        if found[2] != b"0":
            raise Failed(f"{said}\n{command}: exit {found[2].decode()}")
        return said

    def wait_for(self, words: str, *, limit_s: float) -> str:
        """Wait until the console says this, and return all that it said before."""
        return self._serial.read(re.compile(rb"(?s).*" + words.encode()), limit_s=limit_s)[0].decode(errors="replace")


PROMPT = re.compile(rb"\(qemu\) $")
ANSWER = re.compile(rb"(?s).*\(qemu\) $")
PACKET = re.compile(rb"\$([^#]*)#[0-9a-f]{2}")


class Watch(threading.Thread):
    """Looks at one pin all the time, from outside."""

    def __init__(self, pi: Pi, pin: int) -> None:
        """Begin at once."""
        super().__init__(daemon=True)
        self._pi, self._pin, self._ended = pi, pin, threading.Event()
        self.edges: list[tuple[float, bool]] = []
        """Monotonic seconds, and whether the pin was driven high; the first as it was found."""
        self.start()

    def run(self) -> None:
        """Note each change until told to end, or the machine is gone."""
        with suppress(Failed, OSError, IndexError):
            while not self._ended.wait(POLL_S):
                high = all(self._pi.driven(self._pin))
                if not self.edges or self.edges[-1][1] != high:
                    self.edges.append((time.monotonic(), high))

    def end(self) -> None:
        """Look no more."""
        self._ended.set()
        self.join()

    @property
    def is_high(self) -> bool:
        """The level as last seen."""
        return bool(self.edges) and self.edges[-1][1]

    def becomes(self, high: bool, *, after_s: float, limit_s: float) -> float:
        """Wait for the first such edge after a time and return when it came, monotonic seconds."""

        def edge() -> float | None:
            return next((at_s for at_s, level in self.edges if level is high and at_s >= after_s), None)

        return until(f"pin {self._pin} to go {'high' if high else 'low'}", edge, limit_s=limit_s, every_s=0.05)


@contextmanager
def running(kernel: Path, archive: Path, *, init: str, parameters: str = "") -> Iterator[Pi]:
    """Boot an emulated Pi 3B from an archive; it is ended afterwards."""
    folder = WORK / "pi"
    folder.mkdir(exist_ok=True)
    tree = folder / "pi.dtb"
    tree.write_bytes((kernel / "pi.dtb").read_bytes())
    run("fdtput", "-p", "-t", "x", tree, "/system", "linux,revision", REVISION)
    # A tmpfs, which the root would be otherwise, takes no more than half of the memory that the archive leaves.
    words = f"console=ttyS1,115200 rdinit={init} rootfstype=ramfs panic=-1 loglevel=3 {parameters}"
    sockets = [
        word
        for name in ("monitor", "serial", "debugger")
        for word in ("-chardev", f"socket,id={name},path={folder / name},server=on,wait=off")
    ]
    command = ["nice", "-n", "5", "qemu-system-aarch64", "-M", "raspi3b", "-m", "1G", "-display", "none", *sockets]
    command += ["-mon", "chardev=monitor", "-serial", "null", "-serial", "chardev:serial", "-gdb", "chardev:debugger"]
    command += ["-kernel", f"{kernel / 'vmlinuz'}", "-dtb", f"{tree}", "-initrd", f"{archive}", "-append", words]
    said = (folder / "said").open("w+")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    try:
        yield Pi(folder)
    finally:
        process.kill()
        process.wait()
        said.close()
        for name in ("monitor", "serial", "debugger"):
            (folder / name).unlink(missing_ok=True)
