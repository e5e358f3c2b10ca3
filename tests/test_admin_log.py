"""Laws of `maskgate log`: what was asked for and nothing else, in any form; a follower misses and repeats nothing."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from house import House
from ledgers import decision
from maskgate.store import Event


def on(day: int, subject: str | None = None, reason: str = "unknown") -> Event:
    """Return a decision made at noon UTC of a day in January 2026."""
    return decision(subject, reason, f"2026-01-{day:02}T12:00:00.000Z", frames=2)


@pytest.fixture
def utc() -> Iterator[None]:
    """Live in Greenwich, commands started by the test too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def house(tmp_path: Path, utc: None) -> House:
    """Return a house where Ada came on five days and a stranger on two."""
    house = House(tmp_path)
    house.enrol("Ada")
    with house.store() as store:
        for day in range(1, 6):
            store.record(on(day, "Ada", "granted"))
        store.record(on(6))
        store.record(on(7, None, "poor_picture"))
    return house


def days(house: House, *args: str) -> list[int]:
    """Return the days of January of the events that `args` ask for."""
    told = house.run("log", "--json", *args).objects
    return [int(event["at"][8:10]) for event in told if event["at"].startswith("2026-01")]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((), [1, 2, 3, 4, 5, 6, 7]),
        (("--since", "2026-01-04"), [4, 5, 6, 7]),
        (("--until", "2026-01-04"), [1, 2, 3, 4]),
        (("--until", "2026-01-04T12:00"), [1, 2, 3]),
        (("--since", "2026-01-04T14:00+02:00", "--until", "2026-01-05"), [4, 5]),
        (("--since", "1h"), []),
        (("--since", "9999d"), [1, 2, 3, 4, 5, 6, 7]),
        (("--person", "Ada"), [1, 2, 3, 4, 5]),
        (("--denied",), [6, 7]),
        (("--reason", "poor_picture"), [7]),
        (("--person", "Ada", "--denied"), []),
        (("--denied", "--limit", "1"), [7]),
        (("--reason", "granted", "--limit", "2"), [4, 5]),
        (("--limit", "0"), [1, 2, 3, 4, 5, 6, 7]),
        (("--masked",), [1, 2, 3, 4, 5, 6, 7]),
        (("--between", "11:00-12:00"), []),
        (("--between", "12:00-12:01"), [1, 2, 3, 4, 5, 6, 7]),
        (("--between", "22:00-06:00"), []),
        (("--between", "22:00-12:01", "--denied"), [6, 7]),
        (("--between", "12:00-24:00", "--masked", "--person", "Ada", "--since", "2026-01-05"), [5]),
    ],
)
def test_a_question_is_answered_with_its_events_newest_last(
    house: House, args: tuple[str, ...], expected: list[int]
) -> None:
    assert days(house, *args) == expected


def test_no_more_than_a_screenful_unless_asked_for(house: House) -> None:
    with house.store() as store:
        for _ in range(150):
            store.record(on(9))
    assert len(house.run("log").out.splitlines()) == 100
    assert len(house.run("log", "--limit", "0").out.splitlines()) == 158


def test_json_tells_all_there_is_about_an_event(house: House) -> None:
    told = house.run("log", "--json", "--person", "Ada", "--reason", "granted", "--limit", "1").objects
    with house.store() as store:
        [event] = store.events(person="Ada", reason="granted", limit=1)
    assert told == [{name: getattr(event, name) for name in Event.__dataclass_fields__}]


def test_csv_reads_back_as_json_does(house: House) -> None:
    rows = list(csv.DictReader(io.StringIO(house.run("log", "--csv").out)))
    told = house.run("log", "--json").objects
    assert [(row["at"], row["kind"], row["subject"] or None) for row in rows] == [
        (event["at"], event["kind"], event["subject"]) for event in told
    ]
    assert [json.loads(row["detail"]) for row in rows] == [event["detail"] for event in told]


@pytest.mark.parametrize("name", ['O"Hara, "Bobby"', "=1+1", "Zoë 🧔🏽"])
def test_any_name_survives_every_form(house: House, name: str) -> None:
    house.enrol(name)
    [row] = csv.DictReader(io.StringIO(house.run("log", "--csv", "--person", name).out))
    [told] = house.run("log", "--json", "--person", name).objects
    assert row["subject"] == told["subject"] == name
    assert name in house.run("log", "--person", name).out


def test_a_person_reads_when_who_and_why(house: House) -> None:
    first, *_, last = house.run("log", "--since", "2026-01-05", "--until", "2026-01-07").out.splitlines()
    assert first == "    6  2026-01-05 12:00:00  GRANTED   Ada             0.500 of 0.400, masked, margin 0.200"
    assert last.startswith("    8  2026-01-07 12:00:00  refused   stranger        poor_picture, 0.500 of 0.400")


def test_a_person_reads_how_live_a_face_looked_and_which_cue_refused_it(house: House) -> None:
    refused = on(8, "Ada", "not_live")
    with house.store() as store:
        store.record(replace(refused, live=0.0412, detail={"live": [0.04, 0.03, 0.05], "cue": "passive"}))
    told = house.run("log", "--reason", "not_live")
    assert told.out.rstrip().endswith("not_live, 0.500 of 0.400, masked, margin 0.200, live 0.041 (passive)")
    assert house.run("log", "--json", "--reason", "not_live").objects[0]["detail"]["live"] == [0.04, 0.03, 0.05]


