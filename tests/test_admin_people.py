"""Laws of the commands about people: every change is told with its UNIX user, and no failure loses anybody."""

from __future__ import annotations

import os
import pwd
import shutil
import sqlite3
import subprocess
import unicodedata
from pathlib import Path

import pytest

from house import COMMAND, MODEL, House, environment
from maskgate.admin import session
from maskgate.store import open_store

ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Return a house with two people."""
    house = House(tmp_path)
    house.enrol("Ada", "Bo")
    return house


def test_people_are_listed_by_name_for_people_and_scripts(house: House) -> None:
    assert [line.split()[0] for line in house.run("people").out.splitlines()[2:]] == ["Ada", "Bo"]
    listed = house.run("people", "--json").objects
    assert [(person["name"], person["templates"], person["models"]) for person in listed] == [
        ("Ada", 1, [MODEL]),
        ("Bo", 1, [MODEL]),
    ]


def test_an_empty_gallery_says_what_to_do(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.enrol()
    assert "maskgate enrol" in house.run("people").out


def test_show_tells_of_one_person_and_their_events(house: House) -> None:
    house.run("revoke", "Ada")
    [shown] = house.run("show", "Ada", "--json").objects
    assert shown["name"] == "Ada"
    assert shown["revoked_at"] is not None
    assert [event["kind"] for event in shown["events"]] == ["enrolled", "revoked"]
    text = house.run("show", "Ada").out
    assert "Ada" in text
    assert "revoked" in text


def test_revoking_takes_effect_for_a_daemon_that_has_the_gallery_open(house: House) -> None:
    with open_store(house.gallery) as daemon:
        version = daemon.version()
        assert house.run("revoke", "Ada").code == 0
        assert daemon.version() != version
        assert [template.subject for template in daemon.templates(MODEL)] == ["Bo"]
        assert house.run("reinstate", "Ada").code == 0
        assert [template.subject for template in daemon.templates(MODEL)] == ["Ada", "Bo"]


def test_every_change_is_an_event_with_the_unix_user(house: House) -> None:
    for args in (("revoke", "Ada"), ("reinstate", "Ada"), ("rename", "Ada", "Ada L."), ("erase", "Ada L.", "--yes")):
        assert house.run(*args).code == 0
    changes = [(kind, actor) for kind, _, actor in house.events()][2:]
    assert changes == [(kind, ME) for kind in ("revoked", "reinstated", "renamed", "erased")]


def test_behind_sudo_is_who_called_it_and_nobody_else_can_claim_to_be_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "carla")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert session.actor() == "carla"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert session.actor() == ME
    monkeypatch.delenv("SUDO_USER")
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    assert session.actor() == "uid 54321"


def test_erasing_asks_and_anything_but_yes_keeps_the_person(house: House) -> None:
    for answer in ("", "n\n"):
        asked = house.run("erase", "Ada", stdin=answer)
        assert asked.code == 1
        assert "Ada" in asked.err
    assert len(house.run("people", "--json").objects) == 2
    assert house.run("erase", "Ada", stdin="y\n").code == 0
    assert [person["name"] for person in house.run("people", "--json").objects] == ["Bo"]


def test_erasing_leaves_no_byte_and_the_log_a_pseudonym(house: House) -> None:
    ada, bo = (row[0] for row in sqlite3.connect(house.gallery).execute("SELECT embedding FROM templates ORDER BY id"))
    said = house.run("erase", "Ada", "--yes").out
    assert "erased-1" in said
    left = b"".join(path.read_bytes() for path in house.folder.glob("gallery.db*"))
    assert [at for at in range(0, len(ada), 16) if ada[at : at + 16] in left and len(ada) - at >= 16] == []
    assert b"Ada" not in left
    assert bo in left
    assert ("erased", "erased-1", ME) in house.events()
    assert house.run("erase", "erased-1").code == 0


@pytest.mark.parametrize("name", ['O\'Hara "Bobby"; DROP TABLE subjects;--', "Zoë 🧔🏽", "李", "%s {} \\n"])
def test_names_people_have_survive_every_command(house: House, name: str) -> None:
    house.enrol(name)
    assert house.run("revoke", name).code == 0
    [shown] = house.run("show", name, "--json").objects
    assert shown["name"] == unicodedata.normalize("NFC", name)
    assert name in house.run("people").out
    assert house.run("rename", name, name + "!").code == 0
    assert house.run("erase", name + "!", "--yes").code == 0
    assert len(house.run("people", "--json").objects) == 2


@pytest.mark.parametrize("name", ["", "two\nlines", "x" * 10_000, "bell\a", "Bo"])
def test_a_name_that_cannot_be_used_changes_nothing(house: House, name: str) -> None:
    before = house.events()
    assert "name " in house.run("rename", "Ada", name).failure
    assert house.events() == before


@pytest.mark.parametrize("args", [("show",), ("revoke",), ("reinstate",), ("erase", "--yes"), ("log", "--person")])
def test_nobody_of_that_name_is_one_line(house: House, args: tuple[str, ...]) -> None:
    before = house.events()
    assert "maskgate people" in house.run(*args, "Nobody\nat all").failure
    assert house.events() == before


# -- a gallery that cannot be used ---------------------------------------------------------------------------------

READING = (("people",), ("show", "Ada"), ("log",))
WRITING = (("revoke", "Ada"), ("rename", "Ada", "Eve"), ("erase", "Ada", "--yes"))


@pytest.mark.parametrize("args", [*READING, *WRITING])
def test_a_missing_gallery_is_one_line_and_is_not_made(tmp_path: Path, args: tuple[str, ...]) -> None:
    house = House(tmp_path)
    assert "there is no gallery yet" in house.run(*args).failure
    assert not house.gallery.exists()


@pytest.mark.parametrize("args", [*READING, *WRITING])
def test_a_file_that_is_no_gallery_is_one_line_and_is_left_alone(tmp_path: Path, args: tuple[str, ...]) -> None:
    house = House(tmp_path)
    house.gallery.write_bytes(b"Dear gate, this is no database. " * 100)
    assert "is not a gallery" in house.run(*args).failure
    assert house.gallery.read_bytes() == b"Dear gate, this is no database. " * 100


@pytest.mark.parametrize("args", [*READING, *WRITING])
def test_a_newer_schema_is_one_line_and_is_left_alone(house: House, args: tuple[str, ...]) -> None:
    with sqlite3.connect(house.gallery) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = house.gallery.read_bytes()
    assert "newer maskgate" in house.run(*args).failure
    assert house.gallery.read_bytes() == before


@pytest.mark.parametrize("args", WRITING)
def test_a_gallery_locked_by_another_process_is_one_line(house: House, args: tuple[str, ...]) -> None:
    before = house.events()
    db = sqlite3.connect(house.gallery, isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    try:
        assert "locked by another process" in house.run(*args).failure
        # Whoever only reads does not wait for a writer.
        assert len(house.run("people", "--json").objects) == 2
    finally:
        db.execute("ROLLBACK")
        db.close()
    assert house.events() == before


def on_a_disk(house: House, options: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run shell commands with the house on a small disk of its own, which only they see; `mg` is the command."""
    disk = house.folder / "disk"
    disk.mkdir()
    program = f"""
        set -e
        mg() {{ {COMMAND[0]} -c '{COMMAND[2]}' --config {disk}/maskgate.toml "$@"; }}
        mount -t tmpfs -o {options} tmpfs {disk}
        cp {house.folder}/maskgate.toml {house.folder}/gallery.db* {house.folder}/gate.key {disk}/
        {script}
    """
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let a test mount a disk of its own")
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", program], env=environment(DISK=str(disk)), capture_output=True, text=True
    )


def test_on_a_full_disk_a_change_is_one_line_and_nobody_is_lost(house: House) -> None:
    done = on_a_disk(
        house,
        "size=1m",
        """
        head -c 2m /dev/zero > $DISK/filler || true
        mg revoke Ada && exit 9
        rm $DISK/filler
        mg people --json
        mg revoke Ada
        """,
    )
    assert done.returncode == 0, done
    lines = [line for line in done.stderr.splitlines() if line.startswith("maskgate:")]
    assert len(lines) == 1
    assert "the disk is full" in lines[0]
    assert done.stdout.count('"revoked_at": null') == 2


def test_on_a_read_only_disk_a_change_is_one_line(house: House) -> None:
    done = on_a_disk(house, "size=1m", "mount -o remount,ro $DISK; mg revoke Ada && exit 9; exit 0")
    assert done.returncode == 0, done
    [line] = done.stderr.splitlines()
    assert line.startswith("maskgate: ")
    assert "gallery.db" in line
