"""The gate under systemd as PID 1, the unit as `./install` left it: readiness, watchdog, restart, hardening, log."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

from rig import gatehouse, roots
from rig.box import Box, booted
from rig.gatehouse import logged, relay, released
from rig.report import Failed, Report
from rig.roots import CHECKOUT
from rig.shell import PATIENCE, until

NEEDS = ("git", "rsync", "mmdebstrap", "systemd-nspawn", "nsenter")
SUITE = "trixie"
UNIT = (CHECKOUT / "systemd" / "maskgate.service").read_text()
WATCHDOG_S = float(re.search(r"^WatchdogSec=(\d+)$", UNIT, re.M)[1])  # type: ignore[index]
KILLED_S, SLACK_S = 3.0, 2.0
"""Within which a relay is at rest after a kill (docs/WIRING.md), and later than WatchdogSec= (SECURITY.md)."""

HOOK = """#!/bin/sh
case "$(cat)" in *'"test"'*) ;; *) exit 0 ;; esac
/opt/maskgate/bin/maskgate unlock > /dev/null 2>&1 && said=unlocked || said=refused
echo "rig-hook $(id -u) $(id -G) $said $(ls /dev | grep -c gpiochip)"
"""
"""A hook that tries to open the gate, and says what it is."""


def run(report: Report) -> None:
    """Boot an installed gate and look at it from outside."""
    with gatehouse.installed(roots.debian(SUITE)).lent("service") as root:
        gatehouse.furnish(root, gatehouse.visits(root), '[report]\nhooks = "hooks"\n')
        _prepare(root)
        with booted(root) as box:
            _starts(report, box)
            _works(report, box)
            _tells(report, box)
            _is_closed(report, box)
            _log_is_private(report, box)
            _survives(report, box)


def _prepare(root: Path) -> None:
    """Let the checks start the gate themselves, and see what became of ExecStopPost=."""
    (root / "etc/systemd/system/multi-user.target.wants/maskgate.service").unlink()
    hook = root / "etc/maskgate/hooks/10-rig"
    hook.parent.mkdir(mode=0o755)
    hook.write_text(HOOK)
    hook.chmod(0o755)
    told = root / "etc/systemd/system/maskgate.service.d/told.conf"
    told.parent.mkdir()
    # systemd runs a further command after the service only if the one before, the unit's own, succeeded.
    text = "[Service]\nExecStopPost=/bin/echo locked after ${SERVICE_RESULT}\n"
    # On a machine so busy that patience is asked for, systemd has some as well.
    told.write_text(
        text + (f"TimeoutStopSec={10 * PATIENCE:g}\nTimeoutStartSec={90 * PATIENCE:g}\n" if PATIENCE > 1 else "")
    )


def _starts(report: Report, box: Box) -> None:
    with report.check("it is ready only when armed", vital=True):
        box.run("systemctl", "start", "--no-block", "maskgate")
        until("the start", lambda: box.property("ActiveState") == "activating" or None, limit_s=10, every_s=0.05)
        assert not box.property("StatusText")
        box.run("systemctl", "start", "maskgate", limit_s=120)
        assert (box.property("ActiveState"), box.property("StatusText")) == ("active", "armed")
    with report.check("it runs as its own user, and its socket's directory is its group's"):
        assert box.run("ps", "-o", "user=", "-p", box.property("MainPID")).strip() == "maskgate"
        assert box.run("stat", "-c", "%U:%G:%a", "/run/maskgate").strip() == "maskgate:maskgate:750"
    with report.check("gallery and key are its own"):
        for path in ("/var/lib/maskgate/gallery.db", "/etc/maskgate/gate.key"):
            assert box.run("stat", "-c", "%U:%a", path).strip() == "maskgate:600", path


def _works(report: Report, box: Box) -> None:
    with report.check("a resident is admitted"):
        logged(box, '"granted":true', '"Obama"')
    with report.check("a stranger is refused"):
        logged(box, '"granted":false')
    with report.check("commands work beside it"):
        for command in (("status",), ("people",), ("config", "check"), ("log", "verify")):
            box.run("maskgate", *command)
    with report.check("the log agrees with the anchors in the journal"):
        said = box.run("sh", "-c", "journalctl -u maskgate -o cat --no-pager | maskgate log verify --anchor -")
        assert re.search(r"anchors? agreed with", said), said


def _tells(report: Report, box: Box) -> None:
    """What others get to know: the journal's fields, the hooks."""
    with report.check("the journal finds a decision by its fields"):
        said = box.run("journalctl", "-u", "maskgate", "MASKGATE_GRANTED=true", "-o", "json", "-n", "1", "--no-pager")
        line = json.loads(said)
        assert (line["MASKGATE_SUBJECT"], line["MASKGATE_REASON"]) == ("Obama", "granted"), said
    with report.check("a hook gets an event as a user in no group, and its own order is refused"):
        box.run("maskgate", "hooks", "test")
        journal = ("journalctl", "-u", "maskgate-hooks", "-o", "cat", "--no-pager")
        found = until(
            "the hook's words",
            lambda: re.search(r"rig-hook (\d+) ([\d ]+) (\w+) (\d+)", box.run(*journal)),
            limit_s=30,
        )
        user, groups, answer, pins = found.groups()
        assert user not in ("0", box.run("id", "-u", "maskgate").strip()), user
        assert (groups, answer, pins) == (user, "refused", "0"), found[0]


