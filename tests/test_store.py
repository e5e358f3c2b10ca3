"""The gallery and the log, on real SQLite files."""

from __future__ import annotations

import os
import random
import re
import sqlite3
import subprocess
import sys
import time
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskgate import erasure, events, traces
from maskgate.events import Question, stamp
from maskgate.store import Event, Store, open_store, plain_name
from maskgate.values import BadName, Embedding, StoreError, UnknownSubject

MODEL, OTHER = "a" * 64, "b" * 64
START = datetime(2026, 1, 1, tzinfo=UTC)


def embeddings(count: int, *, seed: int = 0, size: int = 128) -> list[Embedding]:
    found = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return list(found / np.linalg.norm(found, axis=1, keepdims=True))


def enrol(store: Store, name: str, count: int = 1, *, seed: int = 0, model: str = MODEL, size: int = 128) -> None:
    shots = [(embedding, {"sharpness": 0.5}) for embedding in embeddings(count, seed=seed, size=size)]
    store.enrol(name, shots, model=model, source="photo.jpg", actor="pat")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.db"


# -- the gallery -------------------------------------------------------------------------------------------------------


def test_a_template_comes_back_bit_for_bit_and_only_for_the_model_that_made_it(path: Path) -> None:
    with open_store(path, create=True) as store:
        enrol(store, "Ada", 3, seed=1)
        enrol(store, "Ada", 2, seed=2, model=OTHER, size=64)
        enrol(store, "Bo", 1, seed=3)
    with open_store(path, readonly=True) as store:
        templates = store.templates(MODEL)
        others = store.templates(OTHER)
        assert store.templates("c" * 64) == []
    assert [template.subject for template in templates] == ["Ada", "Ada", "Ada", "Bo"]
    assert {template.model for template in templates} == {MODEL}
    expected = np.stack(embeddings(3, seed=1) + embeddings(1, seed=3))
    got = np.stack([template.embedding for template in templates])
    assert got.dtype == np.float32
    assert got.tobytes() == expected.tobytes()
    assert (
        np.stack([template.embedding for template in others]).tobytes()
        == np.stack(embeddings(2, seed=2, size=64)).tobytes()
    )


def test_another_connection_sees_an_enrolment_when_the_call_returns(path: Path) -> None:
    with open_store(path, create=True) as store, open_store(path) as daemon:
        before = daemon.version()
        assert daemon.version() == before
        enrol(store, "Ada", 300)
        assert daemon.version() != before
        assert len(daemon.templates(MODEL)) == 300


@pytest.mark.parametrize(
    "last",
    [
        (np.full(128, 0.5, np.float32), {}),
        (embeddings(1, size=64)[0], {}),
        (np.full(128, np.nan, np.float32), {}),
        (embeddings(1)[0], {"sharpness": float("nan")}),
        (embeddings(1)[0], {"photo": Path("not JSON")}),
    ],
)
def test_an_enrolment_that_fails_at_its_last_template_leaves_nothing(path: Path, last: tuple[Embedding, Any]) -> None:
    with open_store(path, create=True) as store:
        shots: list[tuple[Embedding, Any]] = [(embedding, {}) for embedding in embeddings(200)]
        with pytest.raises((ValueError, TypeError)):
            store.enrol("Ada", [*shots, last], model=MODEL, source="camera", actor="pat")
        assert store.subjects() == []
        assert list(store.events()) == []
        enrol(store, "Ada")
        assert len(store.templates(MODEL)) == 1


def test_an_enrolment_without_templates_is_refused(path: Path) -> None:
    with open_store(path, create=True) as store, pytest.raises(ValueError, match="one length"):
        store.enrol("Ada", [], model=MODEL, source="camera", actor="pat")


def test_a_revoked_subject_matches_nothing_at_once_and_reinstating_brings_it_back(path: Path) -> None:
    with open_store(path, create=True) as store, open_store(path) as daemon:
        enrol(store, "Ada", 2)
        enrol(store, "Bo")
        store.revoke("Ada", actor="pat")
        assert [template.subject for template in daemon.templates(MODEL)] == ["Bo"]
        assert daemon.subject("Ada").revoked_at is not None
        with pytest.raises(BadName, match="revoked"):
            enrol(store, "Ada")
        store.reinstate("Ada", actor="pat")
        assert [template.subject for template in daemon.templates(MODEL)] == ["Ada", "Ada", "Bo"]


