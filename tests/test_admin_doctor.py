"""Laws of `maskgate doctor`: every fault is named with what mends it, nothing is changed, nobody is named."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from house import House
from maskgate import config
from maskgate.admin import checks
from maskgate.admin.checks import Finding, Machine
from maskgate.admin.doctor import _camera
from maskgate.hooks import listen

PHOTOS = Path(__file__).parent / "data" / "people"


def machine(folder: Path, **files: str) -> Machine:
    """A folder that looks like `/`; `__` in a name stands for a slash."""
    for name, text in files.items():
        place = folder / name.replace("__", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return Machine(folder)


def tool(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, output: str) -> None:
    """Put a program on the path that prints `output`."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{output}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def one(findings: Iterable[Finding], check: str) -> Finding:
    """The only finding of that name."""
    [found] = [found for found in findings if found.check == check]
    return found


def said(house: House, *args: str) -> dict[str, dict[str, Any]]:
    """What doctor finds, by check."""
    return {found["check"]: found for found in house.run("doctor", "--json", *args).objects}


def test_hooks_that_are_wanted_are_checked_and_others_are_not_mentioned(tmp_path: Path) -> None:
    assert "hooks" not in said(House(tmp_path))
    house = House(tmp_path, report={"hooks": "hooks", "hooks_socket": "events"})
    assert said(house)["hooks"]["verdict"] == "fail"
    (tmp_path / "hooks").mkdir(mode=0o755)
    (tmp_path / "hooks" / "bell").touch(mode=0o755)
    assert "nobody listens" in said(house)["hooks"]["said"]
    with listen(tmp_path / "events"):
        assert said(house)["hooks"]["said"] == "1 are run for each event: bell"


# -- the machine ---------------------------------------------------------------------------------------------------


def test_a_pi_is_known_by_its_device_tree_and_anything_else_is_a_warning(tmp_path: Path) -> None:
    pi = machine(tmp_path / "pi", **{"proc__device-tree__model": "Raspberry Pi 4 Model B Rev 1.4\0"})
    assert one(checks.board(pi), "board").said.startswith("Raspberry Pi 4 Model B Rev 1.4")
    assert one(checks.board(pi), "board").verdict == "pass"
    assert one(checks.board(machine(tmp_path / "pc")), "board").verdict == "warn"


@pytest.mark.parametrize(("millidegrees", "verdict"), [("45000", "pass"), ("74000", "warn"), ("83000", "fail")])
def test_heat_is_judged_by_where_the_firmware_slows_down(tmp_path: Path, millidegrees: str, verdict: str) -> None:
    hot = machine(tmp_path, sys__class__thermal__thermal_zone0__temp=millidegrees)
    found = one(checks.heat(hot), "heat")
    assert found.verdict == verdict
    assert (found.mend is None) == (verdict == "pass")


@pytest.mark.parametrize(
    ("bits", "verdict", "words"),
    [
        ("0x0", "pass", "no under-voltage"),
        ("0x50000", "warn", "since the start: under-voltage, throttled"),
        ("0x50005", "fail", "now: under-voltage, throttled"),
        ("0x80008", "fail", "now: temperature limit"),
    ],
)
def test_the_firmwares_word_on_power_is_read_bit_by_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: str, verdict: str, words: str
) -> None:
    tool(tmp_path / "bin", monkeypatch, "vcgencmd", f"throttled={bits}")
    found = one(checks.heat(machine(tmp_path / "root")), "power")
    assert (found.verdict, words in found.said) == (verdict, True), found


@pytest.mark.parametrize(
    ("relay", "active_high", "verdict"),
    [(17, True, "pass"), (5, True, "fail"), (17, False, "fail"), (5, False, "pass")],
)
def test_a_relay_that_power_on_would_energise_fails(
    tmp_path: Path, relay: int, active_high: bool, verdict: str
) -> None:
    found = checks.pins(machine(tmp_path), {"relay_pin": relay}, relay=relay, active_high=active_high)
    assert one(found, "relay pin").verdict == verdict


def test_a_pin_that_a_bus_has_is_named_with_the_line_that_gives_it_away(tmp_path: Path) -> None:
    pi = machine(tmp_path, boot__firmware__config__txt="")
    (tmp_path / "boot/firmware/config.txt").write_text("# dtparam=spi=on\ndtparam=i2c_arm=on,strict_gpiod\n[all]\n")
    found = list(checks.pins(pi, {"relay_pin": 17, "light_pin": 3, "buzzer_pin": 10}, relay=17, active_high=True))
    assert one(found, "pins").said == "light_pin is 3, which i2c_arm=on gives to a bus"
    assert one(found, "strict_gpiod").verdict == "pass"


@pytest.mark.parametrize(
    "told",
    [
        'gpiochip0 - 58 lines:\n\tline  17:     "GPIO17"      "doorbell"  output  active-high [used]',
        'gpiochip0 - 58 lines:\n\tline  17:\t"GPIO17"        \toutput consumer="doorbell"',
    ],
)
def test_who_holds_a_pin_is_read_from_either_gpioinfo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    tool(tmp_path / "bin", monkeypatch, "gpioinfo", told)
    [found] = checks.held_pins(machine(tmp_path / "root"), {"relay_pin": 17, "light_pin": 22})
    assert found.said == "relay_pin is 17, which doorbell holds"


