"""Laws of `maskgate stats`: every decision is counted once, in the owner's hours; the page asks for nothing."""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from house import House, environment
from laws_ledger import long_log
from maskgate.reasons import REASONS
from maskgate.store import Event, open_store
from maskgate.tally import BINS, RECOGNISED, STRANGE, TENTH_MS, UNJUDGED, quantile, stretches

DECISIONS = (
    ("2026-01-05T07:15:00.000Z", "Ada", "granted", 0.62, 0.1),
    ("2026-01-05T07:45:00.000Z", "Ada", "granted", 0.58, 0.9),
    ("2026-01-06T23:59:59.999Z", None, "unknown", 0.31, 0.1),
    ("2026-01-07T00:00:00.000Z", None, "poor_picture", None, None),
    ("2026-01-12T07:30:00.000Z", "Ada", "outside_schedule", 0.7, 0.1),
)


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Return a house with five decisions, and events that are none."""
    house = House(tmp_path)
    house.enrol("Ada", '<script src="https://x.example/y.js">')
    with house.store() as store:
        for number, (at, subject, reason, score, masked) in enumerate(DECISIONS):
            store.record(
                Event(
                    *("decision", at, subject, reason == "granted", reason, score),
                    threshold=None if score is None else 0.4 + number / 100,
                    masked=masked,
                    detail={"usable_to_decision_ms": 400 + number * 100},
                )
            )
        store.record(Event("door_opened"))
        store.record(
            Event("decision", "2026-01-05T08:00:00.000Z", '<script src="https://x.example/y.js">', True, "granted")
        )
    return house


def asked(house: House, *args: str) -> dict[str, object]:
    """Return the counts of the whole log as JSON."""
    [told] = house.run("stats", "--since", "2020-01-01", "--json", *args).objects
    return told


def test_every_decision_is_counted_once_and_nothing_else(house: House) -> None:
    told = asked(house)
    assert (told["granted"], told["refused"], told["seen"], told["masked"]) == (3, 3, 4, 1)
    assert told["reasons"] == {"granted": 3, "outside_schedule": 1, "poor_picture": 1, "unknown": 1}
    assert sum(granted + refused for _, _, granted, refused in told["hours"]) == 6  # type: ignore[attr-defined]
    assert told["people"][0][:2] == ["Ada", 2]  # type: ignore[index]
    assert told["scores"]["bare"]["recognised"] == {"0.62": 1, "0.70": 1}  # type: ignore[index]
    assert told["scores"]["bare"]["strange"] == {"0.30": 1}  # type: ignore[index]
    assert told["scores"]["bare"]["threshold"] == 0.44  # type: ignore[index]
    assert told["scores"]["masked"]["recognised"] == {"0.58": 1}  # type: ignore[index]


def test_a_span_counts_what_lies_in_it(house: House) -> None:
    assert house.run("stats", "--since", "2026-01-06", "--until", "2026-01-07", "--json").objects[0]["refused"] == 2


def test_hours_and_days_are_the_owners(house: House) -> None:
    # Kabul is four and a half hours ahead: what ends a Tuesday in Greenwich is a Wednesday morning.
    started = house.start("stats", "--since", "2020-01-01", "--csv", env=environment(TZ="Asia/Kabul"))
    out, _ = started.communicate(timeout=60)
    rows = {(row["table"], row["key"]): row for row in csv.DictReader(io.StringIO(out.decode()))}
    assert rows["hours", "Mon 11"]["granted"] == "1"
    assert rows["hours", "Mon 12"]["granted"] == "2"
    assert rows["hours", "Wed 04"]["refused"] == "2"
    assert rows["days", "2026-01-07"]["refused"] == "2"


@pytest.mark.parametrize("args", [(), ("--json",), ("--csv",), ("--html", "page.html")])
def test_a_log_of_nothing_is_no_failure(house: House, args: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(house.folder)
    assert house.run("stats", "--until", "2020-01-01", "--since", "2019-01-01", *args).code == 0
    assert "no decision in this time" in house.run("stats", "--since", "2019-01-01", "--until", "2019-02-01").out


def test_the_drawing_fits_80_columns_and_says_what_it_shows(house: House) -> None:
    told = house.run("stats", "--since", "2020-01-01").out
    assert max(map(len, told.splitlines())) <= 80
    for word in ("6 decisions", "3 granted (50%)", "Mon", "outside_schedule", "Ada", "threshold 0.440", "25% masked"):
        assert word in told, word


def test_every_reason_is_of_one_sort() -> None:
    assert sorted((*RECOGNISED, *STRANGE, *UNJUDGED)) == sorted(REASONS)


class Outside(HTMLParser):
    """Collects all that a browser might fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.found: list[str] = []
        self.policy = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        told = dict(attrs)
        self.policy = told.get("content") or self.policy if "http-equiv" in told else self.policy
        self.found += [
            name for name in told if name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster")
        ]


