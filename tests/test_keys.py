"""Laws of the key and of what it seals: nothing opens without it, and nothing of a template stands in the file."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskgate.keys import Keys
from maskgate.seal import OVERHEAD, Master, Unsealable
from maskgate.store import Event, open_store
from maskgate.values import StoreError
from test_store_faults import MODEL, as_nobody, as_root, enrol, older, refusal
from worlds import person


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "gallery.db"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return tmp_path / "gate.key"


@given(st.binary(max_size=300), st.binary(max_size=50), st.data())
def test_what_is_sealed_opens_where_it_belongs_and_with_one_bit_changed_not_at_all(
    plain: bytes, bound: bytes, data: st.DataObject
) -> None:
    master = Master(bytes(range(32)))
    sealed = master.seal("templates", plain, bound)
    assert master.open("templates", sealed, bound) == plain
    assert len(sealed) == len(plain) + OVERHEAD
    assert master.seal("templates", plain, bound) != sealed
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    changed = bytearray(sealed)
    changed[bit // 8] ^= 1 << bit % 8
    for wrong in (
        lambda: master.open("templates", bytes(changed), bound),
        lambda: master.open("snapshots", sealed, bound),
        lambda: master.open("templates", sealed, bound + b"!"),
        lambda: master.open("templates", sealed[:-1], bound),
        lambda: Master(bytes(32)).open("templates", sealed, bound),
    ):
        with pytest.raises(Unsealable):
            wrong()


def test_the_keys_for_each_purpose_are_hkdfs() -> None:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    secret = os.urandom(32)
    for purpose in ("id", "templates", "snapshots", "chain", "rows", "keys"):
        theirs = HKDF(SHA256(), 32, salt=None, info=f"maskgate {purpose}".encode()).derive(secret)
        assert Master(secret).subkey(purpose) == theirs


def test_a_stolen_copy_of_the_folder_shows_no_template(path: Path, key: Path) -> None:
    with open_store(path, key=key, create=True) as store:
        store.enrol("Ada", [(person(1), {})], model=MODEL, source="photo", actor="pat")
        files = b"".join(file.read_bytes() for file in path.parent.iterdir())
    data = person(1).tobytes()
    assert [at for at in range(0, len(data) - 8, 4) if data[at : at + 8] in files] == []
    assert key.parent != path.parent
    secret = bytes.fromhex(key.read_text().splitlines()[-1])
    assert secret not in files
    assert secret.hex().encode() not in files


def test_without_its_key_a_gallery_says_so_in_one_line_and_makes_no_other(path: Path, key: Path) -> None:
    with open_store(path, key=key, create=True) as store:
        enrol(store, "Ada")
    away = key.rename(key.with_name("away"))
    with open_store(path, key=key) as store:
        for act in (lambda: store.templates(MODEL), lambda: enrol(store, "Bo"), lambda: list(store.verify())):
            with pytest.raises(StoreError, match=r"gate\.key: the gallery's key is missing; put it back"):
                act()
        assert [subject.name for subject in store.subjects()] == ["Ada"]
    assert not key.exists()
    open_store(path.with_name("other.db"), key=key, create=True).close()
    missing = pytest.raises(StoreError, match=r"has no key [0-9a-f]{8}, which the gallery is sealed with")
    with open_store(path, key=key) as store, missing:
        store.templates(MODEL)
    away.replace(key)
    with open_store(path, key=key) as store:
        assert len(store.templates(MODEL)) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620])
def test_a_key_that_others_may_read_is_refused(path: Path, key: Path, mode: int) -> None:
    with open_store(path, key=key, create=True):
        pass
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(mode)
    with pytest.raises(StoreError, match=rf"gate\.key: mode is {mode:04o}, so others may read the key; run: chmod 600"):
        Keys(key).read()


@pytest.mark.parametrize(
    "text", [b"", b"\xff\xfe", b"abc\n", b"0" * 63 + b"\n", b"g" * 64, b"0" * 64 + b" 1", b"# no\n"]
)
def test_what_is_no_key_file_is_refused_in_one_line(key: Path, text: bytes) -> None:
    key.write_bytes(text)
    key.chmod(0o600)
    with pytest.raises(StoreError, match=r"is not a key file, must have 64 hex digits a line") as refused:
        Keys(key).read()
    assert "\n" not in str(refused.value)


def test_a_credential_of_the_service_counts_and_no_file_is_wanted(
    path: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = path.parent.parent / "credentials"
    folder.mkdir()
    (folder / "gate.key").write_text(bytes(range(32)).hex() + "\n")
    (folder / "gate.key").chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    with open_store(path, key=key, create=True) as store:
        enrol(store, "Ada")
        assert len(store.templates(MODEL)) == 1
    assert not key.exists()
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with open_store(path, key=key) as store, pytest.raises(StoreError, match="key is missing"):
        store.templates(MODEL)


@as_root
def test_who_may_not_read_the_key_is_told(tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="maskgate-"))  # pytest's own are root's alone
    try:
        folder.chmod(0o755)
        with open_store(folder / "gallery.db", create=True):
            pass
        told = as_nobody(Keys(folder / "gate.key").read)
        assert "gate.key: Permission denied, the gallery's key cannot be read; use sudo" in told
        told = as_nobody(lambda: Keys(folder / "other.key").first(folder))
        assert "other.key.new: Permission denied, the gallery's key cannot be made; use sudo" in told
    finally:
        shutil.rmtree(folder)


# -- galleries from before ---------------------------------------------------------------------------------------------


def test_an_unsealed_gallery_is_sealed_with_everybody_in_it_and_no_plain_template_is_left(
    path: Path, key: Path
) -> None:
    older(path, 2)
    plain = np.eye(1, 128, dtype=np.float32).tobytes()
    assert plain[:64] in path.read_bytes()
    with open_store(path, key=key) as store:
        [template] = store.templates(MODEL)
        assert template.embedding.tobytes() == plain
        assert [event.kind for event in store.events()] == ["d"]
        assert list(store.verify()) == []
    assert plain[:64] not in b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_a_reader_that_will_not_end_delays_the_sweep_and_not_the_gate(path: Path, key: Path) -> None:
    older(path, 2)
    plain = np.eye(1, 128, dtype=np.float32).tobytes()
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM templates").fetchone() == (1,)
    with open_store(path, key=key) as store:
        assert len(store.templates(MODEL)) == 1
        assert store.record(Event("decision")) == 2
    reader.execute("COMMIT")
    reader.close()
    with open_store(path, key=key) as store:
        assert store._rows("SELECT 1 FROM kept WHERE name = 'unswept'") == []
    assert plain[:64] not in b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_an_unsealed_gallery_that_turns_up_where_a_key_is_already_is_refused_until_it_is_adopted(
    path: Path, key: Path
) -> None:
    """Else whoever can write to the folder could put a gallery of his own there."""
    from maskgate.store import adopt_gallery

    with open_store(path.with_name("mine.db"), key=key, create=True):
        pass
    older(path, 2)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"was never sealed, but .*gate\.key exists, so it may be a forgery"):
        open_store(path, key=key)
    assert refusal(path, readonly=True).startswith("older than this maskgate")
    assert path.read_bytes()[100:] == before[100:]
    adopt_gallery(path, key)
    with open_store(path, key=key) as store:
        assert len(store.templates(MODEL)) == 1


def test_a_key_made_for_a_gallery_that_was_not_sealed_in_time_is_used_by_the_next_opening(
    path: Path, key: Path
) -> None:
    """As after a power cut between making the key and sealing the gallery."""
    older(path, 2)
    made = Keys(key).first(path)
    assert not key.exists()
    with open_store(path, key=key) as store:
        assert len(store.templates(MODEL)) == 1
    assert Keys(key).read()[0].id == made.id
    assert [file.name for file in key.parent.glob("gate.key*")] == ["gate.key"]
