"""What the machine itself tells of its health: board, system, clock, disk, heat, pins. Knows nothing of faces.

Reads files and asks the system's own tools; changes nothing. Each check takes a `Machine` and yields findings. A file
or tool that is not there is no fault of the gate's: the finding then says what could not be seen, or is left out.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["pass", "warn", "fail"]

MIN_FREE_MB = 200
"""Below this a log of months, a backup and an update no longer fit."""
HOT_C = 80.0
"""Where Raspberry Pi's firmware begins to slow the processor down (its documentation on frequency management)."""
WARM_C = 70.0
PULLED_UP = range(9)
"""GPIO 0 to 8 are pulled up at power-on, 9 to 27 down (BCM2835 ARM Peripherals, table 6-31)."""
BUSES = {
    "i2c_arm=on": (2, 3),
    "i2c=on": (2, 3),
    "spi=on": (7, 8, 9, 10, 11),
    "i2s=on": (18, 19, 20, 21),
    "audio=on": (),
}
"""Pins by the line of config.txt (`dtparam=...`) that gives them to a bus."""
THROTTLED = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "temperature limit"}
"""Bits of `vcgencmd get_throttled` for now; 16 higher for since the start (Raspberry Pi documentation, vcgencmd)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check."""

    check: str
    verdict: Verdict
    said: str
    mend: str | None = None
    """The exact command, or the deed, that mends it; None where nothing is wrong."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the system's files are; a test gives a folder that looks like `/`."""

    root: Path = Path("/")

    def text(self, path: str) -> str | None:
        """Return a file's text without its last blanks; None when it is not there or may not be read."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip("\0\n ")
        except OSError:
            return None

    def said(self, *command: str) -> str | None:
        """Return what a tool prints; None when it is missing, fails or takes longer than 5 s."""
        if shutil.which(command[0]) is None:
            return None
        try:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return ran.stdout.strip()

    def boot_config(self) -> list[str]:
        """Return the lines of the Pi's config.txt that count, without comments; empty where there is none."""
        text = self.text("boot/firmware/config.txt") or self.text("boot/config.txt") or ""
        return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def board(machine: Machine) -> Iterator[Finding]:
    """Which board it is, and its memory."""
    model = machine.text("proc/device-tree/model") or machine.text("sys/firmware/devicetree/base/model")
    memory = re.search(r"MemTotal:\s+(\d+) kB", machine.text("proc/meminfo") or "")
    size = f", {int(memory[1]) // 1024} MB" if memory else ""
    if model and model.startswith("Raspberry Pi"):
        yield Finding("board", "pass", model + size)
    else:
        yield Finding("board", "warn", f"{model or 'not a Raspberry Pi'}{size}", "only a Raspberry Pi was built for")


def system(machine: Machine) -> Iterator[Finding]:
    """The operating system and the Python that runs this."""
    import platform
    import sys

    release = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', machine.text("etc/os-release") or "", re.MULTILINE))
    name = release.get("PRETTY_NAME", "unknown system")
    wide = sys.maxsize > 2**32
    if not wide:
        yield Finding("system", "fail", f"{name}, 32 bit", "install the 64-bit Raspberry Pi OS: no runtime exists here")
    elif release.get("VERSION_CODENAME") in ("bookworm", "trixie"):
        yield Finding("system", "pass", f"{name}, 64 bit")
    else:
        yield Finding("system", "warn", f"{name}, 64 bit", "bookworm and trixie are what maskgate is tested on")
    yield Finding("python", "pass", f"{platform.python_version()} ({platform.machine()})")


