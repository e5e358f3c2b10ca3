"""The relay's pin on an emulated Pi 3B, read from outside: the shipped daemon and unit, gpiozero, lgpio, the kernel.

Emulation is some hundred times slower than a Pi. So the camera is a folder of one grey picture, in which nothing moves
and nothing is inferred; the unit's time to get ready is stretched; and what Python does after a death (`maskgate lock`)
takes many times as long as there. What the kernel does at once must be at once here too.
"""

from __future__ import annotations

import shutil
import struct
import time
import zlib
from pathlib import Path

from rig.pi import card, machine
from rig.pi.machine import Pi, Watch
from rig.report import Report
from rig.roots import HERE, WORK
from rig.shell import PATIENCE

NEEDS = ("git", "rsync", "mmdebstrap", "systemd-nspawn", "qemu-system-aarch64", "fdtput", "cpio")
SUITE = "trixie"
RELAY, REX, CONTACT = 17, 5, 16
UNLOCK_S = 3.0
BOOT_S, READY_S, SHELL_S = 600, 600, 120
PYTHON_S = 60
"""How long `maskgate lock` may take here; on a Pi it is a second or two."""
AT_ONCE_S = 2
"""What the kernel does itself, as seen from outside."""
RESET_S = 15
"""QEMU answers nothing while it loads the archive anew, for seconds on a busy machine; its first answer must be low."""
WATCHDOG_S = 40
MAIN = "$(systemctl show -P MainPID maskgate)"
PERSIST = "pinctrl_bcm2835.persist_gpio_outputs"
SETTINGS = f"""
[camera]
source = "/srv/grey"
fps = 1
[gate]
relay_pin = {RELAY}
unlock_s = {UNLOCK_S}
[door]
rex_pin = {REX}
contact_pin = {CONTACT}
rex_s = 3
[models]
threads = 1
"""
SLOW = "[Service]\nTimeoutStartSec=900\n"
"""The unit, but for the time that it may take to get ready."""


def run(report: Report) -> None:
    """Boot it twice: with a kernel that keeps the pins of the dead, as a Pi's does, and with one that does not."""
    archive = WORK / "relay.cpio"
    with card.gate(SUITE).lent("relay") as root:
        _furnish(root)
        card.pack(root, archive)
    kernel = card.kernel()
    for keeps in (True, False):
        words = f"{PERSIST}={'1' if keeps else '0'}"
        with machine.running(kernel, archive, init="/relay-init", parameters=words) as pi:
            watch = Watch(pi, RELAY)
            try:
                _boots(report, pi, watch, keeps)
                if keeps:
                    _grants(report, pi, watch)
                    _hears(report, pi, watch)
                _dies(report, pi, watch, keeps)
                _loses_power(report, pi, watch, keeps)
            finally:
                watch.end()


def _furnish(root: Path) -> None:
    """Make the root one that boots to a gate and a shell."""
    kernel = card.kernel()
    (root / "kernel-modules").mkdir()
    for module in kernel.glob("*.ko*"):
        shutil.copy(module, root / "kernel-modules")
    shutil.copy(HERE / "pi/relay_init", root / "relay-init")
    (root / "relay-init").chmod(0o755)
    units = root / "etc/systemd/system"
    shutil.copy(HERE / "pi/rig-shell.service", units)
    wanted = units / "multi-user.target.wants"
    wanted.mkdir(exist_ok=True)
    for name in ("rig-shell", "maskgate"):
        (wanted / f"{name}.service").symlink_to(f"../{name}.service")
    slow = units / "maskgate.service.d/slow.conf"
    slow.parent.mkdir()
    slow.write_text(SLOW)
    # What a headless gate does without, and what would take the serial line or write to a card that is not there.
    for name in ("serial-getty@ttyS1", "getty@tty1", "systemd-journal-flush", "systemd-update-done", "ldconfig"):
        (units / f"{name}.service").symlink_to("/dev/null")
    (units / "default.target").unlink(missing_ok=True)
    (units / "default.target").symlink_to("/lib/systemd/system/multi-user.target")
    (root / "etc/fstab").write_text("")
    (root / "etc/maskgate/maskgate.toml").write_text(SETTINGS)
    grey = root / "srv/grey"
    grey.mkdir(parents=True)
    (grey / "00000.png").write_bytes(_grey(320, 240))
    for number in range(1, 1800):
        (grey / f"{number:05}.png").symlink_to("00000.png")


