"""`./install` and `./uninstall` in fresh roots: refused in a line, twice, booted, purged; and over an older gate."""

from __future__ import annotations

import json
import os
from pathlib import Path

from rig import gatehouse, roots
from rig.box import Box, booted, inside, tried
from rig.gatehouse import logged
from rig.report import Failed, Report
from rig.shell import outcome, until
from rig.shell import run as command

NEEDS = ("git", "rsync", "mmdebstrap", "systemd-nspawn", "nsenter")
SUITES = ("trixie", "bookworm")
INSTALL_S = 900
WRITTEN = ("opt", "etc", "usr/local", "var/lib/maskgate")
"""All that the installer may write to."""


def run(report: Report) -> None:
    """Install in each suite, and once over an older version."""
    suites = os.environ.get("SUITE", "").split() or list(SUITES)
    for suite in suites:
        _refuses(report, suite)
        with roots.debian(suite).lent(f"installer-{suite}") as root:
            _installs(report, suite, root)
            _runs_and_goes(report, suite, root)
    with roots.debian(suites[0]).lent("upgrade") as root:
        _upgrades(report, suites[0], root)


def _refuses(report: Report, suite: str) -> None:
    """Each refusal is one line, and leaves the root as it was."""
    for what, spoil, options, line in REFUSALS:
        with (
            report.check(f"{suite}: {what} is refused in one line, and changes nothing"),
            roots.debian(suite).lent("refused") as root,
        ):
            spoil(root)
            before = _everything(root)
            said = tried(root, "./install", limit_s=300, options=options)
            lines = said.stdout.splitlines()
            if said.returncode != 1 or len(lines) != 1 or not lines[0].startswith(f"install: {line}"):
                raise Failed(f"{said.stdout}\nexit {said.returncode}, and not: install: {line}")
            assert _everything(root) == before


def _leave(root: Path) -> None:
    """Spoil nothing."""


def _without_apt(root: Path) -> None:
    (root / "usr/bin/apt-get").unlink()


def _older(root: Path) -> None:
    (root / "etc/os-release").unlink()
    (root / "etc/os-release").write_text('PRETTY_NAME="Raspbian GNU/Linux 11 (bullseye)"\nVERSION_CODENAME=bullseye\n')


def _narrow(root: Path) -> None:
    dpkg = root / "usr/bin/dpkg"
    dpkg.rename(root / "usr/bin/dpkg.real")
    dpkg.write_text('#!/bin/sh\n[ "$*" = --print-architecture ] && echo armhf && exit\nexec dpkg.real "$@"\n')
    dpkg.chmod(0o755)


REFUSALS = (
    ("a full card", _leave, ("--tmpfs=/opt:size=8m",), "/opt has 8 MB free, 1000 MB are needed"),
    ("a system without apt", _without_apt, (), "apt-get is missing"),
    ("another release", _older, (), "this system is 'bullseye'; use bookworm or trixie"),
    ("a 32-bit system", _narrow, (), "no runtime for the networks exists for 'armhf'; install the 64-bit"),
    (
        "a machine without a network",
        _leave,
        ("--private-network",),
        "apt knows no python3-venv; is this machine on a network?",
    ),
)
"""What is wrong, how a root is made so, what nspawn adds to it, how the line begins."""


def _upgrades(report: Report, suite: str, root: Path) -> None:
    """Install the last version whose gallery was not sealed, then this one over it."""
    old = _older_version()
    if old is None:
        report.say("the upgrade is NOT tried: this clone has no history from before galleries were sealed")
        return
    bind = (f"--bind-ro={old}:/older",)
    with report.check(f"{suite}: an older version, with somebody enrolled, is upgraded", vital=True):
        inside(root, "/older/install", limit_s=INSTALL_S, options=bind)
        inside(
            root, "maskgate", "enrol", "Obama", "/older/tests/data/people/Obama/enrol.jpg", limit_s=180, options=bind
        )
        settings = root / "etc/maskgate/maskgate.toml"
        settings.write_text(settings.read_text() + "# a line of the owner's\n")
        before = json.loads(inside(root, "maskgate", "log", "--json").splitlines()[-1])
        inside(root, "./install", limit_s=INSTALL_S)
    with report.check(f"{suite}: upgraded, the settings stay, people and log are kept, and sealed"):
        assert settings.read_text().endswith("# a line of the owner's\n")
        assert "Obama" in inside(root, "maskgate", "people")
        inside(root, "maskgate", "log", "verify")
        assert before["at"] in inside(root, "maskgate", "log", "--json")
        assert (root / "etc/maskgate/gate.key").stat().st_size
    gatehouse.furnish(root, gatehouse.visits(root))
    with booted(root) as box, report.check(f"{suite}: upgraded, who was enrolled before is admitted"):
        logged(box, '"granted":true', '"Obama"')