def clock(machine: Machine) -> Iterator[Finding]:
    """Whether the clock can be trusted, now and after a power cut."""
    now = datetime.now().astimezone()
    said = now.strftime("%Y-%m-%d %H:%M:%S %Z")
    synchronised = machine.said("timedatectl", "show", "--property=NTPSynchronized", "--value")
    if (machine.root / "run/systemd/timesync/synchronized").exists() or synchronised == "yes":
        yield Finding("clock", "pass", f"{said}, set by the network")
    elif now.year < 2024:
        yield Finding("clock", "fail", f"{said}: never set", f"sudo date --set '{now.strftime('%Y-%m-%d %H:%M')}'")
    else:
        mend = "sudo timedatectl set-ntp true, or fit a real-time clock"
        yield Finding("clock", "warn", f"{said}, not set by the network", mend)
    if any((machine.root / "sys/class/rtc").glob("rtc*")):
        yield Finding("rtc", "pass", "a real-time clock keeps the time through a power cut")
    else:
        mend = "fit one (dtoverlay=i2c-rtc,ds3231) if the gate has schedules and no network"
        yield Finding(
            "rtc", "warn", "no real-time clock: after a power cut the time is unknown until a network says", mend
        )


def disk(machine: Machine, data: Path) -> Iterator[Finding]:
    """Room where the log is, whether it can be kept there, and how worn the card is where it tells."""
    held = next(place for place in (data, *data.parents) if place.exists())
    free_mb = shutil.disk_usage(held).free // 1_000_000
    if free_mb < MIN_FREE_MB:
        mend = f"make room: sudo apt clean; sudo journalctl --vacuum-size=50M; then df -h {held}"
        yield Finding("disk", "fail", f"{held}: {free_mb} MB free, {MIN_FREE_MB} MB are wanted", mend)
    else:
        yield Finding("disk", "pass", f"{held}: {free_mb:,} MB free")
    kind, flags = _mount_of(machine, held)
    if "ro" in flags.split(","):
        yield Finding("mount", "fail", f"{held} is mounted read-only", f"sudo mount -o remount,rw {held}; dmesg | tail")
    elif kind in ("overlay", "tmpfs"):
        mend = "put store.path on a partition of its own, or: sudo raspi-config nonint disable_overlayfs"
        yield Finding("mount", "fail", f"{held} is on {kind}: people and log are gone at the next start", mend)
    elif kind:
        yield Finding("mount", "pass", f"{held} is on {kind}, and can be written")
    yield _wear(machine)


def _mount_of(machine: Machine, place: Path) -> tuple[str, str]:
    """Return the file system a path is on and its mount options; empty where /proc/mounts does not say."""
    best, found = -1, ("", "")
    for line in (machine.text("proc/mounts") or "").splitlines():
        _, point, kind, flags, *_ = [*line.split(), "", "", ""]
        within = Path(point) == place or Path(point) in place.parents
        # The last mount on one point hides those before it.
        if within and len(Path(point).parts) >= best:
            best, found = len(Path(point).parts), (kind, flags)
    return found


def _wear(machine: Machine) -> Finding:
    """What the card says of its own age: eMMC tells in tenths of its life (JEDEC eMMC 5.0), SD cards do not."""
    for told in sorted(machine.root.glob("sys/block/mmcblk*/device/life_time")):
        tenths = [int(value, 16) for value in (machine.text(str(told.relative_to(machine.root))) or "").split()]
        if tenths and max(tenths) >= 9:
            return Finding("wear", "warn", f"the eMMC has used {max(tenths) * 10} % of its life", "replace it soon")
        if tenths:
            return Finding("wear", "pass", f"the eMMC has used at most {max(tenths) * 10} % of its life")
    return Finding("wear", "pass", "the card does not say how worn it is; the gate writes nothing while nobody comes")


def celsius(machine: Machine) -> float | None:
    """Return the processor's temperature; None where the kernel does not tell."""
    told = machine.text("sys/class/thermal/thermal_zone0/temp")
    return int(told) / 1000 if told and told.lstrip("-").isdigit() else None