def test_a_subject_is_told_with_templates_models_and_the_last_grant(path: Path) -> None:
    with open_store(path, create=True) as store:
        enrol(store, "Ada", 2)
        enrol(store, "Ada", 3, model=OTHER)
        store.record(Event("decision", at=stamp(START), subject="Ada", granted=True))
        store.record(Event("decision", at=stamp(START + timedelta(days=1)), subject="Ada", granted=False))
        ada = store.subject("Ada")
        assert (ada.templates, ada.models, ada.last_granted_at) == (5, (MODEL, OTHER), "2026-01-01T00:00:00.000Z")
        assert store.subjects() == [ada]


@pytest.mark.parametrize(
    "name",
    ['Pat "the cat" O\'Neill', "'; DROP TABLE subjects", "👩\u200d🚀🙂", "ليلى", "李小龍", "%_?", "x" * 100, "null"],
)
def test_a_name_people_have_is_kept_as_it_is(path: Path, name: str) -> None:
    with open_store(path, create=True) as store:
        enrol(store, name)
        store.record(Event("decision", subject=name, granted=True))
        assert store.subject(name).name == name
        assert store.templates(MODEL)[0].subject == name
        assert [event.subject for event in store.events(person=name)] == [name, name]


@pytest.mark.parametrize(
    "name",
    [
        *("", " \t ", "\u200d", "\u0301", "a\nb", "a\x00b", "a\x1b[31mb", "a\u2028b", "a\u202eb", "\ud800"),
        *("x" * 101, "x" * 10_000, "erased-1"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_in_one_line_and_nothing_is_written(path: Path, name: str) -> None:
    with open_store(path, create=True) as store:
        with pytest.raises(BadName) as refused:
            enrol(store, name)
        enrol(store, "Ada")
        with pytest.raises(BadName):
            store.rename("Ada", name, actor="pat")
        assert [subject.name for subject in store.subjects()] == ["Ada"]
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 200


def test_a_name_typed_in_another_unicode_form_is_the_same_name(path: Path) -> None:
    composed, decomposed = "José Ångström", unicodedata.normalize("NFD", "José Ångström")
    assert composed != decomposed
    with open_store(path, create=True) as store:
        enrol(store, decomposed)
        enrol(store, f"  {composed} ", seed=1)
        assert [subject.name for subject in store.subjects()] == [composed]
        assert store.subject(decomposed).templates == 2
    assert plain_name(decomposed) == composed


def test_renaming_keeps_the_subject_and_its_past_and_refuses_a_taken_name(path: Path) -> None:
    with open_store(path, create=True) as store:
        enrol(store, "Ada")
        enrol(store, "Bo", seed=1)
        store.record(Event("decision", subject="Ada", granted=True))
        with pytest.raises(BadName, match="taken"):
            store.rename("Ada", "Bo", actor="pat")
        store.rename("Ada", "Ada Lovelace", actor="pat")
        with pytest.raises(UnknownSubject):
            store.subject("Ada")
        assert store.subject("Ada Lovelace").formerly == ("Ada",)
        assert [event.kind for event in store.events(person="Ada Lovelace")] == ["enrolled", "decision", "renamed"]


def test_every_change_an_administrator_makes_is_an_event_with_the_unix_user(path: Path) -> None:
    with open_store(path, create=True) as store:
        enrol(store, "Ada", 2)
        store.revoke("Ada", actor="root")
        store.revoke("Ada", actor="nobody changed anything")
        store.reinstate("Ada", actor="kim")
        store.rename("Ada", "Bo", actor="lee")
        store.erase("Bo", actor="max")
        told = [(event.kind, event.subject, event.actor) for event in store.events()]
    kinds = [("enrolled", "pat"), ("revoked", "root"), ("reinstated", "kim"), ("renamed", "lee"), ("erased", "max")]
    assert told == [(kind, "erased-1", actor) for kind, actor in kinds]


@pytest.mark.parametrize("change", ["revoke", "reinstate", "erase", "subject"])
def test_nobody_of_that_name_is_an_unknown_subject(path: Path, change: str) -> None:
    with open_store(path, create=True) as store:
        enrol(store, "Ada")
        store.erase("Ada", actor="pat")
        before = list(store.events())
        for name in ("Ada", "Bo"):
            with pytest.raises(UnknownSubject, match="nobody of that name"):
                getattr(store, change)(name, **({} if change == "subject" else {"actor": "pat"}))
        assert list(store.events()) == before


# -- erasing -----------------------------------------------------------------------------------------------------------


def remains(path: Path, patterns: Sequence[bytes]) -> list[bytes]:
    """Search the files naively; to be called when no store is open in this process."""
    data = b"".join(file.read_bytes() for file in traces.gallery_files(path))
    return [pattern for pattern in patterns if pattern in data]


def remains_in_use(path: Path, patterns: Sequence[bytes]) -> list[bytes]:
    """As `remains`, while a store is open: by another process, which takes no lock of ours away."""
    data = b"".join(subprocess.check_output(["cat", file]) for file in traces.gallery_files(path))
    return [pattern for pattern in patterns if pattern in data]


def stored(store: Store, name: str) -> list[bytes]:
    """Templates of a subject as they stand in the file."""
    rows = store._rows("SELECT embedding FROM templates JOIN subjects AS s ON s.id = subject_id WHERE name = ?", [name])
    return [row["embedding"] for row in rows]


def cut(data: bytes, size: int = 16) -> list[bytes]:
    return [data[start : start + size] for start in [*range(0, len(data) - size, size), len(data) - size]]


def test_erasing_leaves_no_byte_of_templates_and_names_and_a_pseudonym_in_the_log(path: Path) -> None:
    with open_store(path, create=True) as store, open_store(path) as daemon:
        enrol(store, "Grace", 3, seed=1)
        enrol(store, "Gracella", 2, seed=2)
        store.rename("Grace", "Grace Hopper", actor="Grace")
        noted = {"next": "Grace Hopper", "others": ["Gracella", "Grace"], "said": "not Grace Hopper!"}
        daemon.record(Event("decision", subject="Grace Hopper", granted=True, detail=noted))
        gone = [piece for sealed in stored(store, "Grace Hopper") for piece in cut(sealed)]
        living = [piece for sealed in stored(store, "Gracella") for piece in cut(sealed)]
        assert remains_in_use(path, gone) == gone
        assert store.erase("Grace Hopper", actor="pat") == "erased-1"
        assert [template.subject for template in daemon.templates(MODEL)] == ["Gracella", "Gracella"]
        decision = next(event for event in store.events(person="erased-1") if event.kind == "decision")
        assert decision.detail == {"next": "erased-1", "others": ["Gracella", "erased-1"], "said": "not erased-1!"}
        enrol(store, "Grace Hopper", seed=4)
        assert store.subject("Grace Hopper").id != 1
        store.erase("Grace Hopper", actor="pat")
    assert remains(path, [*gone, b"Grace Hopper", b"Hopper"]) == []
    assert remains(path, [*living, b"Gracella"]) == [*living, b"Gracella"]
    # what is left of the former name is the UNIX user's and the other subject's
    assert remains(path, [b"Grace"]) == [b"Grace"]


@pytest.mark.parametrize("size", [128, 1500])
def test_erasing_many_in_any_order_leaves_nothing_of_any(path: Path, size: int) -> None:
    order = random.Random(size)
    gone: list[bytes] = []
    alive: list[int] = []
    with open_store(path, create=True) as store:
        for number in range(40):
            enrol(store, f"Person number {number:03d}", order.randint(1, 4), seed=number, size=size)
            alive.append(number)
            if number % 3 and len(alive) > 9:
                number = alive.pop(order.randrange(len(alive)))
                gone += [piece for sealed in stored(store, f"Person number {number:03d}") for piece in cut(sealed)]
                store.erase(f"Person number {number:03d}", actor="pat")
                gone += [f"Person number {number:03d}".encode()]
        left = {template.subject for template in store.templates(MODEL)}
    assert left == {f"Person number {number:03d}" for number in alive}
    assert len(gone) > 400
    assert remains(path, gone) == []


def test_what_deleting_did_not_overwrite_is_found_and_removed(path: Path) -> None:
    with open_store(path, create=True) as store:
        enrol(store, "Ada")
        sealed = stored(store, "Ada")
        patterns = cut(sealed[0], 32)
        enrol(store, "Bo", seed=1)
        careless = sqlite3.connect(path, isolation_level=None)
        careless.execute("PRAGMA secure_delete = OFF").fetchall()
        careless.execute("PRAGMA foreign_keys = OFF")
        careless.execute("DELETE FROM templates WHERE subject_id = 1")
        careless.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        careless.close()
        assert traces.find(path, patterns) == patterns
        secrets = erasure.Secrets("erased-1", ("Ada",), tuple(sealed))
        erasure.prove_gone(store._db, store._rows, path, secrets)
    assert remains(path, patterns) == []


def test_a_search_that_still_finds_something_after_rebuilding_is_an_error(path: Path) -> None:
    with open_store(path, create=True) as store:
        enrol(store, "Ada")
        Path(f"{path}-shm").chmod(0o600)
        never = erasure.Secrets("erased-9", (), tuple(stored(store, "Ada")))
        # the template is alive, so no rebuilding removes it, and nothing excuses it when the living are not asked
        with pytest.raises(StoreError, match="erased-9 are left in the file"):
            erasure.prove_gone(store._db, lambda sql, values: [], path, never)


@pytest.mark.parametrize(
    "name", ["Jo", "李", "X", "cafe", "2026", "subject", 'O"Hara\\', "decision", "1", "next", "frames"]
)
def test_a_name_that_is_short_or_stands_elsewhere_can_be_erased(path: Path, name: str) -> None:
    with open_store(path, create=True) as store:
        enrol(store, name)
        enrol(store, f"{name}sen", seed=1, model="cafe" * 16)
        store.record(
            Event("decision", subject=name, granted=False, reason="unknown", detail={"next": name, "frames": 1})
        )
        assert store.erase(name, actor=name) == "erased-1"
        assert [subject.name for subject in store.subjects()] == [f"{name}sen"]
        assert [event.detail for event in store.events() if event.kind == "decision"] == [
            {"next": "erased-1", "frames": 1}
        ]
    rows = sqlite3.connect(path).execute("SELECT name FROM subjects UNION SELECT name FROM former_names").fetchall()
    assert set(rows) == {("erased-1",), (f"{name}sen",)}


def test_a_photo_enrolled_under_two_names_can_be_erased_from_one(path: Path) -> None:
    with open_store(path, create=True) as store:
        enrol(store, "Ada", 2, seed=1)
        enrol(store, "Bob", 2, seed=1)
        store.erase("Ada", actor="pat")
        assert [template.subject for template in store.templates(MODEL)] == ["Bob", "Bob"]


def test_every_text_of_the_schema_is_asked_for_what_lives(path: Path) -> None:
    with open_store(path, create=True):
        pass
    connection = sqlite3.connect(path)
    for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
        texts = {name for _, name, kind, *_ in columns if kind in ("TEXT", "BLOB") or table == "sqlite_sequence"}
        assert texts - {"seq"} == set(erasure._TEXTS[table]), table


def test_a_reader_that_will_not_end_is_named_and_the_proof_can_be_made_afterwards(path: Path) -> None:
    with open_store(path, create=True) as store:
        enrol(store, "Ada Lovelace", 2)
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM templates").fetchone() == (2,)
        sealed = stored(store, "Ada Lovelace")
        with pytest.raises(StoreError, match=r"another program still reads.*maskgate erase erased-1"):
            store.erase("Ada Lovelace", actor="pat")
        reader.execute("COMMIT")
        assert store.erase("erased-1", actor="pat") == "erased-1"
        assert [event.kind for event in store.events()] == ["enrolled", "erased"]
        reader.close()
    assert len(sealed) == 2
    assert remains(path, [b"Lovelace", *cut(sealed[1])]) == []


def test_searching_the_files_does_not_take_sqlites_locks_away(path: Path) -> None:
    with open_store(path, create=True) as store:
        enrol(store, "Ada")
        wal = Path(f"{path}-wal")
        before = wal.stat().st_ino
        traces.find(path, [b"never there"])
        # the last to close a gallery deletes its -wal; who closes now must see that it is not the last
        read_and_close = (
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM events'); c.close()"
        )
        subprocess.run([sys.executable, "-c", read_and_close, path], check=True)
        assert wal.stat().st_ino == before
        event_id = store.record(Event("started"))
    with open_store(path, readonly=True) as store:
        assert store.last_id() == event_id


@pytest.mark.parametrize(
    "at",
    [
        0,
        1,
        31,
        *range((8 << 20) - 40, (8 << 20) - 34),
        (8 << 20) - 16,
        (8 << 20) - 1,
        8 << 20,
        (16 << 20) - 30,
        (17 << 20) - 32,
    ],
)
def test_a_pattern_is_found_wherever_it_stands_and_only_there(tmp_path: Path, at: int) -> None:
    file, pattern = tmp_path / "file", bytes(range(100, 132))
    data = bytearray(17 << 20)
    data[at : at + 32] = pattern
    file.write_bytes(data)
    assert traces.find(file, [pattern, pattern[::-1], b"\x00\x00\x00\x01"]) == [pattern]
    around = bytes(data[max(0, at - 5) : at + 37])
    assert traces.find(file, [pattern], [around]) == []
    assert traces.find(file, [pattern], [around + b"!", b"!" + around]) == [pattern]


# -- the log -----------------------------------------------------------------------------------------------------------


def test_an_event_comes_back_as_it_was_recorded(path: Path) -> None:
    whole = Event(
        kind="decision",
        at="2026-11-22T10:00:00.123Z",
        subject="Ada",
        granted=True,
        reason="granted",
        score=0.625,
        margin=0.25,
        threshold=0.5,
        masked=0.125,
        live=0.75,
        actor="pat",
        detail={"frames": 3, "said": 'é"\n', "list": [1, None, True]},
    )
    with open_store(path, create=True) as store:
        enrol(store, "Ada")
        event_id = store.record(whole)
        bare_id = store.record(Event("started"))
        got, bare = list(store.events(after_id=event_id - 1))
    assert got == Event(**{**{name: getattr(whole, name) for name in whole.__slots__}, "id": event_id})
    assert (bare.id, bare.granted, bare.subject, bare.detail) == (bare_id, None, None, {})
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", bare.at)
    assert abs(datetime.fromisoformat(bare.at) - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_grant_to_who_was_revoked_or_erased_meanwhile_cannot_be_recorded(path: Path) -> None:
    with open_store(path, create=True) as daemon, open_store(path) as store:
        for number, name in enumerate(("Ada", "Bo", "Cy")):
            enrol(store, name, seed=number)
        store.revoke("Ada", actor="pat")
        store.erase("Bo", actor="pat")
        before = daemon.last_id()
        for name, why in (("Ada", "revoked"), ("Bo", "nobody"), ("erased-2", "nobody")):
            with pytest.raises(UnknownSubject, match=why):
                daemon.record(Event("decision", subject=name, granted=True))
        assert daemon.last_id() == before
        for name in ("Ada", "Bo"):
            daemon.record(Event("decision", subject=name, granted=False, reason="left"))
        daemon.record(Event("decision", subject="Cy", granted=True))
        told = [event.subject for event in daemon.events(after_id=before)]
    assert told == ["Ada", None, "Cy"]


REASONS = ("granted", "unknown", "left", "stale")
PEOPLE = ("Ada", "Bo", "Cy")


def fill(store: Store, count: int, seed: int) -> list[Event]:
    """Record decisions, some with equal times and some after the clock was set back."""
    dice = random.Random(seed)
    for number, name in enumerate(PEOPLE):
        enrol(store, name, seed=number)
    for number in range(count):
        reason = dice.choice(REASONS)
        at = stamp(START + timedelta(hours=number // 2 - (50 if dice.random() < 0.1 else 0)))
        subject = dice.choice([*PEOPLE, None])
        store.record(Event("decision", at=at, subject=subject, granted=reason == "granted", reason=reason))
    return sorted(store.events(), key=lambda event: (event.at, event.id))


def test_the_log_answers_each_question_as_reading_all_of_it_would(path: Path) -> None:
    dice = random.Random(5)
    with open_store(path, create=True) as store:
        everything = fill(store, 300, seed=4)
        assert list(store.events()) == everything
        for _ in range(200):
            since, until = (
                dice.choice([None, START + timedelta(hours=dice.randint(-60, 250), milliseconds=dice.randint(0, 1))])
                for _ in range(2)
            )
            person, denied = dice.choice([None, *PEOPLE]), dice.random() < 0.4
            reason, limit = dice.choice([None, *REASONS]), dice.choice([None, 0, 1, 7, 1000])
            after_id = dice.choice([None, None, dice.randint(0, 410)])
            expected = [
                event
                for event in (everything if after_id is None else sorted(everything, key=lambda event: event.id))
                if (since is None or event.at >= stamp(since))
                and (until is None or event.at < stamp(until))
                and (person is None or event.subject == person)
                and (not denied or event.granted is False)
                and (reason is None or event.reason == reason)
                and (after_id is None or event.id > after_id)
            ]
            if limit is not None:
                expected = expected[:limit] if after_id is not None else expected[max(0, len(expected) - limit) :]
            got = store.events(
                since=since, until=until, person=person, denied=denied, reason=reason, limit=limit, after_id=after_id
            )
            assert list(got) == expected


def test_a_long_log_is_read_in_batches_without_losing_or_repeating_any(path: Path) -> None:
    with open_store(path, create=True) as store:
        bulk(store, 5_003)
        ids = list(range(1, 5_004))
        assert [event.id for event in store.events()] == ids
        assert [event.id for event in store.events(limit=2_500)] == ids[-2_500:]
        assert [event.id for event in store.events(after_id=0)] == ids
        assert [event.id for event in store.events(after_id=3, limit=2_000)] == ids[3:2_003]


def test_a_follower_sees_each_event_once_while_another_writes(path: Path) -> None:
    with open_store(path, create=True) as daemon, open_store(path, readonly=True) as follower:
        seen: list[int] = []
        written: list[int] = []
        for number in range(60):
            written += [daemon.record(Event("decision", granted=False)) for _ in range(number % 3)]
            seen += [event.id for event in follower.events(after_id=seen[-1] if seen else 0)]
    assert seen == written
    assert len(seen) == 60


def test_a_reader_that_pauses_does_not_keep_the_wal_from_being_emptied(path: Path) -> None:
    with open_store(path, create=True) as daemon, open_store(path, readonly=True) as reader:
        bulk(daemon, 3_000)
        for paused in (reader.events(), reader.events(after_id=0)):
            next(paused)
            daemon.record(Event("started"))
            assert tuple(daemon._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()) == (0, 0, 0)
            assert len(list(paused)) >= 3_000


def test_questions_with_a_naive_time_or_an_unknown_person_are_errors(path: Path) -> None:
    with open_store(path, create=True) as store:
        with pytest.raises(ValueError, match="no time zone"):
            list(store.events(since=datetime(2026, 1, 1)))
        with pytest.raises(UnknownSubject):
            store.events(person="Nobody")


def bulk(store: Store, count: int) -> None:
    """Many events at once: one transaction instead of one each."""
    rows = (
        (stamp(START + timedelta(minutes=number)), "decision", None, number % 4 > 0, REASONS[number % 4], "{}")
        for number in range(count)
    )
    store._db.execute("BEGIN IMMEDIATE")
    store._db.conn.executemany(
        "INSERT INTO events (at, kind, subject_id, granted, reason, detail) VALUES (?, ?, ?, ?, ?, ?)", rows
    )
    store._db.execute("COMMIT")


def test_no_question_reads_the_whole_log_or_sorts_it(path: Path) -> None:
    plans: list[str] = []
    with open_store(path, create=True) as store:
        enrol(store, "Ada")
        bulk(store, 20_000)

        def ask(sql: str, values: Sequence[Any]) -> list[dict[str, Any]]:
            plans.extend(row["detail"] for row in store._rows(f"EXPLAIN QUERY PLAN {sql}", values))
            return store._rows(sql, values)

        for since in (None, START + timedelta(days=1)):
            for until in (None, START + timedelta(days=9)):
                for subject_id in (None, 1):
                    for denied in (False, True):
                        for reason in (None, "unknown"):
                            question = Question(since, until, subject_id, denied, reason)
                            list(events.browse(ask, question, limit=20))
                            list(events.follow(ask, question, after_id=19_000, limit=20))
    assert len(plans) > 100
    assert [plan for plan in plans if not plan.startswith("SEARCH")] == []
    used = {plan.split(" (")[0].rpartition(" ")[2] for plan in plans if plan.startswith("SEARCH e ")}
    assert used >= {"events_by_time", "events_by_subject", "events_by_reason", "events_denied"}


# -- what it costs -----------------------------------------------------------------------------------------------------


def written_bytes() -> int:
    """What this thread has had written; a thread that another test left may still write."""
    found = re.search(r"^write_bytes: (\d+)", Path("/proc/thread-self/io").read_text(), re.M)
    assert found
    return int(found[1])


def test_watching_for_changes_writes_nothing(path: Path) -> None:
    with open_store(path, create=True) as store, open_store(path) as daemon:
        enrol(store, "Ada")
        daemon.templates(MODEL)
        os.sync()

        def stand() -> list[tuple[str, int, int]]:
            found = [(file.name, file.stat()) for file in traces.gallery_files(path)]
            return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in found]

        before, wrote = stand(), written_bytes()
        time.sleep(0.02)
        assert len({daemon.version() for _ in range(1_000)}) == 1
        os.sync()
        assert (stand(), written_bytes()) == (before, wrote)
        store.record(Event("started"))
        assert (stand(), written_bytes()) != (before, wrote)