def test_a_pin_that_nobody_holds_is_no_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = '\tline  17:     "GPIO17"       unused   input  active-high\n\tline  22:\t"GPIO22"        \tinput'
    tool(tmp_path / "bin", monkeypatch, "gpioinfo", free)
    assert not list(checks.held_pins(machine(tmp_path / "root"), {"relay_pin": 17, "light_pin": 22}))


@pytest.mark.parametrize(
    ("mounts", "verdict"),
    [
        ("/dev/root / ext4 rw,noatime 0 0", "pass"),
        ("/dev/root / ext4 ro,noatime 0 0", "fail"),
        ("overlayroot / overlay rw 0 0", "fail"),
        ("overlayroot / overlay rw 0 0\n/dev/mmcblk0p3 {data} ext4 rw 0 0", "pass"),
    ],
)
def test_a_place_that_forgets_or_refuses_fails(tmp_path: Path, mounts: str, verdict: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    found = list(checks.disk(machine(tmp_path / "root", proc__mounts=mounts.format(data=data)), data))
    assert one(found, "mount").verdict == verdict


def test_a_worn_emmc_is_a_warning(tmp_path: Path) -> None:
    pi = machine(tmp_path, sys__block__mmcblk0__device__life_time="0x01 0x0a")
    assert one(checks.disk(pi, tmp_path), "wear").verdict == "warn"


# -- the gate ------------------------------------------------------------------------------------------------------


def test_a_good_gate_fails_only_where_no_daemon_runs(tmp_path: Path) -> None:
    house = House(tmp_path, camera={"source": str(PHOTOS / "Noah"), "paced": False})
    tmp_path.chmod(0o700)
    assert house.run("enrol", "Xanthippe", PHOTOS / "Noah" / "close.jpg").code == 0
    ran = house.run("doctor", "--json")
    assert {found["check"] for found in ran.objects if found["verdict"] == "fail"} == {"daemon"}
    assert ran.code == 1
    found = said(house)
    assert found["gallery"]["said"] == "1 people, 1 templates"
    assert "Xanthippe" not in ran.out


def test_looking_changes_no_file(tmp_path: Path) -> None:
    house = House(tmp_path, camera={"source": str(PHOTOS / "Noah"), "paced": False})
    house.run("enrol", "Noah", PHOTOS / "Noah" / "close.jpg")

    def files() -> dict[Path, bytes]:
        # SQLite's lock file, which a reader makes too, holds nothing of the gate's.
        own = (path for path in tmp_path.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
        return {path: path.read_bytes() for path in own if path.stat().st_size}

    before = files()
    house.run("doctor")
    assert files() == before


def test_every_failure_says_what_mends_it(tmp_path: Path) -> None:
    house = House(tmp_path, camera={"source": str(tmp_path / "nothing.mp4")}, models={"path": str(tmp_path)})
    house.path.chmod(0o666)
    house.gallery.write_bytes(b"not a database" * 100)
    found = said(house)
    failed = {name for name, one in found.items() if one["verdict"] == "fail"}
    assert failed >= {"camera", "networks", "permissions", "gallery", "daemon"}
    assert all("mend" in one for one in found.values() if one["verdict"] != "pass")
    mends = [one["mend"] for one in house.run("doctor", "--json").objects if one["check"] == "permissions"]
    assert f"sudo chmod 0644 {house.path}" in mends


def test_a_wrong_setting_is_named_and_the_rest_is_looked_at_with_the_defaults(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.path.write_text("[gate]\nrelay_pin = 99\n")
    found = said(house)
    assert "relay_pin" in found["settings"]["said"]
    assert "networks" in found


def test_a_running_gates_camera_is_told_with_the_format_it_negotiated() -> None:
    camera = {"source": "picamera2", "size": [1280, 960], "lores": [640, 480], "fps": 15.0, "format": "NV12"}
    daemon = {"camera": camera, "state": "armed", "frames": 1234}
    found = one(_camera(config.defaults(), daemon), "camera")
    assert found.said == "picamera2 1280x960 and 640x480, NV12, in use by the gate, 1,234 frames so far"
    assert one(_camera(config.defaults(), daemon | {"state": "camera_failed"}), "camera").verdict == "fail"


def test_people_of_another_network_are_counted_and_not_named(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.enrol("Ada")
    found = said(house)["gallery"]
    assert found["verdict"] == "fail"
    assert "Ada" not in str(found)


def test_the_lines_for_a_person_carry_the_verdict_in_words(tmp_path: Path) -> None:
    house = House(tmp_path, camera={"source": str(PHOTOS / "Noah"), "paced": False})
    lines = house.run("doctor").out.splitlines()
    assert any(line.startswith("FAIL  daemon") for line in lines)
    assert any(line.startswith("ok    runtime") for line in lines)
    assert lines[-1].endswith("failed")