def heat(machine: Machine) -> Iterator[Finding]:
    """Temperature, and what the firmware says of power and throttling."""
    hot = celsius(machine)
    if hot is not None:
        verdict: Verdict = "fail" if hot >= HOT_C else "warn" if hot >= WARM_C else "pass"
        mend = None if verdict == "pass" else f"a heat sink, shade or air: the processor slows down from {HOT_C:g} C"
        yield Finding("heat", verdict, f"{hot:.1f} C", mend)
    said = machine.said("vcgencmd", "get_throttled")
    bits = re.fullmatch(r"throttled=0x([0-9a-fA-F]+)", said or "")
    if not bits:
        return
    value = int(bits[1], 16)
    now = [words for bit, words in THROTTLED.items() if value >> bit & 1]
    before = [words for bit, words in THROTTLED.items() if value >> (bit + 16) & 1]
    mend = "use the official power supply and a short cable" if value & 0x10001 else "cool the board"
    if now:
        yield Finding("power", "fail", f"now: {', '.join(now)}", mend)
    elif before:
        yield Finding("power", "warn", f"since the start: {', '.join(before)}", mend)
    else:
        yield Finding("power", "pass", "no under-voltage and no throttling since the start")


def pins(machine: Machine, used: dict[str, int], *, relay: int, active_high: bool) -> Iterator[Finding]:
    """Whether the pins are free, and rest at the relay's inactive level before any software runs.

    `used` is the BCM number by the name of its setting.
    """
    asleep_high = relay in PULLED_UP
    level, wanted = ("up", "9 or above") if asleep_high else ("down", "0 to 8")
    if asleep_high == active_high:
        said = f"GPIO {relay} is pulled {level} at power-on, which energises the relay before any software runs"
        yield Finding("relay pin", "fail", said, f"move the relay to GPIO {wanted} and set gate.relay_pin")
    else:
        yield Finding("relay pin", "pass", f"GPIO {relay} is pulled {level} at power-on, the relay's inactive level")
    lines = machine.boot_config()
    params = [part for line in lines if line.startswith("dtparam=") for part in line[8:].split(",")]
    taken = {pin: param for param in params for pin in BUSES.get(param, ())}
    if "enable_uart=1" in lines:
        taken |= {14: "enable_uart=1", 15: "enable_uart=1"}
    if any(line.startswith("dtoverlay=w1-gpio") for line in lines):
        taken |= {4: "dtoverlay=w1-gpio"}
    clashes = [(name, pin, taken[pin]) for name, pin in used.items() if pin in taken]
    for name, pin, param in clashes:
        mend = f"choose another pin for {name}, or take {param} out of /boot/firmware/config.txt"
        yield Finding("pins", "warn", f"{name} is {pin}, which {param} gives to a bus", mend)
    if not clashes:
        yield Finding("pins", "pass", ", ".join(f"{name} {pin}" for name, pin in used.items()))
    if not lines:
        return
    # Without it a pin given back by a dead process may go on as an output (see the wiring guide).
    if "strict_gpiod" in params or "strict_gpiod=on" in params:
        yield Finding("strict_gpiod", "pass", "pins fall back to inputs when their process dies")
    else:
        mend = "echo dtparam=strict_gpiod | sudo tee -a /boot/firmware/config.txt; sudo reboot"
        said = "pins keep their last level when their process dies; maskgate lock is then what lets the relay go"
        yield Finding("strict_gpiod", "warn", said, mend)


def held_pins(machine: Machine, used: dict[str, int]) -> Iterator[Finding]:
    """Whether another program or driver holds a pin, as libgpiod's gpioinfo (1.6 or 2) tells; while no gate runs."""
    told = machine.said("gpioinfo") or ""
    for name, pin in used.items():
        line = re.search(rf'^\s*line\s+{pin}:\s+"GPIO{pin}"(.*)$', told, re.MULTILINE)
        holder = re.search(r'consumer="?([^"\s]+)|^\s+"([^"]+)"', line[1]) if line else None
        if holder:
            said = f"{name} is {pin}, which {holder[1] or holder[2]} holds"
            yield Finding("pins", "fail", said, f"stop that program, or choose another pin for {name}")
