"""Laws of the log as a chain: whatever is done to it without the key is found, whatever the gate does is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laws_ledger import edits_of_a_gallery, single_and_paired, tamper
from ledgers import is_found, plain_log, write_log
from maskgate import chain
from maskgate.chain import Anchor, Head, anchors_in
from maskgate.store import Event, Store, open_store
from maskgate.values import StoreError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.db"


def found(path: Path, anchors: list[Anchor] | None = None) -> list[str]:
    """What `log verify` says of the gallery, a gallery that cannot be read included."""
    try:
        with open_store(path, readonly=True) as store:
            return [f"{finding.id} {finding.said}" for finding in store.verify(anchors or [])]
    except StoreError as error:
        return [str(error)]


def test_every_single_mutation_and_every_pair_of_them_is_found() -> None:
    assert single_and_paired(7, 10**6) > 8_000


@pytest.mark.parametrize("last", range(6))
def test_a_log_cut_off_anywhere_at_its_end_is_found_even_if_the_head_is_made_to_fit(last: int) -> None:
    records = plain_log(6)
    pinned = records[-1]
    assert pinned.link is not None
    head = Head(last, records[last - 1].link or b"") if last else Head(0, chain.ORIGIN)
    left = records[:last]
    assert not is_found(left, head)
    said = chain.check(
        left,
        cut=Head(0, chain.ORIGIN),
        head=head,
        sign=lambda seq, link: chain.mac_of(b"k" * 32, seq, link),
        redacted={},
        anchors=[Anchor(pinned.id, pinned.link, bytes(16))],
    )
    assert [finding.said for finding in said] == ["is missing: an anchor holds it, the log does not"]


def test_every_edit_of_a_real_gallery_is_found() -> None:
    assert edits_of_a_gallery(8, 40) > 200


def test_a_log_is_as_written_after_everything_that_the_gate_does_to_it(path: Path) -> None:
    with open_store(path, create=True) as store:
        write_log(store, 30)
        store.rename("Ada", "Ada L.", actor="pat")
        store.revoke("Bo", actor="pat")
        store.reinstate("Bo", actor="pat")
        store.record(Event("decision", detail={"next": "Ada L.", "also": "Bo"}))
        store.erase("Ada L.", actor="pat")
        store.erase("Bo", actor="pat")
        [twice] = [event for event in store.events() if "also" in event.detail]
        assert twice.detail == {"next": "erased-1", "also": "erased-2"}
        assert list(store.verify([store.anchor()])) == []


@settings(max_examples=60)
@given(
    numbers=st.lists(st.none() | st.floats(), min_size=5, max_size=5),
    texts=st.lists(st.none() | st.text(st.characters(codec="utf-8")), min_size=2, max_size=2),
    detail=st.dictionaries(st.text(st.characters(codec="utf-8")), st.floats(allow_nan=False, allow_infinity=False)),
)
def test_whatever_is_recorded_verifies(
    opened: Store, numbers: list[float | None], texts: list[str | None], detail: dict[str, float]
) -> None:
    """SQLite keeps NaN as NULL and a negative zero as zero: the chain must hold what it gives back."""
    score, margin, threshold, masked, live = numbers
    values = {"score": score, "margin": margin, "threshold": threshold, "masked": masked, "live": live}
    opened.record(Event("decision", reason=texts[0], actor=texts[1], detail=detail, **values))
    assert list(opened.verify()) == []


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(tmp_path_factory.mktemp("log") / "gallery.db", create=True)


def test_an_anchor_pins_the_log_of_its_time_for_ever(path: Path, tmp_path: Path) -> None:
    anchors = []
    with open_store(path, create=True) as store:
        for _ in range(4):
            write_log_line(store)
            anchors.append(store.anchor())
    early = tmp_path / "early.db"
    shutil.copy(path, early)
    with open_store(path) as store:
        write_log_line(store)
        anchors.append(store.anchor())
    assert found(path, anchors) == []
    # an older copy is in itself whole: what is missing is known from elsewhere alone
    shutil.copy(early, path)
    assert found(path) == []
    assert found(path, anchors) == ["5 is missing: an anchor holds it, the log does not"]


def write_log_line(store: Store) -> None:
    store.record(Event("decision", granted=False, reason="unknown"))


def test_a_log_written_anew_with_another_key_does_not_agree_with_its_anchors(path: Path, tmp_path: Path) -> None:
    with open_store(path, create=True) as store:
        write_log(store, 10)
        anchor = store.anchor()
    forged = tmp_path / "forged" / "gallery.db"
    forged.parent.mkdir()
    with open_store(forged, create=True) as store:
        write_log(store, 10)
    assert found(forged) == []
    assert found(forged, [anchor])
    shutil.copy(forged, path)
    assert "has no key" in found(path)[0]


def test_anchors_are_read_out_of_any_text() -> None:
    anchor = Anchor(17, bytes(range(32)), bytes(range(16)))
    journal = f"Nov 25 18:00:01 gate maskgate[1]: INFO {anchor}\nnoise \ufffd anchor seq=x\n{anchor}"
    assert anchors_in(journal) == [anchor, anchor]
    assert anchors_in("anchor seq=1 link=00 mac=00") == []


def test_a_gate_whose_head_was_altered_goes_on_recording_and_it_is_found_for_ever(path: Path) -> None:
    with open_store(path, create=True) as store:
        write_log(store, 6)
        last = "INSERT INTO events (id, at, kind, detail) VALUES (9223372036854775807, '2026', 'decision', '{}')"
        for sql in ("DELETE FROM kept WHERE name = 'head'", "DELETE FROM events WHERE id > 3", last):
            tamper(path, sql)
        ids = [store.record(Event("decision", granted=False)) for _ in range(3)]
        assert len(set(ids)) == 3
        assert list(store.verify())


def test_a_revocation_taken_back_in_the_file_admits_nobody(path: Path) -> None:
    with open_store(path, create=True) as store:
        write_log(store, 6)
        store.revoke("Ada", actor="pat")
    tamper(path, "UPDATE subjects SET revoked_at = NULL")
    with open_store(path) as store, pytest.raises(StoreError, match="subject 1 was altered"):
        store.templates("a" * 64)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE templates SET subject_id = 3 - subject_id",
        "UPDATE templates SET embedding = (SELECT embedding FROM templates AS o WHERE o.id = 3 - templates.id)",
        "UPDATE templates SET detail = '{\"masked\": 1.0}'",
        "UPDATE templates SET id = id + 10",
        "UPDATE templates SET embedding = zeroblob(545)",
        "UPDATE templates SET embedding = x''",
        "INSERT INTO templates SELECT 9, 1, model, created_at, source, detail, zeroblob(512) FROM templates LIMIT 1",
    ],
)
def test_a_template_that_was_moved_or_altered_admits_nobody(path: Path, sql: str) -> None:
    with open_store(path, create=True) as store:
        write_log(store, 6)
    tamper(path, sql)
    with open_store(path) as store:
        with pytest.raises(StoreError, match=r"template \d+ of subject \d+: .*(altered|not sealed)"):
            store.templates("a" * 64)
        assert list(store.verify())
