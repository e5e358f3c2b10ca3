"""Laws of backup and restore: what is restored is what was backed up, what is not whole replaces nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from house import House, environment
from ledgers import write_log
from maskgate import backup as backups
from maskgate.keys import Keys
from maskgate.store import Event, Store, open_store
from maskgate.values import StoreError
from test_store_faults import MODEL, enrol
from worlds import person

SECRET = b"correct horse battery"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretch passphrases as little as a backup may: each real one takes a third of a second."""
    monkeypatch.setattr(backups, "_SCRYPT", {"n": 1 << 14, "r": 8, "p": 1})


class Site:
    """A gallery and its key in folders of their own."""

    def __init__(self, folder: Path) -> None:
        (folder / "data").mkdir(parents=True)
        self.path, self.key = folder / "data" / "gallery.db", folder / "gate.key"
        self.file = folder / "backup"

    def open(self) -> Store:
        return open_store(self.path, key=self.key, create=True)

    def back_up(self) -> Path:
        with self.open() as store:
            backups.make(store, self.file, SECRET)
        return self.file

    def restore(self, file: Path, secret: bytes = SECRET) -> Path | None:
        with backups.opened(file, secret, beside=self.path) as found:
            return backups.restore(found, self.path, self.key, actor="pat")

    def content(self) -> dict[str, list[tuple[object, ...]]]:
        """Everything but the events, the kept values and sealed bytes, and what templates say once opened."""
        db = sqlite3.connect(self.path)
        found = {
            "subjects": db.execute("SELECT id, name, created_at, revoked_at, erased_at FROM subjects").fetchall(),
            "former": db.execute("SELECT * FROM former_names").fetchall(),
        }
        db.close()
        with self.open() as store:
            found["templates"] = [(one.subject, one.embedding.tobytes()) for one in store.templates(MODEL)]
            found["events"] = [(one.id, one.kind, one.subject, one.detail) for one in store.events()]
            assert list(store.verify()) == []
        return found


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site")
    with site.open() as store:
        write_log(store, 12)
    return site


def test_what_is_restored_on_a_new_card_is_what_was_backed_up_with_its_key(site: Site, tmp_path: Path) -> None:
    before = site.content()
    new = Site(tmp_path / "new")
    assert new.restore(site.back_up()) is None
    after = new.content()
    assert after.pop("events")[:-1] == before.pop("events")
    assert after == before
    assert Keys(new.key).read()[0].id == Keys(site.key).read()[0].id
    with new.open() as store:
        assert [event.kind for event in store.events()][-1] == "restored"
    assert sorted(file.name for file in new.path.parent.iterdir()) == ["gallery.db"]


def test_the_rules_that_the_command_made_go_with_it_and_replace_none(site: Site, tmp_path: Path) -> None:
    rules = site.path.with_name("rules.toml")
    rules.write_text('deny = ["Ada"]\n')
    new = Site(tmp_path / "new")
    file = site.back_up()
    new.restore(file)
    assert new.path.with_name("rules.toml").read_text() == rules.read_text()
    rules.write_text('deny = ["Ada", "Bo"]\n')
    site.restore(file)
    assert rules.read_text() == 'deny = ["Ada", "Bo"]\n'


def test_restoring_puts_aside_what_was_there_and_loses_none_of_it(site: Site, tmp_path: Path) -> None:
    file = site.back_up()
    with site.open() as store:
        enrol(store, "Dora")
        newest = store.record(Event("decision", granted=False))
        anchor = store.anchor()
    later = site.content()
    aside = site.restore(file)
    assert aside is not None
    with site.open() as store:
        assert [subject.name for subject in store.subjects()] == ["Ada", "Bo"]
        restored = list(store.events())[-1]
        assert (restored.kind, restored.actor, restored.id) == ("restored", "pat", newest + 1)
        assert list(store.verify([anchor])) == []
    old = Site(tmp_path / "old")
    shutil.copy(aside, old.path)
    shutil.copy(site.key, old.key)
    assert old.content() == later


def test_who_was_erased_or_revoked_since_stays_so(site: Site) -> None:
    file = site.back_up()
    with site.open() as store:
        sealed = [row["embedding"] for row in store._rows("SELECT embedding FROM templates WHERE subject_id = 1")]
        store.erase("Ada", actor="pat")
        store.revoke("Bo", actor="pat")
    aside = site.restore(file)
    with site.open() as store:
        assert store.templates(MODEL) == []
        assert [(one.name, one.revoked_at is None) for one in store.subjects()] == [("Bo", False)]
        assert list(store.verify()) == []
    assert aside is not None
    aside.unlink()
    left = b"".join(one.read_bytes() for one in site.path.parent.iterdir())
    assert b"Ada" not in left
    assert [sealed[0][at : at + 16] in left for at in range(0, 512, 16)] == [False] * 32