def _older_version() -> Path | None:
    """Return a checkout of the version before seal.py came, unless this clone does not reach back so far."""
    git = ("git", "-c", f"safe.directory={roots.CHECKOUT}", "-C", roots.CHECKOUT)
    sealed = outcome(*git, "log", "--diff-filter=A", "--format=%H", "--", "daemon/maskgate/seal.py").stdout.split()
    older = roots.WORK / "older"
    older.mkdir()
    archive = roots.WORK / "older.tar"
    if not sealed or outcome(*git, "archive", f"--output={archive}", f"{sealed[-1]}^").returncode:
        return None
    command("tar", "--extract", "--no-same-owner", f"--file={archive}", f"--directory={older}")
    return older


def _installs(report: Report, suite: str, root: Path) -> None:
    with report.check(f"{suite}: it installs", vital=True):
        inside(root, "./install", limit_s=INSTALL_S)
        first = _everything(root)
    with report.check(f"{suite}: the second time changes nothing"):
        inside(root, "./install", limit_s=INSTALL_S)
        changed = sorted(_everything(root) ^ first)
        if changed:
            raise Failed("\n".join(changed))
    with report.check(f"{suite}: the command answers, and the settings are good"):
        inside(root, "maskgate", "--version")
        inside(root, "maskgate", "config", "check")
    with report.check(f"{suite}: systemd understands the unit"):
        said = tried(root, "systemd-analyze", "verify", "--man=no", "/etc/systemd/system/maskgate.service")
        # verify exits with 0 on misspelt directives: it has to be silent.
        if said.returncode or said.stdout.strip():
            raise Failed(said.stdout)


def _everything(root: Path) -> set[str]:
    """Return names, owners, times and sizes of all that the installer may write."""
    places = [name for name in WRITTEN if (root / name).exists()]
    form = "%p %m %u %g %s %T@ %l\n"
    said = command("find", *places, "!", "-path", "etc/resolv.conf", "-printf", form, cwd=root)
    return set(said.splitlines())


def _runs_and_goes(report: Report, suite: str, root: Path) -> None:
    gatehouse.furnish(root, gatehouse.visits(root))
    with booted(root) as box:
        with report.check(f"{suite}: booted, the gate has started by itself"):
            state = until("the start", lambda: _started(box), limit_s=120)
            assert state == "active", state
        with report.check(f"{suite}: somebody is enrolled and admitted"):
            box.run("maskgate", "enrol", "Obama", "/checkout/tests/data/people/Obama/enrol.jpg", limit_s=120)
            logged(box, '"granted":true', '"Obama"')
        with report.check(f"{suite}: uninstalled, the people and the settings stay, nothing else does"):
            box.run("/checkout/uninstall", limit_s=120)
            for path in ("var/lib/maskgate/gallery.db", "etc/maskgate/maskgate.toml", "etc/maskgate/gate.key"):
                assert (root / path).stat().st_size, path
            for path in ("opt/maskgate", "usr/local/bin/maskgate", "etc/systemd/system/maskgate.service"):
                assert not os.path.lexists(root / path), path
        with report.check(f"{suite}: purged, nothing is left"):
            box.run("/checkout/uninstall", "--purge", "--yes", limit_s=120)
    with report.check(f"{suite}: and nothing was forgotten anywhere"):
        prune = ("-path", "./checkout", "-prune", "-o", "-path", "./var/log/journal", "-prune", "-o")
        left = command("find", ".", "-xdev", *prune, "-iname", "*maskgate*", "-print", cwd=root)
        if left:
            raise Failed(left)


def _started(box: Box) -> str | None:
    """Return the state of the service once it is no longer starting."""
    state = box.property("ActiveState")
    return None if state == "activating" else state