def test_the_page_asks_for_nothing_from_elsewhere_whatever_somebody_is_called(house: House) -> None:
    file = house.folder / "page.html"
    assert house.run("stats", "--since", "2020-01-01", "--html", file).code == 0
    text = file.read_text(encoding="utf-8")
    parser = Outside()
    parser.feed(text)
    assert parser.found == []
    assert not {"script", "link", "img", "iframe", "object", "image", "use", "base", "a"} & set(parser.tags)
    assert "default-src 'none'" in parser.policy
    assert "url(" not in text
    assert "@import" not in text
    assert parser.tags.count("svg") >= 4
    assert text.count("prefers-color-scheme:dark") >= 5
    assert "&lt;script src=" in text


def test_a_page_that_cannot_be_written_is_said(house: House) -> None:
    assert "name a file in a folder" in house.run("stats", "--html", house.folder / "no" / "page.html").failure


def test_a_long_log_is_counted_by_the_database_to_the_last_event(tmp_path: Path) -> None:
    count = 20_000
    long_log(tmp_path / "gallery.db", count)
    with open_store(tmp_path / "gallery.db", readonly=True) as store:
        told = store.tally()
    assert told.granted + told.refused == sum(told.reasons.values()) == told.seen == count
    assert sum(told.open_ms.values()) == told.granted == told.reasons["granted"]
    assert told.median_open_ms == pytest.approx(450, abs=TENTH_MS)
    scored = [
        n for scores in told.scores.values() for bins in (scores.recognised, scores.strange) for n in bins.values()
    ]
    assert sum(scored) == count - told.reasons["poor_picture"]
    assert len(told.people) == 10


@given(st.lists(st.integers(-40, 100), min_size=1), st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bin_where_sorting_finds_it(numbers: list[int], share: float) -> None:
    bins = {number: numbers.count(number) for number in numbers}
    found = quantile(bins, share, 1 / BINS)
    assert found is not None
    place = next(n for i, n in enumerate(sorted(numbers), 1) if i >= share * len(numbers))
    assert place / BINS <= found <= (place + 1) / BINS + 1e-9


@given(st.dictionaries(st.dates(date(2000, 1, 1), date(2040, 1, 1)), st.tuples(st.integers(0, 9), st.integers(0, 9))))
def test_days_put_together_lose_no_decision_and_show_every_gap(days: dict[date, tuple[int, int]]) -> None:
    word, spans = stretches(days, 24)
    assert [sum(pair[i] for pair in spans.values()) for i in (0, 1)] == [
        sum(pair[i] for pair in days.values()) for i in (0, 1)
    ]
    assert len(spans) <= 24 or word == "year"
    starts = sorted(spans)
    widest = {"day": 1, "week": 7, "month": 31, "year": 366}[word]
    assert all(b - a <= timedelta(days=widest) for a, b in pairwise(starts))
