"""The installer refuses in one clear line, before it has changed anything; `make rig` installs for real."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
INSTALL, UNINSTALL = ROOT / "install", ROOT / "uninstall"

# A root of its own whose files cannot be written: were a refusal missing, the machine of the tests would be safe.
WALL = "mount --make-rprivate / && {mounts} mount -o remount,bind,ro / && exec {command}"


def can_have_a_root_of_its_own() -> bool:
    probe = ["unshare", "-m", "sh", "-c", WALL.format(mounts="", command="true")]
    return os.geteuid() == 0 and subprocess.run(probe, capture_output=True).returncode == 0


needs_root = pytest.mark.skipif(not can_have_a_root_of_its_own(), reason="only root may have mounts of its own")


def as_somebody(script: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a user who is not root, and perhaps cannot read the checkout: it is passed as an open file."""
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    with script.open() as text:
        return subprocess.run(
            ["bash", "-s", "--", *words], stdin=text, capture_output=True, text=True, cwd="/", timeout=60, **nobody
        )


def behind_a_wall(
    script: Path, *words: str, mounts: tuple[tuple[str, str], ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a script as root, with files of ours in the place of the system's, where it can change nothing."""
    command = shlex.join([str(script), *words])
    pairs = "".join(f"mount {source} {place} && " for source, place in mounts)
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", WALL.format(mounts=pairs, command=command)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def refusal(run: subprocess.CompletedProcess[str]) -> str:
    """The one line of a refusal."""
    assert (run.returncode, run.stdout) == (1, "")
    (line,) = run.stderr.splitlines()
    return line


@pytest.mark.parametrize("script", [INSTALL, UNINSTALL], ids=lambda script: script.name)
def test_somebody_who_is_not_root_is_told_how(script: Path) -> None:
    assert refusal(as_somebody(script)) == f"{script.name}: must be run as root; try: sudo ./{script.name}"


@pytest.mark.parametrize("script", [INSTALL, UNINSTALL], ids=lambda script: script.name)
def test_an_unknown_word_is_an_error_of_use(script: Path) -> None:
    run = as_somebody(script, "--frobnicate")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(f"usage: sudo ./{script.name}")


@pytest.mark.parametrize("script", [INSTALL, UNINSTALL], ids=lambda script: script.name)
def test_help_is_given_to_anybody(script: Path) -> None:
    run = as_somebody(script, "--help")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith(f"usage: sudo ./{script.name}")


@needs_root
def test_another_release_is_refused(tmp_path: Path) -> None:
    release = tmp_path / "os-release"
    release.write_text('PRETTY_NAME="Raspbian GNU/Linux 11 (bullseye)"\nVERSION_CODENAME=bullseye\nID=raspbian\n')
    run = behind_a_wall(INSTALL, mounts=((f"--bind {release}", "/etc/os-release"),))
    assert refusal(run) == "install: this system is 'bullseye'; use bookworm or trixie of Raspberry Pi OS or Debian"


@needs_root
@pytest.mark.parametrize("architecture", ["armhf", "i386", "riscv64"])
def test_a_system_without_a_runtime_is_refused(tmp_path: Path, architecture: str) -> None:
    """dpkg is asked, and here it is ours that answers."""
    dpkg = tmp_path / "dpkg"
    dpkg.write_text(f"#!/bin/sh\n[ $* = --print-architecture ] && echo {architecture}\n")
    dpkg.chmod(0o755)
    run = behind_a_wall(INSTALL, mounts=(*bookworm(tmp_path), (f"--bind {dpkg}", "/usr/bin/dpkg")))
    assert (
        refusal(run)
        == f"install: no runtime for the networks exists for '{architecture}'; install the 64-bit Raspberry Pi OS"
    )


@needs_root
def test_a_system_without_apt_is_refused() -> None:
    run = behind_a_wall(INSTALL, mounts=(("--bind /dev/null", "/usr/bin/apt-get"),))
    assert refusal(run) == "install: apt-get is missing; this installs on Raspberry Pi OS and Debian alone"


@needs_root
def test_a_full_card_is_refused(tmp_path: Path) -> None:
    run = behind_a_wall(INSTALL, mounts=(*bookworm(tmp_path), ("-t tmpfs -o size=8m tmpfs", "/opt")))
    assert refusal(run) == "install: /opt has 8 MB free, 1000 MB are needed; make room or use a larger card"


@needs_root
def test_half_a_checkout_is_refused(tmp_path: Path) -> None:
    shutil.copy(INSTALL, tmp_path)
    run = behind_a_wall(tmp_path / "install", mounts=bookworm(tmp_path))
    said = f"install: {tmp_path}/models/models.toml is missing; run ./install from a whole checkout"
    assert refusal(run) == said


def bookworm(tmp_path: Path) -> tuple[tuple[str, str], ...]:
    """A system that would be accepted, whatever the tests run on."""
    release = tmp_path / "os-release"
    release.write_text("VERSION_CODENAME=bookworm\n")
    return ((f"--bind {release}", "/etc/os-release"),)


@needs_root
def test_nobody_is_forgotten_without_being_asked() -> None:
    said = refusal(behind_a_wall(UNINSTALL, "--purge"))
    assert said == "uninstall: --purge removes everybody enrolled and the log; nobody is here to be asked, so add --yes"