def test_a_follower_tells_each_event_once_as_it_comes(house: House) -> None:
    follower = house.start("log", "--follow", "--json", "--limit", "1", "--denied")
    assert follower.stdout is not None
    assert json.loads(follower.stdout.readline())["reason"] == "poor_picture"
    with house.store() as store:
        for number in range(20):
            store.record(on(8, None, "unknown"))
            store.record(on(8, "Ada", "granted"))
            time.sleep(0.1 if number % 5 == 0 else 0)
    begin = datetime.now()
    told = [json.loads(follower.stdout.readline())["id"] for _ in range(20)]
    assert datetime.now() - begin < timedelta(seconds=10)
    assert told == sorted(set(told))
    follower.send_signal(signal.SIGINT)
    out, err = follower.communicate(timeout=20)
    assert (follower.returncode, out, err) == (0, b"", b"")


def test_a_follower_of_a_quiet_gate_ends_when_its_pipe_closes(house: House) -> None:
    follower = house.start("log", "--follow")
    assert follower.stdout is not None
    follower.stdout.readline()
    follower.stdout.close()
    assert follower.wait(timeout=20) in (0, 1)
    assert follower.stderr is not None
    assert follower.stderr.read() == b""
    with house.store() as store:
        assert store.record(on(8)) == 9


def test_a_follower_whose_pipe_closes_in_the_middle_ends_quietly(house: House) -> None:
    with house.store() as store:
        for _ in range(2000):
            store.record(on(8))
    follower = house.start("log", "--follow", "--limit", "0")
    head = subprocess.run(["head", "-1"], stdin=follower.stdout, capture_output=True, timeout=60)
    assert follower.stdout is not None
    follower.stdout.close()
    assert head.stdout.count(b"\n") == 1
    assert follower.wait(timeout=20) in (0, 1)
    assert follower.stderr is not None
    assert follower.stderr.read() == b""


def test_a_follower_does_not_keep_the_gate_from_recording(house: House) -> None:
    follower = house.start("log", "--follow", stdout=subprocess.DEVNULL)
    try:
        with house.store() as store:
            begin_s = time.monotonic()
            for _ in range(50):
                store.record(on(8))
            assert time.monotonic() - begin_s < 20
        assert follower.poll() is None
    finally:
        follower.kill()
        follower.communicate()


def test_a_follower_has_no_end(house: House) -> None:
    assert house.run("log", "--follow", "--until", "2026-01-01").code == 2


def test_the_log_can_be_followed_into_a_file(house: House) -> None:
    with (house.folder / "out.txt").open("wb") as out:
        follower = house.start("log", "--follow", stdout=out)
        for _ in range(100):
            if os.path.getsize(out.name):
                break
            time.sleep(0.1)
        assert follower.poll() is None
        follower.send_signal(signal.SIGINT)
        assert follower.wait(timeout=20) == 0
    assert len((house.folder / "out.txt").read_text().splitlines()) == 8


# -- tampering ---------------------------------------------------------------------------------------------------------


def test_an_untouched_log_verifies_with_its_anchors_and_an_altered_one_names_the_event(
    house: House, tmp_path: Path
) -> None:
    anchors = tmp_path / "anchors.txt"
    assert house.run("log", "anchor", anchors).out == anchors.read_text()
    house.enrol("Bo")
    assert house.run("log", "anchor", anchors).code == 0
    assert len(anchors.read_text().splitlines()) == 2
    assert house.run("log", "verify").out == "the log is as it was written, up to event 9\n"
    assert house.run("log", "verify", "--anchor", anchors).out.endswith("; 2 anchors agreed with\n")
    assert house.run("log", "verify", "--anchor", "-", stdin=anchors.read_bytes()).code == 0
    with sqlite3.connect(house.gallery) as db:
        db.execute("UPDATE events SET granted = 0 WHERE id = 3")
    ran = house.run("log", "verify")
    assert (ran.code, ran.out.splitlines()[0].split(" was ")[0]) == (1, "event 3")
    assert ran.err.startswith("maskgate: the log was tampered with: 1 finding;")
    [finding] = house.run("log", "verify", "--json").objects
    assert finding["id"] == 3


def test_a_file_without_an_anchor_proves_nothing_and_is_said(house: House, tmp_path: Path) -> None:
    empty = tmp_path / "anchors.txt"
    empty.write_bytes(b"anchor \xff")
    assert "has no anchor in it" in house.run("log", "verify", "--anchor", empty).failure
    assert "name a file that can be written" in house.run("log", "anchor", tmp_path).failure


def test_a_snapshot_is_written_into_a_new_file_of_the_owners(house: House, tmp_path: Path) -> None:
    with house.store() as store:
        store.attach(3, b"JPEG", most_bytes=1000)
    picture = tmp_path / "3.jpg"
    assert house.run("log", "snapshot", "3", picture).code == 0
    assert (picture.read_bytes(), picture.stat().st_mode & 0o777) == (b"JPEG", 0o600)
    assert "name a new file" in house.run("log", "snapshot", "3", picture).failure
    assert "event 4 has no picture" in house.run("log", "snapshot", "4", tmp_path / "4.jpg").failure