def _is_closed(report: Report, box: Box) -> None:
    """The hardening is what the unit says, as the kernel sees it."""
    with report.check("it has no capability, no way to gain one, and a filter on its calls"):
        status = dict(re.findall(r"^(\w+):\s+(\S+)", box.run("cat", f"/proc/{box.property('MainPID')}/status"), re.M))
        held = {name: status[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")}
        assert set(held.values()) == {"0" * 16}, held
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2"), status
    with report.check("its only network is a loopback, and nothing of it listens"):
        main = box.property("MainPID")
        links = box.run("nsenter", f"--target={main}", "--net", "ip", "-brief", "link").splitlines()
        assert len(links) == 1, links
        assert links[0].startswith("lo "), links
        assert "maskgate" not in box.run("ss", "-Htulpn")
    with report.check("it writes nowhere but to its own places, and sees no homes"):
        enter = ("nsenter", f"--target={box.property('MainPID')}", "--mount", "--root")
        for folder in ("/etc/maskgate", "/opt/maskgate", "/usr/bin", "/srv", "/sys", "/proc/sys"):
            assert box.tried(*enter, "touch", f"{folder}/x").returncode, folder
        assert (
            not box.run(*enter, "sh", "-c", "ls /home /root 2> /dev/null || :")
            .replace("/home:", "")
            .replace("/root:", "")
            .strip()
        )
    with report.check("no device is open to it but those it needs"):
        assert box.property("DevicePolicy") == "closed"
        allowed = set(re.findall(r"^(\S+)", box.property("DeviceAllow"), re.M))
        wanted = set(re.findall(r"^DeviceAllow=(\S+)", UNIT, re.M))
        # ProtectClock= lets a service read the clock that it may not set.
        assert allowed == wanted | {"char-rtc"}, allowed
    with report.check("the sandbox refuses it nothing"):
        said = box.run("journalctl", "-u", "maskgate", "-o", "cat", "--no-pager")
        bad = [line for line in said.splitlines() if re.search("traceback|denied|not permitted|read-only", line, re.I)]
        if bad:
            raise Failed("\n".join(bad))


def _log_is_private(report: Report, box: Box) -> None:
    """Who may read and ask what."""
    for name, group in (("warden", "maskgate"), ("reader", "adm"), ("somebody", "users")):
        box.run("useradd", "--groups", group, name)
    journal = ("journalctl", "-u", "maskgate", "-o", "cat", "--no-pager", "--quiet")
    with report.check("the journal's decisions are read by the group adm and by no one else"):
        assert "granted" in box.run(*journal, user="reader")
        for user in ("somebody", "warden"):
            assert "granted" not in box.tried(*journal, user=user).stdout, user
    with report.check("the log and the gallery are read by root and the gate alone"):
        box.run("maskgate", "log")
        for user in ("somebody", "warden", "reader"):
            for path in ("gallery.db", "gallery.db-wal", ""):
                assert box.tried("cat", f"/var/lib/maskgate/{path}", user=user).returncode, (user, path)
            said = box.tried("maskgate", "log", user=user)
            assert said.returncode == 1, said
            assert len(said.stdout.splitlines()) == 1, said.stdout
    with report.check("the running gate takes orders from its group and from no one else"):
        for user in ("somebody", "reader"):
            said = box.tried("maskgate", "unlock", user=user)
            assert said.returncode == 1, (user, said.stdout)
        box.run("maskgate", "unlock", user="warden")
        assert "warden" in logged(box, '"unlock')


def _survives(report: Report, box: Box) -> None:
    """Death with the relay energised, a loop that hangs, and what is kept."""
    with report.check(f"killed while unlocked, the relay is at rest within {KILLED_S:g} s"):
        took_s = _killed_while_unlocked(box)
        assert took_s <= KILLED_S * PATIENCE, f"{took_s:.1f} s"
    with report.check("it is started again, and locked in between"):
        _restarted(box, 1)
        _told(box, "signal")
    with report.check(f"stopped while unlocked, the watchdog has it at rest within {WATCHDOG_S + SLACK_S:g} s"):
        _unlock(box)
        box.run("kill", "-STOP", box.property("MainPID"))
        took_s = released(box.root, limit_s=WATCHDOG_S + 60)
        assert took_s <= (WATCHDOG_S + SLACK_S) * PATIENCE, f"{took_s:.1f} s"
        _restarted(box, 2)
        _told(box, "watchdog")
    with report.check("people, rules and log are kept over it all"):
        assert "Obama" in box.run("maskgate", "people")
        box.run("maskgate", "log", "verify")
    with report.check("in lockdown the exit button opens, nobody else does"):
        # Without it a resident is let in every other second, and the relay never rests.
        box.run("maskgate", "lockdown")
        released(box.root, limit_s=15)
        pins = box.root / "var/lib/maskgate/pins"
        (pins / "gpio5").write_text("0\n")
        until("the relay to be energised", lambda: relay(box.root) or None, limit_s=5, every_s=0.01)
        (pins / "gpio5").write_text("1\n")
        released(box.root, limit_s=15)
        logged(box, '"rex"')
    with report.check("a door that opens while it is locked is recorded as forced"):
        (pins / "gpio16").write_text("0\n")
        logged(box, '"door_closed"')
        # Whom the button let out may open for door.grace_s after the relay has gone to rest.
        time.sleep(3)
        (pins / "gpio16").write_text("1\n")
        logged(box, '"forced_open"')
        (pins / "gpio16").write_text("0\n")
        box.run("maskgate", "release")
    with report.check("told to stop it ends at once, at rest"):
        box.run("systemctl", "stop", "maskgate")
        assert not relay(box.root)
        assert box.property("Result") == "success"


def _unlock(box: Box) -> None:
    """Have the relay energised for long by the administrator's order."""
    until("the gate to be ready", lambda: box.property("ActiveState") == "active" or None, limit_s=120)
    box.run("maskgate", "hold-open", "--for", "10m")
    until("the relay to be energised", lambda: relay(box.root) or None, limit_s=5, every_s=0.01)


def _killed_while_unlocked(box: Box) -> float:
    _unlock(box)
    box.run("kill", "-9", box.property("MainPID"))
    return released(box.root, limit_s=30)


def _restarted(box: Box, times: int) -> None:
    def up() -> bool | None:
        return (int(box.property("NRestarts")) >= times and box.property("ActiveState") == "active") or None

    until("it to be started again", up, limit_s=120)


def _told(box: Box, result: str) -> None:
    journal = ("journalctl", "-u", "maskgate", "-o", "cat", "--no-pager")
    until(f"locked after {result}", lambda: f"locked after {result}" in box.run(*journal) or None, limit_s=20)