def test_a_backup_of_another_gate_brings_its_key_and_the_former_one_is_put_aside(site: Site, tmp_path: Path) -> None:
    other = Site(tmp_path / "other")
    with other.open() as store:
        enrol(store, "Eve")
    had = site.key.read_text()
    aside = site.restore(other.back_up())
    assert [name for name, _ in site.content()["templates"]] == ["Eve"]
    assert site.key.read_text() == other.key.read_text()
    [former] = site.key.parent.glob("gate.key.before-*")
    assert former.read_text() == had
    assert former.stat().st_mode & 0o777 == 0o600
    assert aside is not None
    with open_store(aside, key=former, readonly=True) as store:
        assert {one.subject for one in store.templates(MODEL)} == {"Ada", "Bo"}


@pytest.mark.parametrize("damage", [b"", b"not a gallery" * 500])
def test_a_gallery_that_cannot_be_read_any_more_is_put_aside_as_it_is(site: Site, damage: bytes) -> None:
    file = site.back_up()
    site.path.write_bytes(damage)
    aside = site.restore(file)
    assert aside is not None
    assert aside.read_bytes() == damage
    with site.open() as store:
        assert len(store.templates(MODEL)) == 2


def test_a_backup_without_its_passphrase_shows_nothing_and_restores_nothing(site: Site, tmp_path: Path) -> None:
    file = site.back_up()
    data = file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600
    for plain in (b"Ada", b"SQLite format 3", person(0).tobytes()[:16], site.key.read_text().split()[-1].encode()):
        assert plain not in data
    before = site.content()
    with pytest.raises(StoreError, match="the passphrase is another, or it was altered"):
        site.restore(file, b"wrong horse battery")
    assert site.content() == before
    with site.open() as store, pytest.raises(StoreError, match="has 9 bytes, must have at least 10"):
        backups.make(store, tmp_path / "short", b"too short")


def test_a_backup_that_is_not_whole_replaces_nothing(site: Site, tmp_path: Path) -> None:
    """Cut off, longer, altered, with its parts moved: each is one line."""
    with site.open() as store:
        store.enrol(
            "Big", [(person(n), {"note": "x" * 30_000}) for n in range(120)], model=MODEL, source="p", actor="p"
        )
    data = site.back_up().read_bytes()
    assert len(data) > 3 << 20
    chunk, begin = (1 << 20) + 16, data.index(b"\n", data.index(b"\n") + 1) + 1
    before = site.content()
    broken = {
        "empty": b"",
        "cut in the head": data[:30],
        "cut at a chunk": data[: begin + chunk],
        "cut": data[:-1],
        "longer": data + b"x",
        "bit": data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
        "moved": data[:begin]
        + data[begin + chunk : begin + 2 * chunk]
        + data[begin : begin + chunk]
        + data[begin + 2 * chunk :],
        "left out": data[:begin] + data[begin + chunk :],
        "another head": data[: begin - 3] + b" " + data[begin - 2 :],
        "a photo": b"\xff\xd8\xff\xe0" * 1000,
        "asks for all memory": data.replace(b'"n": 16384', b'"n": 1073741824', 1),
    }
    file = tmp_path / "broken"
    for name, content in broken.items():
        file.write_bytes(content)
        with pytest.raises(StoreError) as refused:
            site.restore(file)
        assert str(refused.value).startswith(f"{file}: is not a whole backup of maskgate"), name
        assert "\n" not in str(refused.value)
    assert site.content() == before
    assert sorted(one.name for one in site.path.parent.iterdir()) == ["gallery.db"]


def test_a_backup_whose_log_was_tampered_with_is_not_restored_nor_made(site: Site, tmp_path: Path) -> None:
    db = sqlite3.connect(site.path)
    db.execute("UPDATE events SET granted = 0 WHERE id = 5")
    db.commit()
    db.close()
    with site.open() as store, pytest.raises(StoreError, match="tampered with: event 5 was altered"):
        backups.make(store, site.file, SECRET)
    assert not site.file.exists()
    assert sorted(one.name for one in site.file.parent.iterdir()) == ["data", "gate.key"]