def _grey(width: int, height: int) -> bytes:
    """Return a grey picture as PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\x80" * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _boots(report: Report, pi: Pi, watch: Watch, keeps: bool) -> None:
    kernel = "keeps the pins of the dead" if keeps else "lets the pins of the dead go"
    with report.check(f"a kernel that {kernel} boots, the gate gets ready", vital=True):
        # Nobody is at the button, the door is shut.
        pi.up(limit_s=BOOT_S)
        pi.drive(REX, True)
        pi.drive(CONTACT, False)
        said = pi.run(f"cat /sys/module/{PERSIST.replace('.', '/parameters/')}")
        assert said == ("Y" if keeps else "N"), said
        pi.run("systemctl start maskgate || { journalctl -b -u maskgate -o cat -n 15; false; }", limit_s=READY_S)
        assert pi.run("systemctl is-active maskgate", limit_s=SHELL_S) == "active"
    with report.check("from power-on until it is ready the relay's pin was never high"):
        assert watch.edges, "the pin was never seen"
        assert not any(high for _, high in watch.edges), watch.edges
    with report.check("the kernel's driver holds the pin, for lgpio, as an output"):
        said = pi.run(
            f"gpioinfo 2> /dev/null | grep -w GPIO{RELAY} || cat /sys/kernel/debug/gpio | grep -w GPIO{RELAY}"
        )
        assert "out" in said, said


def _grants(report: Report, pi: Pi, watch: Watch) -> None:
    with report.check(f"unlock drives the pin high for {UNLOCK_S:g} s"):
        begun_s = time.monotonic()
        pi.run("maskgate unlock", limit_s=SHELL_S)
        on_s = watch.becomes(True, after_s=begun_s, limit_s=30)
        off_s = watch.becomes(False, after_s=on_s, limit_s=30)
        report.say(f"high for {off_s - on_s:.2f} s, by the clock outside")
        # The poll outside, and a clock inside that lags behind on a busy machine.
        assert abs(off_s - on_s - UNLOCK_S) < 0.5 * PATIENCE, f"{off_s - on_s:.2f} s"


def _hears(report: Report, pi: Pi, watch: Watch) -> None:
    """Inputs, driven from outside the guest; the gate looks at them every second, for QEMU tells no edges."""
    begun_s = time.monotonic()
    with report.check("the exit button, pressed from outside, opens"):
        pi.drive(REX, False)
        begun_s = watch.becomes(True, after_s=begun_s, limit_s=60)
    with report.check("let go, the relay is released after door.rex_s"):
        pi.drive(REX, True)
        watch.becomes(False, after_s=begun_s, limit_s=60)
    with report.check("a door that opens and shuts is recorded, and locks"):
        begun_s = _hold_open(pi, watch)
        for is_open, word in ((True, "door_opened"), (False, "door_closed")):
            pi.drive(CONTACT, is_open)
            pi.run(f"for i in $(seq 20); do maskgate log --json | grep {word} && break; done", limit_s=SHELL_S)
        pi.run("maskgate release", limit_s=SHELL_S)
        watch.becomes(False, after_s=begun_s, limit_s=30)


def _dies(report: Report, pi: Pi, watch: Watch, keeps: bool) -> None:
    """Each death with the relay energised."""
    oom = f"echo 1000 > /proc/{MAIN}/oom_score_adj; echo f > /proc/sysrq-trigger"
    deaths = [("killed", f"kill -9 {MAIN}", PYTHON_S if keeps else AT_ONCE_S)]
    if keeps:
        deaths += [
            ("ended by the kernel for want of memory", oom, PYTHON_S),
            ("stopped, and ended by the watchdog", f"kill -STOP {MAIN}", WATCHDOG_S + PYTHON_S),
        ]
    for how, command, limit_s in deaths:
        with report.check(f"{how} while unlocked, the pin is low within {limit_s} s, and stays so"):
            _hold_open(pi, watch)
            begun_s = time.monotonic()
            pi.run(command, limit_s=SHELL_S)
            took_s = watch.becomes(False, after_s=begun_s, limit_s=limit_s) - begun_s
            report.say(f"{how}: low after {took_s:.1f} s")
            _ready_again(pi)
            assert not any(high for at_s, high in watch.edges if at_s > begun_s), watch.edges
    if keeps:
        _shows_what_the_lock_is_for(report, pi, watch)


def _shows_what_the_lock_is_for(report: Report, pi: Pi, watch: Watch) -> None:
    place = "/run/systemd/system/maskgate.service.d"
    without = "[Service]\\nExecStopPost=\\nRestart=no\\n"
    with report.check("without ExecStopPost= the pin of the dead would stay high"):
        pi.run(f"mkdir -p {place}; printf '{without}' > {place}/without.conf; systemctl daemon-reload", limit_s=SHELL_S)
        _hold_open(pi, watch)
        pi.run(f"kill -9 {MAIN}")
        time.sleep(10)
        assert watch.is_high
    with report.check("and `maskgate lock` drives it low"):
        begun_s = time.monotonic()
        pi.run("/opt/maskgate/bin/maskgate lock", limit_s=SHELL_S)
        watch.becomes(False, after_s=begun_s, limit_s=10)
    pi.run(f"rm {place}/without.conf; systemctl daemon-reload; systemctl start maskgate", limit_s=READY_S)


def _loses_power(report: Report, pi: Pi, watch: Watch, keeps: bool) -> None:
    with report.check(
        "reset while unlocked, the pin is low as soon as it is seen" + (", and through the next start" if keeps else "")
    ):
        _hold_open(pi, watch)
        begun_s = time.monotonic()
        pi.reset()
        watch.becomes(False, after_s=begun_s, limit_s=RESET_S)
        if keeps:
            pi.up(limit_s=BOOT_S)
            pi.run("systemctl start maskgate", limit_s=READY_S)
        assert not any(high for at_s, high in watch.edges if at_s > begun_s), watch.edges


def _hold_open(pi: Pi, watch: Watch) -> float:
    """Have the relay energised for long; return since when, monotonic seconds."""
    begun_s = time.monotonic()
    pi.run("maskgate hold-open --for 1h", limit_s=SHELL_S)
    return watch.becomes(True, after_s=begun_s, limit_s=30)


def _ready_again(pi: Pi) -> None:
    """Wait for systemd to have the daemon ready once more."""
    active = "systemctl is-active maskgate"
    pi.run(f"for i in $(seq 300); do {active} -q && break; sleep 2; done; {active}", limit_s=READY_S)
