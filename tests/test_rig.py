"""The rig's own laws: what it prints, when it makes a root anew, and that nothing of it outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rig import __main__ as rig
from rig.report import Failed, PartOver, Report
from rig.roots import Root

TESTS = Path(__file__).parent
STUCK = """
import subprocess, sys, time, types
from rig import __main__ as rig, roots

def run(report):
    (roots.WORK / "mounted").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", roots.WORK / "mounted"], check=True)
    subprocess.Popen(["setsid", "sleep", "86399"])
    with report.check("it ends"):
        print("stuck", flush=True)
        time.sleep(60)

sys.modules["rig.parts.stuck"] = types.SimpleNamespace(NEEDS=(), run=run)
rig.PARTS["stuck"] = 60
sys.exit(rig.main(["stuck"]))
"""


def can_be_enclosed() -> bool:
    probe = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "true"]
    return os.geteuid() == 0 and subprocess.run(probe, capture_output=True).returncode == 0


needs_root = pytest.mark.skipif(not can_be_enclosed(), reason="only root may have namespaces of its own")


def test_a_check_is_a_line_and_a_failure_says_its_last_words(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    report.begin("relay")
    with report.check("grant drives the pin high"):
        pass
    with report.check("and low again"):
        raise Failed("much\n" * 40 + "at the end this")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["ok         0.0 s  relay: grant drives the pin high", "FAILED     0.0 s  relay: and low again"]
    assert lines[-1] == "        | at the end this"
    assert len(lines) == 2 + 15
    assert report.sum_up() == "rig: 1 parts, 2 checks, 1 failed"


def test_after_a_vital_check_that_failed_the_part_is_over() -> None:
    with pytest.raises(PartOver), Report().check("it boots", vital=True):
        raise Failed("it does not")


def test_a_mistake_of_the_rigs_own_is_not_taken_for_a_failed_check() -> None:
    with pytest.raises(ZeroDivisionError), Report().check("it counts"):
        _ = 1 // 0


def test_a_root_is_made_anew_when_anything_that_it_is_made_from_changes() -> None:
    def build(folder: Path) -> None:
        raise AssertionError

    below = Root("debian", "packages", build)
    roots = [
        below,
        Root("debian", "other packages", build),
        Root("gate", "checkout", build, below),
        Root("gate", "another checkout", build, below),
        Root("gate", "checkout", build, Root("debian", "other packages", build)),
    ]
    assert len({root.key for root in roots}) == len(roots)
    assert Root("debian", "packages", build).key == below.key


def test_an_unknown_part_is_an_error_of_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert rig.main(["rleay"]) == 2
    assert "no part 'rleay'" in capsys.readouterr().err


def test_who_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert rig.main([]) == 1
    assert capsys.readouterr().err == "rig: needs root, for roots, mounts and systemd: sudo make rig\n"


@needs_root
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_whatever_ends_the_rig_no_process_and_no_mount_of_it_stays(tmp_path: Path, number: signal.Signals) -> None:
    environment = os.environ | {"RIG_CACHE": str(tmp_path), "PYTHONPATH": str(TESTS)}
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "stuck\n"
    # ^C reaches every process of the terminal; kill, the one that was started.
    (os.killpg if number is signal.SIGINT else os.kill)(process.pid, number)
    process.wait(30)
    assert within_s(10, lambda: b"sleep\x0086399" not in b"".join(command_lines()))
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
    if number is not signal.SIGKILL:
        assert process.returncode == 130
        assert not (tmp_path / "work").exists()


def command_lines() -> list[bytes]:
    """What runs on this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:
            continue
    return found


def within_s(limit_s: float, holds: Callable[[], bool]) -> bool:
    """Tell whether it comes to hold within the limit."""
    end_s = time.monotonic() + limit_s
    while time.monotonic() < end_s:
        if holds():
            return True
        time.sleep(0.05)
    return False