def test_a_copy_never_overwrites_another(site: Site, tmp_path: Path) -> None:
    with site.open() as store:
        store.copy_to(tmp_path / "copy")
        before = (tmp_path / "copy").read_bytes()
        store.record(Event("decision"))
        with pytest.raises(StoreError, match="copy: exists already"):
            store.copy_to(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == before


def test_nothing_unencrypted_is_written_beside_the_backup(site: Site, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    seen: list[bytes] = []
    with site.open() as store:
        read = backups._read

        def watched(*args: Any) -> Any:
            about = read(*args)
            seen.extend(file.read_bytes() for file in stick.rglob("*") if file.is_file())
            return about

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(backups, "_read", watched)
            backups.make(store, stick / "backup", SECRET)
    assert seen
    assert not [data for data in seen if b"Ada" in data or b"SQLite format 3" in data]


def test_a_backup_is_of_one_moment_while_others_write_and_they_are_not_held_up(site: Site) -> None:
    command = [sys.executable, "-c", PATIENT, site.path, site.key]
    writer = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    first = int(writer.stdout.readline())
    site.back_up()
    time.sleep(0.05)
    writer.terminate()
    last = [int(line) for line in writer.stdout.read().split("\n")[:-1]][-1]
    writer.wait()
    with backups.opened(site.file, SECRET, beside=site.path) as found:
        assert first <= found.events < last


@pytest.mark.parametrize("changes", [1, backups.TRIES])
def test_a_backup_has_its_keys_though_the_key_is_changed_while_it_is_made(
    site: Site, monkeypatch: pytest.MonkeyPatch, changes: int
) -> None:
    copy_to, left = Store.copy_to, [None] * changes

    def copied(store: Store, path: Path) -> None:
        copy_to(store, path)
        if left:
            left.pop()
            with site.open() as other:
                other.change_key(actor="pat")

    monkeypatch.setattr(Store, "copy_to", copied)
    if changes == backups.TRIES:
        with pytest.raises(StoreError, match="back up again"):
            site.back_up()
        assert not site.file.exists()
    else:
        with backups.opened(site.back_up(), SECRET, beside=site.path) as found:
            assert found.keys.read()[0].id == Keys(site.key).read()[0].id


def test_restoring_under_a_running_writer_loses_no_acknowledged_event_and_goes_on(site: Site, tmp_path: Path) -> None:
    file = site.back_up()
    command = [sys.executable, "-c", PATIENT, site.path, site.key]
    writer = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    seen = [int(writer.stdout.readline()) for _ in range(20)]
    aside = site.restore(file)
    with site.open() as store:
        [restored] = [event.id for event in store.events() if event.kind == "restored"]
    while seen[-1] <= restored + 20:
        seen.append(int(writer.stdout.readline()))
    writer.terminate()
    seen += [int(line) for line in writer.stdout.read().split("\n")[:-1]]
    writer.wait()
    assert aside is not None
    with site.open() as store, open_store(aside, key=site.key, readonly=True) as old:
        assert list(store.verify()) == []
        kept = {event.id for event in store.events()} | {event.id for event in old.events()}
        assert set(seen) <= kept
        assert len(set(seen)) == len(seen)


PATIENT = """
import sys, time
from maskgate.store import Event, open_store
from maskgate.values import StoreError
with open_store(sys.argv[1], key=sys.argv[2]) as store:
    while True:
        try:
            print(store.record(Event("decision", granted=False)), flush=True)
            time.sleep(0.002)
        except StoreError as error:
            assert "locked by another process" in str(error), error
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_on_a_full_disk_no_half_backup_is_left(site: Site, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("cannot mount here")
    try:
        with site.open() as store, pytest.raises(StoreError, match=r"full|No space left on device"):
            backups.make(store, small / "backup", SECRET)
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)


# -- the commands ------------------------------------------------------------------------------------------------------


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path)
    house.enrol("Ada", "Bo")
    return house


def test_backup_asks_twice_and_restore_once_and_both_before_they_overwrite(house: House, tmp_path: Path) -> None:
    file = tmp_path / "b.mgb"
    typed = f"{SECRET.decode()}\n"
    assert house.run("backup", file, stdin=typed * 2).out.endswith("bytes, verified\n")
    assert house.run("backup", file, stdin="n\n").code == 1
    assert house.run("backup", file, "--yes", stdin=typed * 2).code == 0
    house.enrol("Cy")
    assert house.run("restore", file, stdin=typed + "n\n").code == 1
    assert len(house.run("people", "--json").objects) == 3
    ran = house.run("restore", file, "--yes", stdin=typed)
    assert ran.code == 0
    assert "2 events, 2 enrolled" in ran.err
    assert "what was there is now" in ran.out
    assert [one["name"] for one in house.run("people", "--json").objects] == ["Ada", "Bo"]
    assert house.run("log", "verify").code == 0


def test_a_passphrase_can_come_from_a_file(house: House, tmp_path: Path) -> None:
    secret, file = tmp_path / "secret", tmp_path / "b.mgb"
    secret.write_bytes(SECRET + b"\n")
    assert house.run("backup", file, "--passphrase-file", secret).code == 0
    assert house.run("restore", file, "--yes", "--passphrase-file", secret).code == 0
    assert "No such file" in house.run("backup", file, "--yes", "--passphrase-file", tmp_path / "none").failure
    assert "No such file" in house.run("restore", tmp_path / "none", "--passphrase-file", secret).failure


@pytest.mark.parametrize("where", ["none/backup", "."])
def test_a_backup_that_cannot_be_written_is_one_line(house: House, tmp_path: Path, where: str) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    assert house.run("backup", tmp_path / where, "--yes", "--passphrase-file", secret).failure
